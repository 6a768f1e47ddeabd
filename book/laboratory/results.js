/* What a state of the inference says: its gauge, its scores, and whether it can be trusted. */

import { median } from "./neuron_types.js";
import { solveConnectivity } from "./sweep.js";
import {
  density, judgingRuns, membersOf, prepare, residuals, sum,
} from "./unknowns.js";

const GAUGE_ROUNDS = 100; // of alternating regressions
const PIECES = 32; // of the recording, every other one of which belongs to the same half
const [STRUCTURE, EXPECTED] = [3e-3, 0.95];

/** The result in the conventions of figures_lib.infer.gauge, found without the truth:
ψ reaches 1 and rises on the whole, rows of W have alike scales, gains are taken out. */
export function inGauge({ data, estimate, types }, gain) {
  const { neurons, windows, axis: { knots } } = data;
  const visits = density(data);
  const groups = types ? membersOf(types) : Array.from({ length: neurons }, (_, i) => [i]);
  const transfer = Float64Array.from(estimate.transfer);
  const weights = Float64Array.from(estimate.connectivity);
  for (const members of groups) {
    const seen = new Float64Array(knots);
    for (const j of members) for (let k = 0; k < knots; k++) seen[k] += visits[j * knots + k];
    const first = members[0] * knots;
    const scale = scaleOf(estimate.transfer.subarray(first, first + knots), seen);
    for (const j of members) {
      for (let k = 0; k < knots; k++) transfer[j * knots + k] /= scale;
      for (let i = 0; i < neurons; i++) weights[i * neurons + j] *= scale;
    }
  }
  for (let k = 0; k < weights.length; k++) weights[k] /= gain[Math.floor(k / neurons)];
  const rows = rowScales(weights, data.modulated, neurons);
  const field = Float64Array.from(estimate.field);
  for (let i = 0; i < neurons; i++) {
    for (let j = 0; j < neurons; j++) weights[i * neurons + j] /= rows[i];
    for (let k = 0; k < windows; k++) field[i * windows + k] *= rows[i];
  }
  return { connectivity: weights, update: estimate.update, transfer, field };
}

/** The largest magnitude of ψ over the visited activity, negative if it falls on the whole. */
function scaleOf(values, visits) {
  const all = sum(visits);
  let [centre, along, largest] = [0, 0, 1e-12];
  visits.forEach((weight, k) => { centre += (weight * k) / all; });
  values.forEach((value, k) => {
    if (visits[k] > 1e-3 * all) largest = Math.max(largest, Math.abs(value));
    along += visits[k] * (k - centre) * value;
  });
  return along < 0 ? -largest : largest;
}

/** The scale of each modulated row of W relative to the rows without modulation. */
function rowScales(weights, modulated, neurons) {
  const scales = new Float64Array(neurons).fill(1);
  const others = (i) => Array.from(weights.subarray(i * neurons, (i + 1) * neurons), Math.abs);
  const reference = [...modulated.keys()].filter((i) => !modulated[i]).flatMap(others);
  if (!reference.length || reference.length === weights.length) return scales;
  const ordered = [...reference].sort((a, b) => a - b);
  const large = ordered[Math.max(0, Math.floor(0.99 * ordered.length) - 1)];
  const unit = Math.max(median(ordered.filter((value) => value > 1e-3 * large)), 1e-12);
  const rho = (values, scale) => values.reduce((total, value) => {
    const square = (value / unit / scale) ** 2;
    return total + square / (1 + square) / values.length;
  }, 0);
  const target = rho(reference, 1);
  modulated.forEach((is, i) => {
    if (!is) return;
    const row = others(i);
    for (let round = 0; round < 60; round++) scales[i] *= rho(row, scales[i]) / target;
  });
  return scales;
}

/** R² of the least-squares line through pairs. */
export function lineR2(x, y) {
  const count = x.length;
  const [mx, my] = [sum(x) / count, sum(y) / count];
  let [xx, yy, xy] = [0, 0, 0];
  for (let k = 0; k < count; k++) {
    xx += (x[k] - mx) ** 2;
    yy += (y[k] - my) ** 2;
    xy += (x[k] - mx) * (y[k] - my);
  }
  return xx === 0 || yy === 0 ? 0 : xy ** 2 / (xx * yy);
}

/** A score in words: rounded down, so that only what is 1 is called 1. */
export function worded(score) {
  const digits = 1e4;
  return String(score > 1 - 1e-6 ? 1 : Math.floor(digits * Math.max(0, score)) / digits);
}

