/* One sweep of exact least squares through the unknowns W, φ, Ω and ψ.

The twin of figures_lib.infer.sweep and figures_lib.infer.connectivity; a test compares them. */

import { inverse, outer, product, solve, transposed } from "./matrices.js";
import { bending, evaluate, project } from "./tables.js";
import { density, membersOf, networkInput, sum } from "./unknowns.js";

const CURVATURE = 1e-4; // penalty on the bending of the increments of tables
const RELAXATION = 1.2; // over-relaxation of ψ
const [RIDGE, ATTEMPTS] = [1e-6, 6]; // of the mean diagonal of the Gram matrix
const FLAT = 1e-6; // relative range below which a message is a constant
export const FIELD_BOUNDS = [0.05, 20];

/** The first estimate: linear ψ, Ω = 1, φ_i the regression of x'_i on x_i alone. */
export function start(data) {
  const { neurons } = data;
  const values = data.axis.values();
  const largest = values[values.length - 1];
  return {
    update: solveTables(data, project(data.derivative, data), null),
    transfer: Float64Array.from(
      { length: neurons * values.length }, (_, k) => values[k % values.length] / largest),
    field: new Float64Array(neurons * data.windows).fill(1),
    connectivity: new Float64Array(neurons * neurons),
    loss: Infinity,
  };
}

/** Minimise the loss in W, φ, Ω and ψ in turn; pools say which neurons share φ and ψ. */
export function sweep(data, before, pools) {
  const estimate = { ...before, connectivity: solveConnectivity(data, before, pools) };
  const received = networkInput(data, estimate);
  estimate.update = solveUpdate(data, estimate, received, pools.update);
  estimate.field = solveField(data, estimate, received);
  solveTransfer(data, estimate, received, pools.transfer);
  for (let i = 0; i < data.neurons; i++) {
    const own = estimate.field.subarray(i * data.windows, (i + 1) * data.windows);
    const mean = sum(own) / data.windows;
    own.forEach((value, k) => { own[k] = value / mean; });
  }
  return estimate;
}

/** All weights at once: one Gram matrix of the messages, with a zero diagonal of W. */
export function solveConnectivity(data, estimate, pools) {
  const { neurons, frames, window, windows } = data;
  const messages = evaluate(estimate.transfer, data);
  const target = evaluate(estimate.update, data);
  for (let i = 0, p = 0; i < neurons; i++) {
    for (let t = 0; t < frames; t++, p++) {
      target[p] = (data.derivative[p] - target[p]) / estimate.field[i * windows + window[t]];
    }
  }
  const gram = outer(messages, messages, neurons, neurons, frames);
  const cross = outer(target, messages, neurons, neurons, frames);
  const inverted = inverseOf(gram, silentSenders(messages, neurons, frames), neurons);
  const weights = product(cross, inverted, neurons, neurons, neurons);
  for (let i = 0; i < neurons; i++) {
    const at = i * neurons;
    if (pools.update !== null) {
      const excess = weights[at + i] / Math.max(inverted[at + i], 1e-30);
      for (let j = 0; j < neurons; j++) weights[at + j] -= excess * inverted[at + j];
    }
    weights[at + i] = 0;
  }
  return weights;
}

function silentSenders(messages, neurons, frames) {
  return Array.from({ length: neurons }, (_, j) => {
    let [low, high] = [Infinity, -Infinity];
    for (let p = j * frames; p < (j + 1) * frames; p++) {
      low = Math.min(low, messages[p]);
      high = Math.max(high, messages[p]);
    }
    return high - low <= FLAT * Math.max(Math.abs(low), Math.abs(high));
  });
}

function inverseOf(gram, silent, size) {
  const clear = (matrix) => silent.forEach((is, j) => {
    for (let k = 0; is && k < size; k++) matrix[j * size + k] = matrix[k * size + j] = 0;
  });
  clear(gram);
  let diagonal = 0;
  for (let j = 0; j < size; j++) diagonal += gram[j * (size + 1)];
  let added = (RIDGE / size) * diagonal;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++, added *= 10) {
    for (let j = 0; j < size; j++) gram[j * (size + 1)] += added;
    const found = inverse(gram, size);
    if (found) {
      clear(found);
      return found;
    }
  }
  throw new Error("the Gram matrix of the messages has no inverse");
}

/** φ of each pool of neurons, given all else and the network inputs. */
function solveUpdate(data, estimate, received, pool) {
  const { neurons, frames, window, windows } = data;
  const rest = evaluate(estimate.update, data);
  for (let i = 0, p = 0; i < neurons; i++) {
    for (let t = 0; t < frames; t++, p++) {
      rest[p] = data.derivative[p] - estimate.field[i * windows + window[t]] * received[p]
        - rest[p];
    }
  }
  const step = solveTables(data, project(rest, data), pool);
  return estimate.update.map((value, k) => value + step[k]);
}

