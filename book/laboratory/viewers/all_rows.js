/* One Gram matrix serves all rows of W: only the right-hand side is the receiver's own. */

import { solve } from "../matrices.js";
import { NEURONS, example, gramMatrix, rightSide, trueRow } from "../example.js";

Viewers.define("all_rows", (root, data) => {
  const world = example(data);
  const frames = Array.from({ length: world.frames }, (_, t) => t);
  const gram = gramMatrix(world, frames);
  const palette = Viewers.palette(data.diverging);
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const receiver = Viewers.slider(controls, {
    label: "receiver i", max: NEURONS - 1, value: 20, change: update,
  });
  const row = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  const largest = gram.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  Viewers.picture(row, {
    title: "Gram matrix ΨΨᵀ: the same for every receiver", ratio: 1.3,
    label: "the Gram matrix of the messages of all pairs of senders",
    draw(context, width, height, theme) {
      const scales = Viewers.axes(context, width, height, {
        x: [0, NEURONS], y: [0, NEURONS], xLabel: "sender", yLabel: "sender",
      }, theme);
      Viewers.drawPixels(context, scales.box, NEURONS, NEURONS, (row, column) =>
        palette[Viewers.level(gram[(NEURONS - 1 - row) * NEURONS + column], -largest, largest)]);
    },
  });
  let now;
  const bars = [
    ["right-hand side of this receiver", "Σ ψ·(dx/dt − φ)/Ω", () => [now.right]],
    ["its weights: solved for (colour) and true (grey)", "weight", () => [now.truth, now.weights]],
  ].map(([title, yLabel, series]) => Viewers.picture(row, {
    title, ratio: 1.3, label: title,
    draw(context, width, height, theme) {
      const all = series();
      const bound = 1.1 * Math.max(...all.flat().map(Math.abs));
      const scales = Viewers.axes(context, width, height, {
        x: [-1, NEURONS], y: [-bound, bound], xLabel: "sender", yLabel,
      }, theme);
      all.forEach((values, k) => {
        const last = k === all.length - 1;
        context.fillStyle = last ? theme.tint(data.colours[0]) : theme.truth;
        const wide = last ? 3 : 7;
        values.forEach((value, j) => {
          const [zero, y] = [scales.toY(0), scales.toY(value)];
          context.fillRect(scales.toX(j) - wide / 2, Math.min(zero, y), wide,
            Math.max(1, Math.abs(zero - y)));
        });
      });
    },
  }));

  function update() {
    const i = receiver.value;
    const right = rightSide(world, i, frames);
    now = { right: [...right], weights: [...solve(gram, right)], truth: trueRow(world, i) };
    bars.forEach((picture) => picture.redraw());
  }

  update();
});
