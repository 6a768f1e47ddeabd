/* The laboratory: simulate a small network, hide a movie in it, and infer both, sweep by sweep. */

import source from "worker-source";
import { movieEditor } from "../movie_editor.js";
import { activityPictures, resultPictures } from "../pictures.js";
import { worded } from "../results.js";
import { MOVIE, SLIDERS, asked, fromAddress, imagesIn, imagesOf, toAddress } from "../settings.js";

const PHASES = {
  shared: "one ψ for all neurons", neuron: "every neuron its own φ and ψ",
  type: "one φ and ψ per type", alone: "every neuron its own: no types were found",
};
const PATIENCE = 400; // milliseconds after the last change of a control

Viewers.define("laboratory", (root, data) => {
  const defaults = {
    ...Object.fromEntries(SLIDERS.map(({ key, value }) => [key, value])),
    types: data.types.length, derivative: "exact",
  };
  const shared = fromAddress(location.hash, defaults) || { values: defaults, movie: null };
  const own = imagesIn(data.movie);
  const view = {
    movie: null, recorded: null, now: null, sweeps: [], diagnosis: null, types: [],
    raw: () => gauge().includes("raw"), time: () => time.value / (MOVIE.images - 1),
  };

  root.laboratory = view; // for the console of the browser, and for tests
  let number = 0;
  let running = false;
  let finished = false;
  let waiting = null;
  let world = 0; // how many have been simulated: answers about others are not shown
  const answers = new Map();
  const worker = makeWorker();

  heading("1. Simulate");
  const settings = Viewers.add(root, "div", { class: "laboratory-settings" });
  const panel = Viewers.add(settings, "div", { class: "viewer-controls" });
  const sliders = Object.fromEntries(SLIDERS.map(({ key, text = Viewers.number, ...one }) => [
    key, Viewers.slider(panel, { ...one, text, value: shared.values[key], change: soon }),
  ]));
  const kinds = Viewers.select(panel, {
    label: "neuron types", value: String(shared.values.types), change: soon,
    options: data.types.map((_, k) => [String(k + 1), String(k + 1)]),
  });
  const derivative = Viewers.select(panel, {
    label: "dx/dt", value: shared.values.derivative, change: soon,
    options: [["exact", "exact"], ["differences", "differences of frames"]],
  });
  const editor = movieEditor(settings, {
    grey: data.grey, movie: shared.movie || own, changed: soon,
  });
  const activity = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  const live = activityPictures(activity, view, data);

  heading("2. Infer");
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const one = Viewers.button(controls, "One sweep", () => sweep());
  const all = Viewers.button(controls, "Run to the end", () => {
    running = !running;
    label();
    if (running) follow();
  });
  Viewers.button(controls, "Start again", restart);
  const gauge = Viewers.choices(controls, {
    legend: "", type: "checkbox", chosen: [], change: () => redraw(results),
    options: [["raw", "scales of rows and columns as inferred, not fitted to the truth"]],
  });
  const said = Viewers.readout(root);
  said.setAttribute("aria-live", "polite");
  const row = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  const results = resultPictures(row, view, data);
  const time = Viewers.slider(results.at(-1).frame, {
    label: "image", max: MOVIE.images - 1, value: Math.floor(MOVIE.images / 2),
    change: () => results.at(-1).redraw(), text: (k) => `${k + 1} of ${MOVIE.images}`,
  });

  const foot = Viewers.add(root, "div", { class: "viewer-controls" });
  Viewers.button(foot, "Address of these settings", () => {
    location.hash = toAddress(values(), editor.movie);
    address.value = location.href;
    address.hidden = false;
    address.select();
  });
  const address = Viewers.add(foot, "input", {
    type: "text", readonly: "", hidden: "", class: "laboratory-address",
    "aria-label": "address of these settings",
  });

  window.addEventListener("hashchange", () => {
    const given = fromAddress(location.hash, defaults);
    if (!given || location.hash === toAddress(values(), editor.movie)) return;
    for (const { key } of SLIDERS) sliders[key].value = given.values[key];
    kinds.value = String(given.values.types);
    derivative.value = given.values.derivative;
    editor.set(given.movie || own);
  });

  function heading(text) {
    Viewers.add(root, "p", { class: "laboratory-heading" }, text);
  }

  function makeWorker() {
    const script = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const made = new Worker(script);
    made.onmessage = ({ data: { number: of, ...answer } }) => {
      answers.get(of)(answer);
      answers.delete(of);
    };
    return made;
  }

  /* Ask the worker. Its answers come in the order of the questions. */
  function ask(question) {
    number += 1;
    worker.postMessage({ number, ...question });
    return new Promise((resolve) => answers.set(number, resolve));
  }

  function values() {
    return {
      ...Object.fromEntries(SLIDERS.map(({ key }) => [key, sliders[key].value])),
      types: Number(kinds.value), derivative: derivative.value,
    };
  }

  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(restart, PATIENCE);
  }

  async function restart() {
    world += 1;
    const mine = world;
    running = finished = false;
    view.now = view.diagnosis = null;
    view.sweeps = [];
    label();
    const set = asked(values(), data.types);
    const images = imagesOf(editor.movie, values());
    const recorded = await ask({ ask: "simulate", settings: set, images });
    if (mine !== world) return;
    const failed = recorded.error;
    view.recorded = failed ? null : recorded;
    view.types = set.types;
    view.movie = images;
    one.disabled = all.disabled = Boolean(failed);
    said.textContent = failed ? `This cannot be simulated: ${failed}.`
      : `${recorded.neurons} neurons, ${set.side ** 2} of which the movie modulates, and`
        + ` ${recorded.frames.toLocaleString("en")} frames have been simulated. W has`
        + ` ${(recorded.neurons * (recorded.neurons - 1)).toLocaleString("en")} unknowns.`;
    redraw([...live, ...results]);
    root.dataset.state = failed ? "failed" : "simulated";
  }

  async function sweep() {
    const mine = world;
    if (finished) return;
    one.disabled = true;
    const answer = await ask({ ask: "sweep" });
    if (mine !== world) return;
    one.disabled = false;
    if (answer.error || answer.finished) {
      running = false;
      finished = true;
      view.diagnosis = answer.diagnosis;
      label();
      said.textContent = answer.error ? `The inference stopped: ${answer.error}.`
        : `${text()} ${verdict(answer.diagnosis)}`;
      root.dataset.state = answer.error ? "failed" : "finished";
      return;
    }
    view.now = answer;
    view.sweeps.push({ loss: answer.loss, phase: answer.phase, scores: answer.scores });
    said.textContent = text();
    root.dataset.state = `sweep ${view.sweeps.length}`;
    redraw(results);
  }

  async function follow() {
    while (running) await sweep();
  }

  function label() {
    all.textContent = running ? "Pause" : "Run to the end";
    one.disabled = all.disabled = finished;
  }

  function text() {
    const { phase, loss, scores, types } = view.now;
    const found = !types ? "" : ` ${Math.max(...types) + 1} types were found; they are right for`
      + ` ${Math.round(100 * scores.accuracy)} % of the neurons.`;
    return `Sweep ${view.sweeps.length}, ${PHASES[phase]}: ${Viewers.number(loss)} of the`
      + ` variance of dx/dt is unexplained.${found} R² of W ${worded(scores.connectivityScaled)}`
      + ` and of the movie ${worded(scores.fieldScaled)}; with the scales as inferred,`
      + ` ${worded(scores.connectivity)} and ${worded(scores.field)}.`;
  }

  function verdict({ trusted, reasons, heldoutR2 }) {
    return trusted
      ? `Verdict, without the truth: trusted. R² on frames that were not read is`
        + ` ${worded(heldoutR2)}, and both halves of the recording give the same weights.`
      : `Verdict, without the truth: not trusted. Reasons: ${reasons.join("; ")}.`;
  }

  function redraw(pictures) {
    row.hidden = view.now === null; // nothing to see before the first sweep
    pictures.forEach((picture) => picture.redraw());
  }

  restart();
});
