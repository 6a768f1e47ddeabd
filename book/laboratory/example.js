/* The network of the small figures that explain the inference, with everything known. */

import { imagesIn, imagesOf } from "./settings.js";
import { drawNetwork, imageAt, simulate, transfer, update } from "./world.js";

export const NEURONS = 32;
export const SIDE = 4; // of the grid of modulated neurons

/** A simulated network and, of every neuron, what the sweeps would have to find.

`data` is that of the laboratory: neuron types and movie of the run. */
export function example(data, { noise = 1, frames = 2000, differences = false, seed = 1 } = {}) {
  const movie = imagesOf(imagesIn(data.movie), { neurons: NEURONS, contrast: 0.8 });
  const network = drawNetwork({ neurons: NEURONS, side: SIDE, seed, types: data.types });
  const recording = simulate(network, movie, { frames, noise, seed, differences });
  const { activity, derivative } = recording;
  const own = (i) => network.parameters[network.types[i]];
  const at = (values, i, t) => values[i * frames + t];
  return {
    ...network, frames, movie, recording,
    /** ψ(x_j) at a frame. */
    message: (j, t) => transfer(at(activity, j, t), own(j)),
    /** dx/dt − φ(x): what a neuron receives from the network, times gain and Ω. */
    driven: (i, t) => at(derivative, i, t) - update(at(activity, i, t), own(i)),
    /** g·Ω at a frame. */
    factor: (i, t) => own(i).gain
      * (network.modulated[i] ? movie[imageAt(t, frames, movie.length)][i] : 1),
  };
}

/** Σ_j W_ij·ψ_j at a frame, with the weights of a row. */
export function received(world, row, t) {
  return row.reduce((sum, weight, j) => sum + weight * world.message(j, t), 0);
}

/** The true weights of a receiver. */
export function trueRow(world, i) {
  return Array.from(world.connectivity.subarray(i * NEURONS, (i + 1) * NEURONS));
}

/** The Gram matrix ΨΨᵀ of all messages over some frames. */
export function gramMatrix(world, chosen) {
  const gram = new Float64Array(NEURONS * NEURONS);
  for (const t of chosen) {
    const messages = Array.from({ length: NEURONS }, (_, j) => world.message(j, t));
    for (let j = 0; j < NEURONS; j++) {
      for (let k = 0; k < NEURONS; k++) gram[j * NEURONS + k] += messages[j] * messages[k];
    }
  }
  return gram;
}

/** The right-hand side of a receiver: Σ_t ψ_j·(dx/dt − φ)/(g·Ω). */
export function rightSide(world, i, chosen) {
  return Float64Array.from({ length: NEURONS }, (_, j) => chosen.reduce((sum, t) =>
    sum + (world.message(j, t) * world.driven(i, t)) / world.factor(i, t), 0));
}
