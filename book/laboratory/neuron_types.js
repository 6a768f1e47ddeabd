/* Neuron types from the functions of single neurons.

The twin of figures_lib.infer.neuron_types, but for its search in a few large groups. */

import { commonTransfer, commonUpdate, functionsOf, mean, misfit } from "./pooling.js";
import { sentPower } from "./sweep.js";
import { density, membersOf, residualByNeuron, sum } from "./unknowns.js";

const LEAST = 4; // a group of fewer neurons is a stray, not a type
const [CANDIDATES, STEEP, MOVES] = [4, 3, 10];
const [UNKNOWN, OVERLAP] = [1e12, 0.1];
const TOLERANCE = 0.02; // share by which types may explain held-out frames worse

/** Candidates for the types of all neurons, the likeliest number of types first. */
export function* findTypes(data, estimate, most) {
  const functions = functionsOf(data, estimate);
  const limit = Math.min(most, Math.floor(data.neurons / LEAST));
  if (limit < 1) return;
  const { path, costs } = merged(functions, manyGroups(distances(data, estimate), limit));
  const known = new Set();
  for (const types of likely(path, costs)) {
    const fresh = [types, settled(functions, types)].filter((one) => {
      const name = one.join();
      return !known.has(name) && known.add(name);
    });
    if (fresh.length) yield fresh;
  }
}

/** Whether a model explains held-out runs worse than another by more than chance. */
export function worse(residual, than, negligible) {
  const least = Math.max(negligible / than.length, 1e-300);
  const [one, other] = [residual, than].map((v) => v.map((value) => Math.max(value, least)));
  const usual = average(other);
  const together = one.map((value, k) => (value - other[k]) / usual);
  const each = one.map((value, k) => Math.log(value / other[k]));
  return [[together, TOLERANCE], [each, Math.log1p(TOLERANCE)]].some(([more, limit]) => {
    const centre = average(more);
    const spread = Math.sqrt(more.reduce((s, v) => s + (v - centre) ** 2, 0)
      / (more.length - 1));
    return centre > Math.max((2 * spread) / Math.sqrt(more.length), limit);
  });
}

function average(values) {
  return sum(values) / values.length;
}

/** What exchanging the functions of two neurons would add to the residual, relative to it. */
function distances(data, estimate) {
  const { neurons, axis: { knots } } = data;
  const visits = density(data);
  const sent = sentPower(data, estimate);
  const residual = residualByNeuron(data, estimate).map((value) =>
    Math.max(value / data.frames, 1e-300));
  const tables = [estimate.update, estimate.transfer].map((table) =>
    Array.from({ length: neurons }, (_, i) => table.subarray(i * knots, (i + 1) * knots)));
  const own = Array.from({ length: neurons }, (_, i) =>
    visits.subarray(i * knots, (i + 1) * knots));
  const driven = median(tables[1].map((table, i) => {
    const level = mean(table, own[i]);
    return sent[i] * (mean(table.map((value) => value ** 2), own[i]) - level ** 2);
  }));
  const usual = median([...residual]);
  const out = Array.from({ length: neurons }, () => new Float64Array(neurons));
  for (let i = 0; i < neurons; i++) {
    for (let j = 0; j < i; j++) {
      const both = own[i].map((value, k) => Math.sqrt(value * own[j][k]));
      const overlap = sum(both);
      const over = both.map((value) => value / Math.max(overlap, 1e-12));
      const [update, transfer] = tables.map((table) => spread(table[i], table[j], over));
      const change = update.first + update.second - 2 * update.both;
      const unlike = 1 - transfer.both ** 2 / (transfer.first * transfer.second);
      const value = Math.max(0, change) / ((residual[i] + residual[j]) / 2)
        + (driven / usual) * Math.max(0, unlike);
      out[i][j] = out[j][i] = overlap < OVERLAP || !Number.isFinite(value) ? UNKNOWN : value;
    }
  }
  return byWayOfOthers(out);
}

/** Variances and covariance of two tables. */
function spread(first, second, over) {
  const [one, other] = [first, second].map((table) => {
    const level = mean(table, over);
    return table.map((value) => value - level);
  });
  const inner = (a, b) => a.reduce((total, value, k) => total + over[k] * value * b[k], 0);
  return {
    first: Math.max(inner(one, one), 1e-300),
    second: Math.max(inner(other, other), 1e-300),
    both: inner(one, other),
  };
}

/** Unknown distances become the largest step on the best way around. */
function byWayOfOthers(known) {
  const around = known.map((row) => row.slice());
  for (let via = 0; via < known.length; via++) {
    for (let i = 0; i < known.length; i++) {
      for (let j = 0; j < known.length; j++) {
        around[i][j] = Math.min(around[i][j], Math.max(around[i][via], around[via][j]));
      }
    }
  }
  return known.map((row, i) => row.map((value, j) => (value < UNKNOWN ? value : around[i][j])));
}

