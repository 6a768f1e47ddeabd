/* How finely the hidden field is resolved in time: the twin of figures_lib.infer.windows. */

import { evaluate } from "./tables.js";
import { networkInput, placed } from "./unknowns.js";

const ROWS = 48; // modulated neurons that are used, about
const LEAST_SAMPLES = 8; // sampled frames per window
const [FIRST, LEAST_DEPTH, TOLERANCE] = [3, 0.03, 2e-4];

/** The fewest windows that explain left-out frames as well as any number does. */
export function chooseWindows(data, estimate, most) {
  const modulated = [...data.modulated.keys()].filter((i) => data.modulated[i]);
  if (!modulated.length) return data.windows;
  const stride = Math.max(1, Math.floor(modulated.length / ROWS));
  const rows = modulated.filter((_, k) => k % stride === 0);
  const { rest, received } = modulation(data, estimate, rows);
  const counts = Math.max(1, Math.min(most, Math.floor(data.frames / LEAST_SAMPLES)));
  const total = rest.reduce((sum, own) =>
    sum + own.reduce((part, value) => part + value ** 2, 0), 0);
  const residual = Array.from({ length: counts }, (_, k) =>
    total + leftOut(data, rest, received, k + 1));
  const rate = imageRate(residual);
  if (rate !== null) return rate;
  const best = residual.indexOf(Math.min(...residual));
  const allowed = TOLERANCE * (residual[0] - residual[best])
    + Math.max(0, alike(data, rest, received, best + 1));
  return 1 + residual.findIndex((value) => value <= residual[best] + allowed);
}

/** The number of windows that coincide with the images of a movie, if one does. */
function imageRate(residual) {
  const depth = depths(residual);
  const deepest = depth.indexOf(Math.max(...depth));
  if (!(depth[deepest] >= LEAST_DEPTH)) return null;
  for (let at = FIRST; at <= deepest; at++) {
    if ((deepest + 1) % (at + 1) === 0 && depth[at] >= 0.5 * depth[deepest]) return at + 1;
  }
  return null;
}

/** How far the logarithm of each residual lies below the smallest around it. */
function depths(residual) {
  const values = residual.map((value) => Math.log(Math.max(value, 1e-300)));
  return values.map((value, at) => {
    if (at < FIRST || at >= values.length - 2) return 0;
    const reach = Math.max(2, Math.floor(at / 16));
    const around = [
      ...values.slice(Math.max(0, at - reach), at), ...values.slice(at + 1, at + 1 + reach),
    ];
    return Math.min(...around) - value;
  });
}

/** The same data and estimate with another number of windows. */
export function rewindow(data, estimate, windows) {
  const field = new Float64Array(data.neurons * windows);
  for (let i = 0; i < data.neurons; i++) {
    for (let k = 0; k < windows; k++) {
      const old = Math.floor(((2 * k + 1) * data.windows) / (2 * windows));
      field[i * windows + k] = estimate.field[i * data.windows + old];
    }
  }
  return [{ ...data, ...placed(data, windows) }, { ...estimate, field }];
}

/** What some neurons receive: y = x' − φ, and the network input m. */
function modulation(data, estimate, rows) {
  const { frames } = data;
  const update = evaluate(estimate.update, data);
  const all = networkInput(data, estimate);
  return {
    rest: rows.map((i) => Float64Array.from({ length: frames }, (_, t) =>
      data.derivative[i * frames + t] - update[i * frames + t])),
    received: rows.map((i) => all.slice(i * frames, (i + 1) * frames)),
  };
}

/** Σ (y − Ω·m)² − Σ y² over frames that did not enter Ω: even ones judge odd ones. */
function leftOut(data, rest, received, windows) {
  const { window } = placed(data, windows);
  let total = 0;
  rest.forEach((own, row) => {
    const cross = [new Float64Array(windows), new Float64Array(windows)];
    const power = [new Float64Array(windows), new Float64Array(windows)];
    own.forEach((value, t) => {
      const m = received[row][t];
      cross[t % 2][window[t]] += m * value;
      power[t % 2][window[t]] += m * m;
    });
    for (let k = 0; k < windows; k++) {
      for (const fold of [0, 1]) {
        const field = power[fold][k] > 0 ? cross[fold][k] / power[fold][k] : 1;
        total += field ** 2 * power[1 - fold][k] - 2 * field * cross[1 - fold][k];
      }
    }
  });
  return total;
}

/** Σ of the products of the residuals y − Ω·m of successive frames. */
function alike(data, rest, received, windows) {
  const { window } = placed(data, windows);
  let total = 0;
  rest.forEach((own, row) => {
    const [cross, power] = [new Float64Array(windows), new Float64Array(windows)];
    own.forEach((value, t) => {
      cross[window[t]] += received[row][t] * value;
      power[window[t]] += received[row][t] ** 2;
    });
    const left = own.map((value, t) => {
      const k = window[t];
      return value - (power[k] > 0 ? cross[k] / power[k] : 1) * received[row][t];
    });
    for (let t = 1; t < left.length; t++) total += left[t] * left[t - 1];
  });
  return total;
}