/** Ω_i(window) = Σ_t m·(x' − φ) / Σ_t m² with m the network input; 1 elsewhere. */
function solveField(data, estimate, received) {
  const { neurons, frames, window, windows } = data;
  const own = evaluate(estimate.update, data);
  const field = new Float64Array(neurons * windows).fill(1);
  for (let i = 0; i < neurons; i++) {
    if (!data.modulated[i]) continue;
    const [cross, power] = [new Float64Array(windows), new Float64Array(windows)];
    for (let t = 0, p = i * frames; t < frames; t++, p++) {
      cross[window[t]] += (data.derivative[p] - own[p]) * received[p];
      power[window[t]] += received[p] ** 2;
    }
    for (let k = 0; k < windows; k++) {
      const at = i * windows + k;
      const ratio = power[k] > 0 ? cross[k] / power[k] : estimate.field[at];
      field[at] = Math.max(FIELD_BOUNDS[0], Math.min(FIELD_BOUNDS[1], ratio));
    }
  }
  return field;
}

/** Regress the back-projected residual on x_j; block Jacobi over the senders j. */
function solveTransfer(data, estimate, received, pool) {
  const { neurons, frames, window, windows } = data;
  const error = evaluate(estimate.update, data);
  let squared = 0;
  for (let i = 0, p = 0; i < neurons; i++) {
    for (let t = 0; t < frames; t++, p++) {
      const field = estimate.field[i * windows + window[t]];
      const left = data.derivative[p] - error[p] - field * received[p];
      squared += left ** 2;
      error[p] = left * field;
    }
  }
  const toSenders = transposed(estimate.connectivity, neurons, neurons);
  const back = product(toSenders, error, neurons, neurons, frames);
  const power = sentPower(data, estimate);
  const mean = sum(power) / neurons;
  const weights = power.map((value) => Math.max(value, 1e-12 * mean + 1e-30));
  const step = solveTables(data, project(back, data), pool, weights);
  const transfer = estimate.transfer.map((value, k) => value + RELAXATION * step[k]);
  estimate.transfer = unitMeanSquare(data, transfer);
  estimate.loss = squared / data.power;
}

/** Σ_i W_ij²·⟨Ω_i²⟩ of every sender j. */
export function sentPower(data, { connectivity, field }) {
  const { neurons, windows } = data;
  const out = new Float64Array(neurons);
  for (let i = 0; i < neurons; i++) {
    let square = 0;
    for (let k = i * windows; k < (i + 1) * windows; k++) square += field[k] ** 2 / windows;
    for (let j = 0; j < neurons; j++) out[j] += connectivity[i * neurons + j] ** 2 * square;
  }
  return out;
}

/** Tables scaled to unit mean square over the activity that neurons visit on average. */
function unitMeanSquare(data, transfer) {
  const { knots } = data.axis;
  const visits = density(data);
  const mean = new Float64Array(knots);
  visits.forEach((value, k) => { mean[k % knots] += value / data.neurons; });
  for (let j = 0; j < data.neurons; j++) {
    const own = transfer.subarray(j * knots, (j + 1) * knots);
    const size = Math.sqrt(own.reduce((total, value, k) => total + value ** 2 * mean[k], 0));
    own.forEach((value, k) => { own[k] = value / Math.max(size, 1e-12); });
  }
  return transfer;
}

/** The tables with these moments: each neuron by itself, or the neurons of a pool together. */
function solveTables(data, moment, pool, weights = null) {
  const { neurons } = data;
  const { knots } = data.axis;
  const penalty = bending(knots).map((value) => CURVATURE * (knots / 24) ** 3 * value);
  for (let k = 0; k < knots; k++) penalty[k * (knots + 1)] += 1e-7;
  const groups = pool === null
    ? Array.from({ length: neurons }, (_, i) => [i]) : membersOf(pool);
  const out = new Float64Array(neurons * knots);
  for (const members of groups) {
    const normal = new Float64Array(knots ** 2);
    const right = new Float64Array(knots);
    for (const i of members) {
      const weight = weights ? weights[i] : 1;
      for (let k = 0; k < normal.length; k++) {
        const own = data.normal[i * normal.length + k] + data.frames * penalty[k];
        normal[k] += weight * own;
      }
      for (let k = 0; k < knots; k++) right[k] += moment[i * knots + k];
    }
    const found = solve(normal, right);
    for (const i of members) out.set(found, i * knots);
  }
  return out;
}
