/* One neuron: its row of W is a regression, which locks when there are enough frames. */

import { solve } from "../matrices.js";
import { lineR2, worded } from "../results.js";
import { NEURONS, example, gramMatrix, received, rightSide, trueRow } from "../example.js";

const RECEIVER = 20; // one that the movie does not modulate
const STEPS = [4, 8, 12, 16, 20, 24, 28, 30, 32, 34, 36, 40, 50, 64, 100, 200, 400, 1000, 2000];
const LEAST_NORM = 1e-9; // ridge, of the mean diagonal: of all solutions the smallest

Viewers.define("one_neuron", (root, data) => {
  const worlds = { exact: example(data, { frames: 4000 }) };
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const frames = Viewers.slider(controls, {
    label: "frames used", max: STEPS.length - 1, value: 3, change: update,
    text: (k) => STEPS[k].toLocaleString("en"),
  });
  const kind = Viewers.select(controls, {
    label: "dx/dt", value: "exact", change: update,
    options: [["exact", "exact"], ["differences", "differences of frames"]],
  });
  const told = Viewers.readout(root);
  const row = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  let now;
  const pictures = [
    ["what the neuron receives, predicted and measured, at other frames", "predicted",
      "measured", () => now.others],
    ["its 32 weights, learned against true", "true weight", "learned weight", () => now.weights],
  ].map(([title, xLabel, yLabel, pairs]) => Viewers.picture(row, {
    title, ratio: 1.3, label: title,
    draw(context, width, height, theme) {
      const [x, y] = pairs();
      const bound = 1.1 * Math.max(...[...x, ...(title.startsWith("its") ? x : y)].map(Math.abs));
      const scales = Viewers.axes(context, width, height, {
        x: [-bound, bound], y: [-bound, bound], xLabel, yLabel,
      }, theme);
      Viewers.inside(context, scales, () => {
        context.strokeStyle = theme.truth;
        Viewers.line(context, scales, 2, (k) => (2 * k - 1) * bound, (k) => (2 * k - 1) * bound);
        context.fillStyle = theme.tint(data.colours[0]);
        x.forEach((value, k) =>
          context.fillRect(scales.toX(value) - 2, scales.toY(y[k]) - 2, 4, 4));
      });
    },
  }));

  function update() {
    worlds[kind.value] ??= example(data, { frames: 4000, differences: true });
    const world = worlds[kind.value];
    const count = STEPS[frames.value];
    const used = Array.from({ length: count }, (_, k) => Math.floor((k * 2000) / count));
    const others = Array.from({ length: 200 }, (_, k) => 2000 + 10 * k);
    const gram = gramMatrix(world, used);
    let mean = 0;
    for (let j = 0; j < NEURONS; j++) mean += gram[j * (NEURONS + 1)] / NEURONS;
    for (let j = 0; j < NEURONS; j++) gram[j * (NEURONS + 1)] += LEAST_NORM * mean;
    const learned = Array.from(solve(gram, rightSide(world, RECEIVER, used)));
    const predicted = (chosen) => chosen.map((t) => received(world, learned, t));
    const measured = (chosen) =>
      chosen.map((t) => world.driven(RECEIVER, t) / world.factor(RECEIVER, t));
    now = {
      others: [predicted(others), measured(others)],
      weights: [trueRow(world, RECEIVER), learned],
    };
    const score = (pair) => worded(lineR2(...pair));
    told.textContent = `${count.toLocaleString("en")} equations for ${NEURONS} weights. R² at the`
      + ` frames used: ${score([predicted(used), measured(used)])}; at others:`
      + ` ${score(now.others)}; of the weights: ${score(now.weights)}.`;
    pictures.forEach((picture) => picture.redraw());
  }

  update();
});
