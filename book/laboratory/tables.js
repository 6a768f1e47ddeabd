/* Functions of one number as tables: values on knots, linear in between.

The twin of figures_lib.infer.splines. Tables of several neurons lie one behind the other. */

/** The knots of a table: equidistant in asinh(x/scale), dense where activities are small. */
export class Axis {
  constructor(scale, reach, knots) {
    this.scale = scale;
    this.reach = reach;
    this.knots = knots;
  }

  /** Position of an activity in units of knots, within [0, knots − 1). */
  coordinate(x) {
    const position = (Math.asinh(x / this.scale) / this.reach + 1) * 0.5 * (this.knots - 1);
    return Math.max(0, Math.min(this.knots - 1.001, position));
  }

  /** Activity at every knot. */
  values() {
    return Float64Array.from({ length: this.knots }, (_, k) =>
      this.scale * Math.sinh(((2 * k) / (this.knots - 1) - 1) * this.reach));
  }

  /** The same range with another number of knots. */
  refine(knots) {
    return new Axis(this.scale, this.reach, knots);
  }
}

/** The axis that spans activities; a third of their standard deviation sets its scale. */
export function spanning(activity, knots) {
  let sum = 0;
  let largest = 0;
  for (const x of activity) {
    sum += x;
    largest = Math.max(largest, Math.abs(x));
  }
  const mean = sum / activity.length;
  let squared = 0;
  for (const x of activity) squared += (x - mean) ** 2;
  const scale = Math.max(Math.sqrt(squared / (activity.length - 1)) / 3, 1e-6);
  return new Axis(scale, Math.asinh(Math.max(largest, scale) / scale), knots);
}

/** The values of the table of every neuron at all frames. */
export function evaluate(table, data) {
  const { neurons, frames, left, fraction } = data;
  const { knots } = data.axis;
  const out = new Float64Array(neurons * frames);
  for (let i = 0, p = 0; i < neurons; i++) {
    for (let t = 0; t < frames; t++, p++) {
      const at = i * knots + left[p];
      out[p] = table[at] + fraction[p] * (table[at + 1] - table[at]);
    }
  }
  return out;
}

/** Σ_t signal_i(t)·B_q(x_i(t)) for the hat function B_q of every knot q. */
export function project(signal, data) {
  const { neurons, frames, left, fraction } = data;
  const { knots } = data.axis;
  const out = new Float64Array(neurons * knots);
  for (let i = 0, p = 0; i < neurons; i++) {
    for (let t = 0; t < frames; t++, p++) {
      const at = i * knots + left[p];
      const upper = signal[p] * fraction[p];
      out[at] += signal[p] - upper;
      out[at + 1] += upper;
    }
  }
  return out;
}

/** The same functions on the knots of another axis. */
export function resample(table, neurons, old, fresh) {
  const at = Array.from(fresh.values(), (x) => old.coordinate(x));
  const out = new Float64Array(neurons * fresh.knots);
  for (let i = 0; i < neurons; i++) {
    at.forEach((position, k) => {
      const left = Math.floor(position);
      const low = table[i * old.knots + left];
      const high = table[i * old.knots + left + 1];
      out[i * fresh.knots + k] = low + (position - left) * (high - low);
    });
  }
  return out;
}

/** The quadratic form of the second differences of some values. */
export function bending(size) {
  const out = new Float64Array(size * size);
  const row = [1, -2, 1];
  for (let k = 0; k + 2 < size; k++) {
    row.forEach((a, p) => row.forEach((b, q) => { out[(k + p) * size + k + q] += a * b; }));
  }
  return out;
}
