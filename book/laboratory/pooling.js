/* One function for several neurons, from the function of each.

The twin of figures_lib.infer.pooling. */

import { largestRatio, solve } from "./matrices.js";
import { sentPower } from "./sweep.js";
import { bending, resample } from "./tables.js";
import { density, membersOf } from "./unknowns.js";

const [BENDING, LEVEL] = [1e-6, 1e-9];

/** The moments of the functions of single neurons, over the activity that each visits. */
export function functionsOf(data, estimate) {
  const { neurons, axis: { knots } } = data;
  const sent = sentPower(data, estimate);
  const visits = density(data);
  return Array.from({ length: neurons }, (_, i) => {
    const own = visits.subarray(i * knots, (i + 1) * knots);
    const moments = new Float64Array(knots * knots);
    for (let p = 0; p < knots; p++) {
      moments[p * (knots + 1)] += own[p];
      for (let q = 0; q < knots; q++) moments[p * knots + q] -= own[p] * own[q];
    }
    const [update, transfer] = [estimate.update, estimate.transfer].map((table) => {
      const values = table.slice(i * knots, (i + 1) * knots);
      const level = mean(values, own);
      const by = values.map((value, k) => own[k] * (value - level));
      return { by, power: by.reduce((sum, one, k) => sum + one * (values[k] - level), 0) };
    });
    return {
      moments,
      byUpdate: update.by,
      byTransfer: transfer.by,
      updatePower: update.power,
      transferPower: Math.max(transfer.power, 1e-300),
      sent: sent[i],
    };
  });
}

/** The φ from which those of the members differ least, but for a constant each. */
export function commonUpdate(members) {
  const moments = total(members, (one) => one.moments);
  return solve(plus(moments, penalty(moments)), total(members, (one) => one.byUpdate));
}

/** The ψ of which those of the members are multiples, but for a constant each. */
export function commonTransfer(members) {
  const size = members[0].byTransfer.length;
  const all = total(members, (one) => one.moments, (one) => one.sent);
  if (!all.some((value) => value !== 0)) return new Float64Array(size);
  const explained = new Float64Array(size * size);
  for (const { byTransfer, transferPower, sent } of members) {
    for (let p = 0; p < size; p++) {
      for (let q = 0; q < size; q++) {
        explained[p * size + q] += (sent / transferPower) * (byTransfer[p] * byTransfer[q]);
      }
    }
  }
  const rest = plus(all.map((value, k) => value - explained[k]), penalty(all));
  const found = largestRatio(explained, rest, size);
  let [sign, square, power] = [0, 0, 0];
  for (const one of members) {
    const along = dot(one.byTransfer, found);
    sign += one.sent * along;
    square += (one.sent * along ** 2) / one.transferPower;
    power += one.sent * one.transferPower;
  }
  const size2 = Math.sqrt(square / Math.max(power, 1e-300));
  const factor = (sign >= 0 ? 1 : -1) / Math.max(size2, 1e-300);
  return found.map((value) => factor * value);
}

/** What a neuron would add to the variance of x' if these were its functions. */
export function misfit(one, update, transfer) {
  const change = one.updatePower - 2 * dot(one.byUpdate, update)
    + quadratic(one.moments, update);
  const along = dot(one.byTransfer, transfer) ** 2
    / Math.max(quadratic(one.moments, transfer), 1e-300);
  return Math.max(0, change) + one.sent * Math.max(0, one.transferPower - along);
}

/** Replace the functions of every neuron by those of its type, on finer knots. */
export function shareFunctions(coarse, fine, estimate, types) {
  const { neurons, axis: { knots } } = coarse;
  const functions = functionsOf(coarse, estimate);
  const visits = density(coarse);
  const groups = membersOf(types);
  const shapes = groups.map((members) => {
    const own = members.map((i) => functions[i]);
    return { update: commonUpdate(own), transfer: commonTransfer(own) };
  });
  const above = new Float64Array(neurons);
  const [multiple, constant] = [new Float64Array(neurons), new Float64Array(neurons)];
  for (let i = 0; i < neurons; i++) {
    const own = visits.subarray(i * knots, (i + 1) * knots);
    const [update, transfer] = [estimate.update, estimate.transfer].map((table) =>
      table.subarray(i * knots, (i + 1) * knots));
    const shape = shapes[types[i]];
    const level = mean(shape.transfer, own);
    const centred = shape.transfer.map((value) => value - level);
    const power = Math.max(mean(centred.map((value) => value ** 2), own), 1e-300);
    multiple[i] = mean(centred.map((value, k) => value * transfer[k]), own) / power;
    constant[i] = mean(transfer, own) - multiple[i] * level;
    above[i] = mean(update.map((value, k) => value - shape.update[k]), own);
  }
  const columns = Array.from({ length: neurons }, (_, i) => {
    const row = new Float64Array(2 * groups.length);
    row[types[i]] = 1;
    for (let j = 0; j < neurons; j++) {
      const weight = estimate.connectivity[i * neurons + j];
      above[i] += weight * constant[j];
      row[groups.length + types[j]] += weight * multiple[j];
    }
    return row;
  });
  const levels = commonLevels(above, columns);
  const tables = { update: [], transfer: [] };
  for (const type of types) {
    const { update, transfer } = shapes[type];
    tables.update.push(...update.map((value) => value + levels[type]));
    tables.transfer.push(...transfer.map((value) => value + levels[groups.length + type]));
  }
  return {
    ...estimate,
    update: resample(tables.update, neurons, coarse.axis, fine.axis),
    transfer: resample(tables.transfer, neurons, coarse.axis, fine.axis),
  };
}

/** The constants to add to each common φ, then to each common ψ, by least squares. */
function commonLevels(above, columns) {
  const size = columns[0].length;
  const normal = new Float64Array(size * size);
  const moment = new Float64Array(size);
  columns.forEach((row, i) => row.forEach((value, p) => {
    moment[p] += value * above[i];
    row.forEach((other, q) => { normal[p * size + q] += value * other; });
  }));
  const scale = moment.map((_, p) => 1 / Math.sqrt(Math.max(normal[p * (size + 1)], 1e-300)));
  const scaled = normal.map((value, k) => value * scale[Math.floor(k / size)] * scale[k % size]);
  for (let p = 0; p < size; p++) scaled[p * (size + 1)] += LEVEL;
  return solve(scaled, moment.map((value, p) => value * scale[p])).map((v, p) => v * scale[p]);
}

/** The mean of a table over the activity that its neuron visits. */
export function mean(values, visits) {
  return values.reduce((sum, value, k) => sum + value * visits[k], 0);
}

export function dot(a, b) {
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

function quadratic(matrix, values) {
  const size = values.length;
  let sum = 0;
  for (let p = 0; p < size; p++) {
    for (let q = 0; q < size; q++) sum += values[p] * matrix[p * size + q] * values[q];
  }
  return sum;
}

function total(members, part, weight = () => 1) {
  const sum = new Float64Array(part(members[0]).length);
  for (const one of members) part(one).forEach((value, k) => { sum[k] += weight(one) * value; });
  return sum;
}

function plus(a, b) {
  return a.map((value, k) => value + b[k]);
}

function penalty(normal) {
  const size = Math.round(Math.sqrt(normal.length));
  let scale = 0;
  for (let p = 0; p < size; p++) scale += normal[p * (size + 1)] / size;
  const out = bending(size);
  for (let p = 0; p < size; p++) out[p * (size + 1)] += 1e-3;
  return out.map((value) => BENDING * Math.max(scale, 1e-30) * value);
}
