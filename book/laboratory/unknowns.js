/* What the sweeps read, and the unknowns that they solve for.

The twin of figures_lib.infer.unknowns and figures_lib.infer.heldout. A recording has
activity and derivative, all frames of a neuron one behind the other. */

import { product } from "./matrices.js";
import { evaluate } from "./tables.js";

const LEAST_FRAMES = 8192; // per sweep
const [SHARE, FEWEST, LONGEST, MOST_RUNS] = [0.04, 20, 20, 100]; // of held-out frames

/** The runs of frames that are held out: some judge choices, the others the result. */
export function heldOut(total) {
  if (total < FEWEST) return [];
  const length = Math.max(1, Math.min(LONGEST, Math.floor(total / 200)));
  const count = Math.max(2, Math.min(MOST_RUNS, Math.round((SHARE * total) / length)));
  return Array.from({ length: count }, (_, k) => {
    const first = Math.trunc(((k + 0.5) * total) / count - length / 2);
    return Array.from({ length }, (__, t) => Math.max(0, Math.min(total - 1, first + t)));
  });
}

/** Frames that judge choices; all frames if none are held out. */
export function choiceFrames(total) {
  const held = heldOut(total).filter((_, k) => k % 2 === 0).flat();
  return held.length ? held : Array.from({ length: total }, (_, t) => t);
}

/** Runs of frames that judge the result. */
export function judgingRuns(total) {
  return heldOut(total).filter((_, k) => k % 2 === 1);
}

/** The frames that sweeps read. */
export function sampledFrames(total, neurons) {
  const held = new Set(heldOut(total).flat());
  const stride = Math.max(1, Math.floor(total / Math.max(LEAST_FRAMES, 4 * neurons)));
  const frames = [];
  for (let t = 0; t < total; t += stride) if (!held.has(t)) frames.push(t);
  return frames;
}

/** Some frames of a recording on the knots of an axis. */
export function prepare(recording, axis, chosen, windows) {
  const { neurons, frames: total } = recording;
  const frames = chosen.length;
  const data = {
    axis, neurons, frames, total, windows,
    modulated: recording.modulated,
    frame: Int32Array.from(chosen),
    left: new Int32Array(neurons * frames),
    fraction: new Float64Array(neurons * frames),
    derivative: new Float64Array(neurons * frames),
    normal: new Float64Array(neurons * axis.knots ** 2),
    power: 0,
  };
  for (let i = 0, p = 0; i < neurons; i++) {
    const normal = data.normal.subarray(i * axis.knots ** 2, (i + 1) * axis.knots ** 2);
    let [sum, squares] = [0, 0];
    for (let t = 0; t < frames; t++, p++) {
      const place = i * total + chosen[t];
      const position = axis.coordinate(recording.activity[place]);
      const left = Math.floor(position);
      const fraction = position - left;
      const change = recording.derivative[place];
      data.left[p] = left;
      data.fraction[p] = fraction;
      data.derivative[p] = change;
      sum += change;
      squares += change * change;
      const cell = left * (axis.knots + 1);
      normal[cell] += (1 - fraction) ** 2;
      normal[cell + 1] += fraction * (1 - fraction);
      normal[cell + axis.knots] += fraction * (1 - fraction);
      normal[cell + axis.knots + 1] += fraction ** 2;
    }
    data.power += squares - sum ** 2 / frames;
  }
  return { ...data, ...placed(data, windows) };
}

/** The frames of data with Ω constant in another number of windows. */
export function placed(data, windows) {
  return { windows, window: data.frame.map((t) => Math.floor((t * windows) / data.total)) };
}

/** How often each neuron visits each knot; the values of a neuron sum to 1. */
export function density(data) {
  const { knots } = data.axis;
  const out = new Float64Array(data.neurons * knots);
  for (let i = 0; i < data.neurons; i++) {
    let sum = 0;
    for (let k = 0; k < knots; k++) {
      out[i * knots + k] = data.normal[i * knots ** 2 + k * (knots + 1)];
      sum += out[i * knots + k];
    }
    for (let k = 0; k < knots; k++) out[i * knots + k] /= sum;
  }
  return out;
}

/** Σ_j W_ij·ψ_j(x_j(t)): what each neuron receives before the modulation by Ω. */
export function networkInput(data, estimate) {
  const messages = evaluate(estimate.transfer, data);
  return product(estimate.connectivity, messages, data.neurons, data.neurons, data.frames);
}

/** What the estimate leaves of x', at every frame of every neuron. */
export function residuals(data, estimate, received = networkInput(data, estimate)) {
  const { neurons, frames, window, windows } = data;
  const out = evaluate(estimate.update, data);
  for (let i = 0, p = 0; i < neurons; i++) {
    for (let t = 0; t < frames; t++, p++) {
      const field = estimate.field[i * windows + window[t]];
      out[p] = data.derivative[p] - out[p] - field * received[p];
    }
  }
  return out;
}

/** Σ of the squared residual of all neurons in each of some equal runs of frames. */
export function residualByRun(data, estimate, most = 50) {
  const runs = Math.min(most, data.frames);
  const out = new Float64Array(runs);
  const error = residuals(data, estimate);
  const [least, longer] = [Math.floor(data.frames / runs), data.frames % runs];
  const run = Int32Array.from({ length: data.frames }, (_, t) => {
    const before = longer * (least + 1);
    return t < before ? Math.floor(t / (least + 1)) : longer + Math.floor((t - before) / least);
  });
  for (let p = 0; p < error.length; p++) out[run[p % data.frames]] += error[p] ** 2;
  return out;
}

/** Σ of the squared residual of each neuron. */
export function residualByNeuron(data, estimate) {
  const out = new Float64Array(data.neurons);
  const error = residuals(data, estimate);
  for (let p = 0; p < error.length; p++) out[Math.floor(p / data.frames)] += error[p] ** 2;
  return out;
}

/** The members of every pool: equal labels share a function. */
export function membersOf(labels) {
  const groups = Array.from({ length: Math.max(...labels) + 1 }, () => []);
  labels.forEach((label, neuron) => groups[label].push(neuron));
  return groups;
}

export function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
