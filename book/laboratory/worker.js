/* The laboratory's computations, in a worker so that the page never freezes.

The page asks for one thing at a time; every answer bears the number of its question. */

import { converge } from "./inference.js";
import { bestScaled, diagnose, inGauge, lineR2, typeAccuracy } from "./results.js";
import { drawNetwork, imageAt, simulate } from "./world.js";

let network;
let movie;
let recording;
let states;
let state;

const ANSWERS = {
  simulate({ settings, images }) {
    network = drawNetwork(settings);
    movie = images;
    recording = simulate(network, movie, settings);
    states = converge(recording);
    state = null;
    return { ...recording, types: network.types };
  },

  sweep() {
    const { value, done } = states.next();
    if (done) {
      return { finished: true, diagnosis: diagnose(recording, state) };
    }
    state = value;
    return { finished: false, ...seen(state) };
  },
};

/** What a state shows: functions and fields, and the scores, for which alone the truth is used. */
function seen({ phase, data, estimate, types }) {
  const { neurons, windows } = data;
  const gain = network.types.map((type) => network.parameters[type].gain);
  const found = inGauge({ data, estimate, types }, gain);
  const truth = network.connectivity;
  const scaled = bestScaled(truth, found.connectivity, neurons);
  const field = { true: [], learned: [], scaled: [] };
  for (let i = 0; i < network.side ** 2; i++) {
    const own = { true: [], learned: [] };
    for (let k = 0; k < windows; k++) {
      const frame = Math.floor(((k + 0.5) * data.total) / windows);
      own.true.push(movie[imageAt(frame, data.total, movie.length)][i]);
      own.learned.push(found.field[i * windows + k]);
    }
    const [one, other] = [own.true, own.learned].map((v) => v.reduce((a, b) => a + b) / windows);
    field.true.push(...own.true);
    field.learned.push(...own.learned);
    field.scaled.push(...own.learned.map((value) => (value * one) / other));
  }
  return {
    phase, windows, types, scaled, truth,
    loss: estimate.loss,
    knots: data.axis.values(),
    connectivity: found.connectivity,
    update: found.update,
    transfer: found.transfer,
    field,
    scores: {
      connectivity: lineR2(truth, found.connectivity),
      connectivityScaled: lineR2(truth, scaled),
      field: lineR2(field.true, field.learned),
      fieldScaled: lineR2(field.true, field.scaled),
      accuracy: types && typeAccuracy(network.types, types),
    },
  };
}

self.onmessage = ({ data: { number, ask, ...rest } }) => {
  try {
    self.postMessage({ number, ...ANSWERS[ask](rest) });
  } catch (error) {
    self.postMessage({ number, error: error.message });
  }
};
