/* What noise is for: it moves the activity in all directions, so that no weight hides. */

import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { NEURONS, example, gramMatrix } from "../example.js";

const FRAMES = 2000;

Viewers.define("noise", (root, data) => {
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const noise = Viewers.slider(controls, {
    label: "noise σ", max: 1, step: 0.05, value: 1, change: update,
  });
  const told = Viewers.readout(root);
  const row = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  let now;
  const pictures = [
    Viewers.picture(row, {
      title: "activity of four neurons", ratio: 1.3, label: "activity of four neurons over time",
      draw(context, width, height, theme) {
        const { activity } = now.world.recording;
        const bound = activity.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const scales = Viewers.axes(context, width, height, {
          x: [0, FRAMES], y: [-bound, bound], xLabel: "frame", yLabel: "activity x",
        }, theme);
        [18, 21, 24, 27].forEach((i, k) => {
          context.strokeStyle = theme.tint(data.colours[k]);
          Viewers.line(context, scales, FRAMES / 4, (t) => 4 * t,
            (t) => activity[i * FRAMES + 4 * t]);
        });
      },
    }),
    Viewers.picture(row, {
      title: "variance of the messages along each direction", ratio: 1.3,
      label: "eigenvalues of the covariance of the messages, largest first, logarithmic",
      draw(context, width, height, theme) {
        const y = [-8, 2];
        const yTicks = [-8, -6, -4, -2, 0, 2].map((exponent) =>
          [exponent, Viewers.power(exponent)]);
        const scales = Viewers.axes(context, width, height, {
          x: [1, NEURONS], y, yTicks, xLabel: "direction", yLabel: "variance",
        }, theme);
        Viewers.inside(context, scales, () => {
          context.strokeStyle = theme.tint(data.colours[0]);
          context.lineWidth = 2;
          Viewers.line(context, scales, NEURONS, (k) => k + 1, (k) => Math.log10(now.values[k]));
        });
      },
    }),
  ];

  function update() {
    const world = example(data, { noise: noise.value, frames: FRAMES });
    const frames = Array.from({ length: FRAMES }, (_, t) => t);
    const means = Array.from({ length: NEURONS }, (_, j) =>
      frames.reduce((sum, t) => sum + world.message(j, t), 0) / FRAMES);
    const covariance = gramMatrix(world, frames).map((value, k) =>
      value / FRAMES - means[Math.floor(k / NEURONS)] * means[k % NEURONS]);
    const { realEigenvalues } = new EigenvalueDecomposition(
      Matrix.from1DArray(NEURONS, NEURONS, [...covariance]), { assumeSymmetric: true });
    const values = realEigenvalues.map((value) => Math.max(value, 1e-12)).reverse();
    now = { world, values };
    const many = values.filter((value) => value > 1e-3 * values[0]).length;
    told.textContent = `${many} of ${NEURONS} directions have more than a thousandth of the`
      + ` largest variance. The smallest has ${Viewers.number(values[NEURONS - 1] / values[0])} of`
      + " it: an error of the functions is magnified by the inverse along it.";
    pictures.forEach((picture) => picture.redraw());
  }

  update();
});