/** As many groups of alike neurons as there are, at most `most`, by average linkage. */
function manyGroups(distance, most) {
  const root = distance.map((row) => row.map(Math.sqrt));
  const size = root.length;
  const apart = root.map((row) => row.slice());
  const groups = new Map(root.map((_, i) => [i, [i]]));
  let few = null;
  for (let left = size; left > 1; left--) {
    let [first, second, least] = [-1, -1, Infinity];
    for (const i of groups.keys()) {
      for (const j of groups.keys()) {
        if (j < i && apart[i][j] < least) [first, second, least] = [i, j, apart[i][j]];
      }
    }
    const [a, b] = [groups.get(first), groups.get(second)];
    for (const k of groups.keys()) {
      const mixed = (a.length * apart[first][k] + b.length * apart[second][k])
        / (a.length + b.length);
      apart[first][k] = apart[k][first] = mixed;
    }
    groups.set(first, [...a, ...b]);
    groups.delete(second);
    const large = [...groups.values()].filter((members) => members.length >= LEAST);
    if (large.length <= most) {
      if (!few || large.length >= few.length) few = large;
    }
  }
  const labels = root.map((row, i) => {
    const home = few.findIndex((members) => members.includes(i));
    if (home >= 0) return home;
    const away = few.map((members) => average(members.map((j) => row[j])));
    return away.indexOf(Math.min(...away));
  });
  return inOrder(labels);
}

/** Types in which the functions of every neuron are most like those of its own type. */
function settled(functions, types) {
  let current = types;
  for (let round = 0; round < MOVES; round++) {
    const groups = membersOf(current);
    const common = groups.map((members) => {
      const own = members.map((i) => functions[i]);
      return [commonUpdate(own), commonTransfer(own)];
    });
    const moved = inOrder(functions.map((one) => {
      const cost = common.map(([update, transfer], k) =>
        (groups[k].length < LEAST ? UNKNOWN : misfit(one, update, transfer)));
      return cost.indexOf(Math.min(...cost));
    }));
    if (moved.join() === current.join()) break;
    current = moved;
  }
  return current;
}

/** Merge groups one by one, the two first whose functions common ones explain best. */
function merged(functions, groups) {
  const parts = new Map(membersOf(groups).map((members, k) => [k, members]));
  const cost = (first, second) => {
    const own = [...new Set([...first, ...second])].map((i) => functions[i]);
    const [update, transfer] = [commonUpdate(own), commonTransfer(own)];
    return Math.max(...[first, second].map((members) =>
      median(members.map((i) => misfit(functions[i], update, transfer)))));
  };
  const own = [...parts.values()].map((members) => cost(members, members)).sort((a, b) => a - b);
  const [path, costs] = [[groups], [own[Math.floor(own.length / 2)]]];
  const known = new Map();
  while (parts.size > 1) {
    let best = { cost: Infinity };
    for (const i of parts.keys()) {
      for (const j of parts.keys()) {
        if (j <= i) continue;
        const name = `${i},${j}`;
        if (!known.has(name)) known.set(name, cost(parts.get(i), parts.get(j)));
        if (known.get(name) < best.cost) best = { i, j, cost: known.get(name) };
      }
    }
    costs.push(best.cost);
    parts.set(functions.length + costs.length, [...parts.get(best.i), ...parts.get(best.j)]);
    parts.delete(best.i);
    parts.delete(best.j);
    const labels = new Array(functions.length);
    [...parts.values()].forEach((members, k) => members.forEach((i) => { labels[i] = k; }));
    path.push(inOrder(labels));
  }
  const nothing = median(functions.map((one) => one.updatePower + one.sent * one.transferPower));
  return { path, costs: [...costs, nothing] };
}

/** The groups from which a merger costs much more than those before, the steepest first. */
function likely(path, costs) {
  let highest = 0;
  const levels = costs.map((cost) => {
    highest = Math.max(highest, cost, 1e-300);
    return Math.log(highest);
  });
  const rise = path.map((_, k) => levels[k + 1] - levels[k]);
  const steepest = [...rise.keys()].sort((a, b) => rise[b] - rise[a]).slice(0, CANDIDATES);
  return steepest
    .filter((at) => at === steepest[0] || rise[at] >= Math.log(STEEP))
    .map((at) => path[at]);
}

/** The same groups, numbered by their first neuron. */
function inOrder(labels) {
  const order = new Map();
  for (const label of labels) if (!order.has(label)) order.set(label, order.size);
  return labels.map((label) => order.get(label));
}

/** The middle of some values, the lower one of two. */
export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}
