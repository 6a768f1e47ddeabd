/* The gauge: Ω times r and W divided by r leave the prediction as it is, but not the scores. */

import { lineR2, worded } from "../results.js";
import { NEURONS, SIDE, example, received, trueRow } from "../example.js";

const RECEIVER = 5; // whose prediction is drawn
const SHOWN = 200; // frames
const SPREAD = 6; // of the factors of single rows

Viewers.define("gauge", (root, data) => {
  const world = example(data);
  const count = SIDE * SIDE;
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const change = { label: "", min: 0.25, max: 4, step: 0.05, value: 1, change: update };
  const one = Viewers.slider(controls, { ...change, label: "r of the neuron that is drawn" });
  const spread = Viewers.slider(controls, {
    label: "rows apart", max: 1, step: 0.05, value: 0, change: update,
    text: (value) => (value ? `factors of 1 to ${Viewers.number(SPREAD ** value, 2)}` : "not"),
  });
  const told = Viewers.readout(root);
  const row = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  const truth = Array.from({ length: NEURONS }, (_, i) => trueRow(world, i));
  const seen = Array.from({ length: SHOWN }, (_, t) => world.driven(RECEIVER, t));
  let now;
  const pictures = [
    Viewers.picture(row, {
      title: "dx/dt − φ: predicted (colour) and recorded (grey)", ratio: 1.3,
      label: "predicted and recorded rate of change: they lie on each other",
      draw(context, width, height, theme) {
        const bound = 1.1 * Math.max(...seen.map(Math.abs));
        const scales = Viewers.axes(context, width, height, {
          x: [0, SHOWN], y: [-bound, bound], xLabel: "frame", yLabel: "1/time unit",
        }, theme);
        [[seen, theme.truth, 5], [now.predicted, theme.tint(data.colours[0]), 1.5]].forEach(
          ([values, colour, wide]) => {
            [context.strokeStyle, context.lineWidth] = [colour, wide];
            Viewers.line(context, scales, SHOWN, (t) => t, (t) => values[t]);
          });
      },
    }),
    Viewers.picture(row, {
      title: "weights of all modulated rows, against the true ones", ratio: 1.3,
      label: "weights after the change against the true ones",
      draw(context, width, height, theme) {
        const flat = truth.slice(0, count).flat();
        const bound = 1.05 * Math.max(...flat.map(Math.abs));
        const scales = Viewers.axes(context, width, height, {
          x: [-bound, bound], y: [-bound, bound], xLabel: "true weight", yLabel: "weight",
        }, theme);
        Viewers.inside(context, scales, () => {
          now.rows.slice(0, count).forEach((weights, i) => {
            context.fillStyle = theme.tint(data.colours[i === RECEIVER ? 1 : 0]);
            weights.forEach((value, j) => context.fillRect(
              scales.toX(truth[i][j]) - 2, scales.toY(value) - 2, 4, 4));
          });
        });
      },
    }),
  ];

  function update() {
    const factor = Array.from({ length: NEURONS }, (_, i) => {
      if (i >= count) return 1;
      const own = i === RECEIVER ? one.value : 1;
      return own * SPREAD ** (spread.value * (((7 * i) % count) / (count - 1)));
    });
    const rows = truth.map((weights, i) => weights.map((value) => value / factor[i]));
    const field = (scaled) => world.movie.flatMap((image) =>
      [...image].map((value, i) => value * (scaled ? factor[i] : 1)));
    now = {
      rows,
      predicted: seen.map((_, t) => factor[RECEIVER] * world.factor(RECEIVER, t)
        * received(world, rows[RECEIVER], t)),
    };
    told.textContent = `R² of the prediction ${worded(lineR2(seen, now.predicted))}; of W`
      + ` ${worded(lineR2(truth.flat(), rows.flat()))}; of the movie`
      + ` ${worded(lineR2(field(false), field(true)))}.`;
    pictures.forEach((picture) => picture.redraw());
  }

  update();
});
