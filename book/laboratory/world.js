/* A small network of equation (1) and its recording: the twin of figures_lib.simulate. */

import { normal, uniform } from "./random.js";

const TIME_STEP = 0.01;
const WARM_UP = 200; // frames before the recording, in which the movie is dark
const TRUNCATION = 25; // Cauchy weights beyond it are 0
const EXPONENT = 0.7; // of N, by which the weights are scaled: that of networks below 2000
const RUNAWAY = 1e6;

/** Draw a network.

`settings` has neurons, side (of the grid of modulated neurons), seed, and types, whose
parameters are named as in the configuration. */
export function drawNetwork({ neurons, side, seed, types }) {
  const draw = uniform(seed);
  const connectivity = new Float64Array(neurons * neurons);
  for (let k = 0; k < connectivity.length; k++) {
    const weight = Math.tan(Math.PI * (draw() - 0.5));
    const itself = k % (neurons + 1) === 0;
    connectivity[k] = itself || Math.abs(weight) > TRUNCATION ? 0 : weight * neurons ** -EXPONENT;
  }
  const type = Array.from({ length: neurons }, (_, i) => i % types.length);
  for (let i = neurons - 1; i > 0; i--) { // types in random order, so that both kinds have all
    const other = Math.floor(draw() * (i + 1));
    [type[i], type[other]] = [type[other], type[i]];
  }
  const modulated = Uint8Array.from({ length: neurons }, (_, i) => Number(i < side * side));
  return { neurons, side, connectivity, types: type, modulated, parameters: types };
}

/** φ(x) of a type: equation (1) without the network. */
export function update(x, own) {
  return own.self_coupling * Math.tanh(x) - own.decay * x + own.offset;
}

/** ψ(x) of a type: the message that it sends. */
export function transfer(x, own) {
  return Math.tanh((x - own.threshold) / own.width) - own.slope * x;
}

/** dx/dt of every neuron by equation (1), without the noise. */
export function derivative(network, x, field) {
  const { neurons, connectivity, types, parameters } = network;
  const messages = x.map((value, j) => transfer(value, parameters[types[j]]));
  return x.map((value, i) => {
    let received = 0;
    for (let j = 0; j < neurons; j++) received += connectivity[i * neurons + j] * messages[j];
    const own = parameters[types[i]];
    return update(value, own) + own.gain * field(i) * received;
  });
}

/** Simulate a recording.

The movie is an array of images, each the Ω of the grid neurons; every image is shown for the
same time. With `differences`, the derivative is what a recording has: the difference of
successive frames, which contains the noise. */
export function simulate(network, movie, { frames, noise, seed, differences }) {
  const { neurons, modulated } = network;
  const draw = normal(seed + 1);
  const activity = new Float64Array(neurons * frames);
  const slope = new Float64Array(neurons * frames);
  let x = Float64Array.from({ length: neurons }, draw);
  for (let t = -WARM_UP; t < frames; t++) {
    const image = t < 0 ? null : movie[imageAt(t, frames, movie.length)];
    const change = derivative(network, x, (i) => {
      if (!modulated[i]) return 1;
      return image ? image[i] : 0;
    });
    const next = x.map((value, i) => value + TIME_STEP * change[i] + noise * draw());
    for (let i = 0; t >= 0 && i < neurons; i++) {
      activity[i * frames + t] = x[i];
      slope[i * frames + t] = differences ? (next[i] - x[i]) / TIME_STEP : change[i];
    }
    x = next;
    if (!x.every((value) => Math.abs(value) < RUNAWAY)) {
      throw new Error("the activity grows without bound: lower the noise or the gain");
    }
  }
  return { neurons, frames, activity, derivative: slope, modulated };
}

/** The image that is shown at a frame. */
export function imageAt(frame, frames, images) {
  return Math.min(images - 1, Math.floor((images * frame) / frames));
}
