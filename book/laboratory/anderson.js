/* Anderson acceleration of the sweeps: the twin of figures_lib.infer.anderson. */

import { solve } from "./matrices.js";
import { dot } from "./pooling.js";
import { FIELD_BOUNDS, sweep } from "./sweep.js";
import { density, sum } from "./unknowns.js";

const DEPTH = 6; // earlier sweeps that are combined with the last one
const NAMES = ["update", "transfer", "field"];

/** Yield the estimates after some sweeps, each started from an extrapolation. */
export function* acceleratedSweeps(data, estimate, pools, count) {
  let steps = [];
  for (let k = 0; k < count; k++) {
    const before = steps.length ? extrapolate(data, steps) : estimate;
    const after = sweep(data, before, pools);
    steps = [...steps.slice(-DEPTH), [before, after]];
    yield after;
  }
}

/** Σ_k α_k·after_k with Σ_k α_k = 1, so that Σ_k α_k·(after_k − before_k) is smallest. */
function extrapolate(data, steps) {
  const weights = weightsOf(data);
  const moves = steps.map(([before, after]) => NAMES.map((name) =>
    after[name].map((value, k) => weights[name](k) * (value - before[name][k]))));
  const size = steps.length;
  const products = new Float64Array(size * size);
  let diagonal = 0;
  for (let a = 0; a < size; a++) {
    for (let b = 0; b < size; b++) {
      products[a * size + b] = NAMES.reduce((total, _, part) => total
        + dot(moves[a][part], moves[b][part]), 0);
    }
    diagonal += products[a * (size + 1)] / size;
  }
  for (let a = 0; a < size; a++) products[a * (size + 1)] += 1e-10 * diagonal + 1e-300;
  const share = solve(products, new Float64Array(size).fill(1));
  if (!share) return steps[size - 1][1]; // the sweeps no longer move
  const total = sum(share);
  const [, last] = steps[size - 1];
  const combined = { ...last };
  for (const name of NAMES) {
    combined[name] = last[name].map((_, k) => steps.reduce(
      (value, [, after], at) => value + (share[at] / total) * after[name][k], 0));
  }
  const [low, high] = FIELD_BOUNDS;
  combined.field = combined.field.map((value) => Math.max(low, Math.min(high, value)));
  return combined;
}

/** The weight of every unknown but W: its root mean square effect on x'. */
function weightsOf(data) {
  const { neurons, windows, axis } = data;
  const visits = density(data).map((value) => (value + 1e-4 / axis.knots) / neurons);
  const power = data.power / data.frames / neurons;
  const field = Math.sqrt(power / (neurons * windows));
  return {
    update: (k) => Math.sqrt(visits[k]),
    transfer: (k) => Math.sqrt(power * visits[k]),
    field: () => field,
  };
}
