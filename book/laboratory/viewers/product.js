/* The product Ω·W comes apart: within an image Ω is a slope, and W is the same in all images. */

import { MOVIE } from "../settings.js";
import { imageAt } from "../world.js";
import { example, received, trueRow } from "../example.js";

const RECEIVER = 5; // one that the movie modulates

Viewers.define("product", (root, data) => {
  const world = example(data);
  const row = trueRow(world, RECEIVER);
  const gain = world.parameters[world.types[RECEIVER]].gain;
  const images = Array.from({ length: MOVIE.images }, (_, k) => ({ k, input: [], driven: [] }));
  for (let t = 0; t < world.frames; t++) {
    const image = images[imageAt(t, world.frames, MOVIE.images)];
    image.input.push(gain * received(world, row, t));
    image.driven.push(world.driven(RECEIVER, t));
  }
  for (const image of images) {
    const cross = image.input.reduce((sum, m, t) => sum + m * image.driven[t], 0);
    image.slope = cross / image.input.reduce((sum, m) => sum + m * m, 0);
  }
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const time = Viewers.slider(controls, {
    label: "image", max: MOVIE.images - 1, value: 8, change: update,
    text: (k) => `${k + 1} of ${MOVIE.images}`,
  });
  const told = Viewers.readout(root);
  const parts = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  const [x, y] = ["input", "driven"].map((name) =>
    1.1 * Math.max(...images.flatMap((image) => image[name].map(Math.abs))));
  const pictures = [
    Viewers.picture(parts, {
      title: "what the neuron does, against what the others send", ratio: 1.3,
      label: "dx/dt − φ against g·Σ W ψ at all frames, those of the chosen image in colour",
      draw(context, width, height, theme) {
        const scales = Viewers.axes(context, width, height, {
          x: [-x, x], y: [-y, y], xLabel: "g·Σ W ψ, without the movie", yLabel: "dx/dt − φ",
        }, theme);
        Viewers.inside(context, scales, () => {
          for (const image of images) {
            const chosen = image.k === time.value;
            context.fillStyle = chosen ? theme.tint(data.colours[1]) : theme.truth;
            image.input.forEach((m, t) => context.fillRect(
              scales.toX(m) - 1.5, scales.toY(image.driven[t]) - 1.5, 3, 3));
          }
          context.strokeStyle = theme.tint(data.colours[1]);
          const { slope } = images[time.value];
          Viewers.line(context, scales, 2, (k) => (2 * k - 1) * x, (k) => (2 * k - 1) * x * slope);
        });
      },
    }),
    Viewers.picture(parts, {
      title: "the slope in every image (dots) and the movie (line)", ratio: 1.3,
      label: "slope within every image, and the true movie at this neuron",
      draw(context, width, height, theme) {
        const truth = world.movie.map((image) => image[RECEIVER]);
        const scales = Viewers.axes(context, width, height, {
          x: [0, MOVIE.images - 1], y: [0, 2], xLabel: "image", yLabel: "Ω of this neuron",
        }, theme);
        context.strokeStyle = theme.truth;
        context.lineWidth = 4;
        Viewers.line(context, scales, MOVIE.images, (k) => k, (k) => truth[k]);
        for (const { k, slope } of images) {
          context.fillStyle = k === time.value ? theme.tint(data.colours[1]) : theme.text;
          context.beginPath();
          context.arc(scales.toX(k), scales.toY(slope), k === time.value ? 6 : 3, 0, 7);
          context.fill();
        }
      },
    }),
  ];

  function update() {
    const { slope } = images[time.value];
    told.textContent = `In image ${time.value + 1} the points lie on a line of slope`
      + ` ${Viewers.number(slope)}: that is Ω. In another image the same weights give another`
      + " slope.";
    pictures.forEach((picture) => picture.redraw());
  }

  update();
});
