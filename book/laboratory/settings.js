/* What can be set in the laboratory, and the address that holds it all. */

export const MOVIE = { images: 16, side: 8 }; // as it is drawn; the grid of the network is smaller
const LEVELS = 64; // shades of a pixel in the address

/** The sliders: key, label, range, step and how the value is worded. */
export const SLIDERS = [
  { key: "neurons", label: "neurons N", min: 32, max: 128, step: 32, value: 64 },
  { key: "frames", label: "length (frames)", min: 250, max: 8000, step: 250, value: 4000,
    text: (value) => value.toLocaleString("en") },
  { key: "noise", label: "noise σ", min: 0, max: 2, step: 0.05, value: 1 },
  { key: "width", label: "widths γ", min: -2, max: 2, step: 0.25, value: 0, text: times },
  { key: "tau", label: "time constants τ", min: -2, max: 2, step: 0.25, value: 0, text: times },
  { key: "gain", label: "gains g", min: -2, max: 1, step: 0.25, value: 0, text: times },
  { key: "contrast", label: "movie's contrast", min: 0, max: 0.9, step: 0.05, value: 0.8 },
  { key: "seed", label: "seed", min: 0, max: 99, step: 1, value: 0 },
];

function times(power) {
  return `× ${Number((2 ** power).toPrecision(2))}`;
}

/** The side of the grid of modulated neurons: about half of the neurons. */
export function gridSide(neurons) {
  return Math.floor(Math.sqrt(neurons / 2));
}

/** The images that lie one behind the other, as copies. */
export function imagesIn(pixels) {
  const size = MOVIE.side ** 2;
  return Array.from({ length: MOVIE.images }, (_, k) =>
    Float64Array.from(pixels.subarray(k * size, (k + 1) * size)));
}

/** What the worker simulates: `values` of the controls, and the types of the run. */
export function asked(values, types) {
  return {
    neurons: values.neurons,
    side: gridSide(values.neurons),
    frames: values.frames,
    noise: values.noise,
    seed: values.seed,
    differences: values.derivative === "differences",
    types: types.slice(0, values.types).map((one) => ({
      ...one,
      width: one.width * 2 ** values.width,
      decay: one.decay / 2 ** values.tau,
      gain: one.gain * 2 ** values.gain,
    })),
  };
}

/** Ω of the grid neurons in every image: brightness 0…1 becomes 1 ± contrast. */
export function imagesOf(movie, { neurons, contrast }) {
  const side = gridSide(neurons);
  const shares = sharesOfPixels(side);
  return movie.map((image) => Float64Array.from({ length: side * side }, (_, i) => {
    const [columns, rows] = [Math.floor(i / side), side - 1 - (i % side)] // y upwards
      .map((at) => shares[at]);
    const brightness = rows.reduce((sum, ofRow, y) => sum + ofRow * columns.reduce(
      (part, ofColumn, x) => part + ofColumn * image[y * MOVIE.side + x], 0), 0);
    return 1 + contrast * (2 * brightness - 1);
  }));
}

/** Which share of each place on a grid every row of pixels covers. */
function sharesOfPixels(side) {
  const scale = MOVIE.side / side;
  return Array.from({ length: side }, (_, at) => Array.from({ length: MOVIE.side }, (__, k) =>
    Math.max(0, Math.min((at + 1) * scale, k + 1) - Math.max(at * scale, k)) / scale));
}

/** A brightness as the address holds it, so that a link shows what its sender saw. */
export function level(value) {
  return Math.round(value * (LEVELS - 1)) / (LEVELS - 1);
}

/** Settings and movie as the part of an address behind #. */
export function toAddress(values, movie) {
  const pixels = movie.map((image) => Array.from(image, (value) =>
    String.fromCharCode(48 + Math.round(value * (LEVELS - 1)))).join("")).join("");
  return `#laboratory=${encodeURIComponent(JSON.stringify({ ...values, movie: pixels }))}`;
}

/** Settings and movie from an address; null if it holds none that can be used. */
export function fromAddress(address, defaults) {
  const found = /^#laboratory=(.+)$/.exec(address);
  if (!found) return null;
  try {
    const { movie: pixels, ...given } = JSON.parse(decodeURIComponent(found[1]));
    const values = { ...defaults };
    for (const { key, min, max } of SLIDERS) {
      const number = Number(given[key]);
      if (Number.isFinite(number)) values[key] = Math.max(min, Math.min(max, number));
    }
    if (["exact", "differences"].includes(given.derivative)) values.derivative = given.derivative;
    values.neurons = 32 * Math.round(values.neurons / 32);
    values.frames = Math.round(values.frames);
    values.seed = Math.round(values.seed);
    const types = Math.round(Number(given.types));
    if (types >= 1) values.types = Math.min(types, defaults.types);
    const size = MOVIE.side ** 2;
    if (typeof pixels !== "string" || pixels.length !== MOVIE.images * size) {
      return { values, movie: null };
    }
    const movie = Array.from({ length: MOVIE.images }, (_, k) =>
      Float64Array.from(pixels.slice(k * size, (k + 1) * size), (letter) =>
        Math.max(0, Math.min(1, (letter.charCodeAt(0) - 48) / (LEVELS - 1)))));
    return { values, movie };
  } catch {
    return null;
  }
}
