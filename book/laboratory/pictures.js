/* The pictures of the laboratory: activity, and what the inference has found so far. */

import { gridSide } from "./settings.js";
import { transfer, update } from "./world.js";

const TRACES = 8;
const SPACING = 6; // standard deviations between two traces

/** Activities of some neurons over time, and of all neurons as a raster. */
export function activityPictures(parent, view, { colours, diverging }) {
  const palette = Viewers.palette(diverging);
  const traces = Viewers.picture(parent, {
    title: "activity of 8 neurons, coloured by type", ratio: 1.5,
    label: "activity of eight neurons over time, coloured by their type",
    draw(context, width, height, theme) {
      const { recorded } = view;
      if (!recorded) return;
      const { activity, neurons, frames, types } = recorded;
      const spread = deviation(activity);
      const shown = Array.from({ length: TRACES }, (_, k) => Math.floor((k * neurons) / TRACES));
      const scales = Viewers.axes(context, width, height, {
        x: [0, frames], y: [-0.5, TRACES - 0.5], xLabel: "frame", yLabel: "neuron",
        yTicks: shown.map((neuron, k) => [k, String(neuron)]),
      }, theme);
      const step = Math.max(1, Math.floor(frames / width / 2));
      Viewers.inside(context, scales, () => shown.forEach((neuron, k) => {
        context.strokeStyle = theme.tint(colours[types[neuron] % colours.length]);
        Viewers.line(context, scales, Math.floor(frames / step), (t) => t * step,
          (t) => k + activity[neuron * frames + t * step] / (SPACING * spread));
      }));
    },
  });
  const raster = Viewers.picture(parent, {
    title: "activity of all neurons: red high, blue low", ratio: 1.5,
    label: "activity of all neurons over time, red where it is high and blue where it is low",
    draw(context, width, height, theme) {
      const { recorded } = view;
      if (!recorded) return;
      const { activity, neurons, frames } = recorded;
      const bound = 2.5 * deviation(activity);
      const scales = Viewers.axes(context, width, height, {
        x: [0, frames], y: [0, neurons], xLabel: "frame", yLabel: "neuron",
      }, theme);
      const columns = Math.max(1, Math.round(scales.box.right - scales.box.left));
      Viewers.drawPixels(context, scales.box, neurons, columns, (row, column) => {
        const frame = Math.floor((column * frames) / columns);
        const value = activity[(neurons - 1 - row) * frames + frame];
        return palette[Viewers.level(value, -bound, bound)];
      });
    },
  });
  return [traces, raster];
}

