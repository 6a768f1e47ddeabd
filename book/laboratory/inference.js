/* Inference of W, φ, ψ, Ω and the neuron types from a recording, sweep by sweep.

The twin of figures_lib.infer.algorithm, as it treats networks that are too large for
Gauss–Newton steps. It never sees the truth. */

import { acceleratedSweeps } from "./anderson.js";
import { findTypes, worse } from "./neuron_types.js";
import { shareFunctions } from "./pooling.js";
import { start } from "./sweep.js";
import { spanning } from "./tables.js";
import { choiceFrames, prepare, residualByRun, sampledFrames, sum } from "./unknowns.js";
import { chooseWindows, rewindow } from "./windows.js";

const SETTINGS = {
  knots: 24, typeKnots: 96, sharedSweeps: 5, neuronSweeps: 12, typeSweeps: 6, window: 100,
  maxTypes: 40,
};
const [ROUNDS, LONGER, WINDOW_ROUNDS, MORE] = [2, 3, 3, 4];
const [FINE, UNCHANGED, NEGLIGIBLE, HOPELESS, CLEARLY] = [5e-7, 1e-3, 2e-6, 100, 0.5];

/** Yield the state after every sweep; the last one is the result. */
export function* converge(recording, settings = SETTINGS) {
  const sampled = sampledFrames(recording.frames, recording.neurons);
  const axis = spanning(some(recording, sampled), settings.knots);
  const windows = Math.ceil(recording.frames / settings.window);
  const data = prepare(recording, axis, sampled, windows);
  let state = { phase: "shared", data, estimate: start(data), types: null };
  const everyone = new Array(recording.neurons).fill(0);
  const shared = { update: null, transfer: everyone };
  for (const estimate of acceleratedSweeps(data, state.estimate, shared, settings.sharedSweeps)) {
    state = { ...state, estimate };
    yield state;
  }
  const single = yield* byNeuron(state, settings);
  const fine = prepare(
    recording, axis.refine(settings.typeKnots), sampled, single.data.windows);
  const pooled = yield* likelyTypes(recording, single, fine, settings);
  yield pooled || { ...single, phase: "alone" };
}

/** Each neuron its own φ and ψ; then the windows of Ω. */
function* byNeuron(before, settings) {
  let state = { ...before, phase: "neuron" };
  const pools = { update: null, transfer: null };
  const rest = Math.floor(settings.neuronSweeps / 3);
  for (const count of [settings.neuronSweeps, ...new Array(WINDOW_ROUNDS).fill(rest)]) {
    state = yield* settledSweeps(state, pools, count);
    const windows = chooseWindows(state.data, state.estimate, MORE * state.data.windows);
    if (windows === state.data.windows) break;
    const [data, estimate] = rewindow(state.data, state.estimate, windows);
    state = { ...state, data, estimate };
  }
  yield state;
  return state;
}

/** The likeliest types that explain held-out frames as well as every neuron by itself. */
function* likelyTypes(recording, single, fine, settings) {
  const judge = (state) => prepare(
    recording, state.data.axis, choiceFrames(recording.frames), state.data.windows);
  const alone = residualByRun(judge(single), single.estimate);
  let [best, least] = [null, alone];
  for (const alternatives of findTypes(single.data, single.estimate, settings.maxTypes)) {
    const started = alternatives.map((types) => {
      const rest = byType(single, fine, types, settings);
      return { first: rest.next().value, rest };
    }).sort((a, b) => a.first.estimate.loss - b.first.estimate.loss);
    for (const { first, rest } of started) {
      yield first;
      const hopeless = HOPELESS * Math.max(single.estimate.loss, NEGLIGIBLE);
      if (first.estimate.loss > hopeless) break;
      const state = yield* last(first, rest);
      const judging = judge(state);
      const left = residualByRun(judging, state.estimate);
      if (!worse(left, least, NEGLIGIBLE * judging.power)) {
        [best, least] = [state, left];
        break;
      }
    }
    if (best && sum(least) < CLEARLY * sum(alone)) break;
  }
  return best;
}

/** One φ and one ψ per type, on finer knots; the windows are chosen again between rounds. */
function* byType(single, fine, types, settings) {
  const pools = { update: types, transfer: types };
  const estimate = shareFunctions(single.data, fine, single.estimate, types);
  let state = { phase: "type", data: fine, estimate, types };
  for (let round = 0; round < ROUNDS; round++) {
    if (round > 0) {
      const windows = chooseWindows(state.data, state.estimate, MORE * state.data.windows);
      const [data, moved] = rewindow(state.data, state.estimate, windows);
      state = { ...state, data, estimate: moved };
    }
    const count = settings.typeSweeps * (round < ROUNDS - 1 ? 1 : LONGER);
    state = yield* settledSweeps(state, pools, count);
  }
}

/** Sweeps until the loss is tiny, or two in succession hardly change it. */
function* settledSweeps(before, pools, count) {
  let state = before;
  let [loss, settled] = [Infinity, false];
  for (const estimate of acceleratedSweeps(state.data, state.estimate, pools, count)) {
    state = { ...state, estimate };
    yield state;
    const already = settled;
    settled = Math.abs(estimate.loss - loss) < UNCHANGED * estimate.loss;
    loss = estimate.loss;
    if (loss <= FINE || (settled && already)) break;
  }
  return state;
}

/** Pass all states on; the value is the last one. */
function* last(first, rest) {
  let state = first;
  for (const after of rest) {
    yield after;
    state = after;
  }
  return state;
}

/** The activities of all neurons at some frames. */
function some(recording, frames) {
  const out = new Float64Array(recording.neurons * frames.length);
  for (let i = 0, p = 0; i < recording.neurons; i++) {
    for (const t of frames) out[p++] = recording.activity[i * recording.frames + t];
  }
  return out;
}