/** Learned weights with the row and column scales that fit the true ones best. */
export function bestScaled(truth, learned, size) {
  const scaled = Float64Array.from(learned);
  for (let round = 0; round < GAUGE_ROUNDS; round++) {
    for (const [outerStep, innerStep] of [[size, 1], [1, size]]) {
      for (let a = 0; a < size; a++) {
        let [cross, power] = [0, 1e-30];
        for (let b = 0; b < size; b++) {
          const k = a * outerStep + b * innerStep;
          cross += truth[k] * scaled[k];
          power += scaled[k] ** 2;
        }
        for (let b = 0; b < size; b++) scaled[a * outerStep + b * innerStep] *= cross / power;
      }
    }
  }
  return scaled;
}

/** Share of neurons in the right type, after the best one-to-one naming of the types. */
export function typeAccuracy(truth, found) {
  const counts = membersOf(found).map((members) => {
    const row = new Array(Math.max(...truth) + 1).fill(0);
    members.forEach((i) => { row[truth[i]] += 1; });
    return row;
  });
  const most = (row, used) => (row === counts.length ? 0 : Math.max(
    most(row + 1, used),
    ...counts[row].map((count, k) => (used & (1 << k) ? 0 : count + most(row + 1, used | (1 << k)))),
  ));
  return counts.length > 12 ? NaN : most(0, 0) / truth.length;
}

/** Whether the result can be trusted, judged without the truth, and why not. */
export function diagnose(recording, state) {
  const { data, estimate } = state;
  const runs = judgingRuns(recording.frames);
  const judge = prepare(recording, data.axis, runs.flat(), data.windows);
  const error = residuals(judge, estimate);
  const length = runs[0].length;
  let [squared, successive] = [0, 0];
  for (let p = 0; p < error.length; p++) {
    squared += error[p] ** 2;
    if (p % length) successive += error[p] * error[p - 1];
  }
  const heldoutR2 = 1 - squared / judge.power;
  const structure = Math.max(0, (successive * length) / Math.max(1, length - 1) / judge.power);
  const halvesR2 = agreementOfHalves(data, estimate);
  const reasons = [];
  if (recording.frames <= recording.neurons) {
    reasons.push(`${recording.frames} frames are too few for ${recording.neurons} neurons`);
  }
  if (!Number.isFinite(heldoutR2) || length < 2) {
    reasons.push("the recording is too short to hold frames out that could judge");
  } else if (structure > STRUCTURE) {
    reasons.push(`the model misses ${(100 * structure).toPrecision(2)} % of the variance of dx/dt`
      + " that is no noise: the functions, the types or the field are wrong");
  }
  if (halvesR2 < EXPECTED) {
    reasons.push("the weights inferred from the two halves of the recording disagree"
      + ` (expected R² ${halvesR2.toFixed(2)}): it is too short for its noise, or the activities`
      + " are too much alike");
  }
  return { heldoutR2, structure, halvesR2, reasons, trusted: reasons.length === 0 };
}

/** R² of W that its scatter between two halves of the recording leads one to expect. */
function agreementOfHalves(data, estimate) {
  const { neurons, frames } = data;
  const free = frames / 2 - neurons;
  if (free <= 0) return 0;
  const halves = [0, 1].map((half) => {
    const kept = [...data.frame.keys()].filter((t) =>
      Math.floor((data.frame[t] * PIECES) / data.total) % 2 === half);
    const part = (values, kind) => kind.from(
      { length: neurons * kept.length }, (_, p) =>
        values[Math.floor(p / kept.length) * frames + kept[p % kept.length]]);
    return {
      ...data,
      frames: kept.length,
      left: part(data.left, Int32Array),
      fraction: part(data.fraction, Float64Array),
      derivative: part(data.derivative, Float64Array),
      window: Int32Array.from(kept, (t) => data.window[t]),
    };
  });
  const pools = { update: null, transfer: null };
  const [first, second] = halves.map((half) => solveConnectivity(half, estimate, pools));
  const count = first.length;
  let [both, apart] = [-(sum(first) * sum(second)) / count ** 2, 0];
  for (let k = 0; k < count; k++) {
    both += (first[k] * second[k]) / count;
    apart += (first[k] - second[k]) ** 2 / (2 * count);
  }
  const signal = Math.max(0, both);
  const left = (apart * free) / (frames - neurons);
  return signal > 0 ? signal / (signal + left) : 0;
}