/** W, φ, ψ, Ω and the loss after the last sweep, beside the truth in grey. */
export function resultPictures(parent, view, { colours, grey }) {
  const palette = Viewers.palette(grey);
  const ofType = (i, theme) => theme.tint(colours[view.recorded.types[i] % colours.length]);

  const weights = Viewers.picture(parent, {
    title: "connectivity W, learned against true", ratio: 1.2,
    label: "every learned weight against the true one",
    draw(context, width, height, theme) {
      const { now } = view;
      if (!now) return;
      const { truth } = now;
      const found = view.raw() ? now.connectivity : now.scaled;
      const bound = 1.05 * truth.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const scales = Viewers.axes(context, width, height, {
        x: [-bound, bound], y: [-bound, bound], xLabel: "true weight", yLabel: "learned weight",
      }, theme);
      Viewers.inside(context, scales, () => {
        context.strokeStyle = theme.truth;
        Viewers.line(context, scales, 2, (k) => (2 * k - 1) * bound, (k) => (2 * k - 1) * bound);
        context.globalAlpha = 0.5;
        for (let k = 0; k < truth.length; k++) {
          context.fillStyle = ofType(k % view.recorded.neurons, theme);
          context.fillRect(scales.toX(truth[k]) - 1, scales.toY(found[k]) - 1, 2, 2);
        }
        context.globalAlpha = 1;
      });
    },
  });

  const loss = Viewers.picture(parent, {
    title: "loss: unexplained variance of dx/dt", ratio: 1.2,
    label: "loss after every sweep, on a logarithmic axis",
    draw(context, width, height, theme) {
      const { sweeps } = view;
      if (!sweeps.length) return;
      const powers = sweeps.map(({ loss: one }) => Math.log10(Math.max(one, 1e-12)));
      const y = [Math.floor(Math.min(...powers, -1)), Math.ceil(Math.max(...powers, 0))];
      const yTicks = Array.from({ length: y[1] - y[0] + 1 }, (_, k) =>
        [y[0] + k, Viewers.power(y[0] + k)]);
      const scales = Viewers.axes(context, width, height, {
        x: [1, Math.max(10, sweeps.length)], y, yTicks, xLabel: "sweep",
        yLabel: "share of the variance",
      }, theme);
      context.lineWidth = 2;
      Viewers.line(context, scales, powers.length, (k) => k + 1, (k) => powers[k]);
      let lines = 0; // the names of phases one below the other, so that they never overlap
      sweeps.forEach(({ phase }, k) => {
        if (k && phase === sweeps[k - 1].phase) return;
        lines += 1;
        context.fillStyle = theme.muted;
        context.textAlign = "left";
        context.fillText(phase, scales.toX(k + 1) + 3, scales.box.top + 12 * lines);
        context.fillRect(scales.toX(k + 1), scales.box.top, 1, scales.box.bottom - scales.box.top);
      });
    },
  });
  const functions = [
    ["update functions φ(x)", "update", update, "φ(x) (1/time unit)"],
    ["transfer functions ψ(x), largest 1", "transfer", transfer, "ψ(x)"],
  ].map(([title, name, truth, yLabel]) => Viewers.picture(parent, {
    title, ratio: 1.2, label: `${title} of every neuron, coloured by its true type`,
    draw(context, width, height, theme) {
      const { now, recorded, types } = view;
      if (!now) return;
      const reach = 3 * deviation(recorded.activity);
      const { length } = now.knots;
      const steps = Array.from({ length: 81 }, (_, k) => (k / 40 - 1) * reach);
      const curves = types.map((own) => {
        const values = steps.map((x) => truth(x, own));
        const largest = name === "transfer" ? Math.max(...values.map(Math.abs)) : 1;
        return values.map((value) => value / largest);
      });
      const highest = name === "transfer" ? 1.3 : 1.1 * Math.max(...curves.flat().map(Math.abs));
      const scales = Viewers.axes(context, width, height, {
        x: [-reach, reach], y: [-highest, highest], xLabel: "activity x", yLabel,
      }, theme);
      Viewers.inside(context, scales, () => {
        context.strokeStyle = theme.truth;
        context.lineWidth = 6;
        for (const curve of curves) {
          Viewers.line(context, scales, steps.length, (k) => steps[k], (k) => curve[k]);
        }
        context.lineWidth = 1;
        for (let i = 0; i < recorded.neurons; i++) {
          context.strokeStyle = ofType(i, theme);
          Viewers.line(context, scales, length, (k) => now.knots[k],
            (k) => now[name][i * length + k]);
        }
      });
    },
  }));

  const field = Viewers.picture(parent, {
    title: "hidden movie: true (left), learned (right)", ratio: 2.05,
    label: "the hidden movie, true and learned, at the chosen time",
    draw(context, width, height, theme) {
      const { now, recorded } = view;
      if (!now) return;
      const side = gridSide(recorded.neurons);
      const at = Math.min(now.windows - 1, Math.floor(view.time() * now.windows));
      const values = view.raw() ? now.field.learned : now.field.scaled;
      const [low, high] = [Math.min, Math.max].map((end) => end(...now.field.true));
      [now.field.true, values].forEach((one, k) => {
        context.save();
        context.translate(k * (width - height), 0);
        Viewers.drawGrid(context, height, side, (i) => one[i * now.windows + at],
          low - 1e-9, high + 1e-9, palette);
        context.restore();
      });
    },
  });


  const scores = Viewers.picture(parent, {
    title: "scores, for which alone the truth is used", ratio: 1.2,
    label: "R² of W and of the movie after every sweep",
    draw(context, width, height, theme) {
      const { sweeps } = view;
      if (!sweeps.length) return;
      const scales = Viewers.axes(context, width, height, {
        x: [1, Math.max(10, sweeps.length)], y: [0, 1.05], xLabel: "sweep", yLabel: "R²",
      }, theme);
      const suffix = view.raw() ? "" : "Scaled";
      [["connectivity", "W", colours[0]], ["field", "movie", colours[1]]].forEach(
        ([name, word, colour], k) => {
          const values = sweeps.map((one) => one.scores[`${name}${suffix}`]);
          context.strokeStyle = context.fillStyle = theme.tint(colour);
          context.lineWidth = 2;
          Viewers.line(context, scales, values.length, (at) => at + 1, (at) => values[at]);
          context.textAlign = "right";
          context.fillText(word, scales.box.right, scales.toY(0.15 + 0.12 * k));
        });
    },
  });
  return [weights, loss, ...functions, scores, field];
}

function deviation(values) {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  return Math.sqrt(squares / values.length - (sum / values.length) ** 2);
}
