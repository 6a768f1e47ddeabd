/* The functions of single neurons and the embedding cloud while they form. */
"use strict";

Viewers.define("functions", (root, data) => {
  const sweeps = data.sweeps.length;  // the step after the last sweep shows the networks
  const phases = {
    shared: "one ψ for all neurons", neuron: "one ψ per neuron",
    type: "one φ and ψ per type", alone: "every neuron its own", joint: "all unknowns together",
  };
  const position = (k) => data.sweeps[k].index;
  const unit = data.sweeps[0].title.split(" ")[0];  // sweep, or step of a training
  const all = Array.from({ length: data.typeCount }, (_, k) => k);
  const colour = (type) => data.colours[type % data.colours.length];

  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const time = Viewers.slider(controls, {
    label: unit, max: sweeps, value: sweeps, change: update,
    text: (k) => (k === sweeps ? "networks" : `${data.sweeps[k].index}, ${data.sweeps[k].phase}`),
  });
  const stage = Viewers.slider(controls, {
    label: "embedding", max: data.cloud.shape[0] - 1, value: data.cloud.shape[0] - 1,
    change: update, text: (k) => (k === 0 ? "start" : `stage ${k}`),
  });
  const types = Viewers.choices(controls, {
    legend: "types", type: "checkbox", chosen: all, change: update,
    options: all.map((k) => [k, `type ${k + 1}`, colour(k)]),
  });
  const truth = Viewers.choices(controls, {
    legend: "truth", type: "checkbox", chosen: ["true"], change: update,
    options: [["true", "true functions", "#999"]],
  });

  const row = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  const pictures = [
    ["update functions φ", "update", data.updateRange, "φ(x) (1/time unit)"],
    ["transfer functions ψ, largest 1", "transfer", [-1.3, 1.3], "ψ(x)"],
  ].map(([title, name, range, yLabel]) => Viewers.picture(row, {
    title, ratio: 1.3, label: `${title} at the chosen ${unit}, coloured by true type`,
    draw(context, width, height, theme) {
      const scales = Viewers.axes(context, width, height, {
        x: [-data.bound, data.bound], y: range, xLabel: "activity x", yLabel,
      }, theme);
      Viewers.inside(context, scales, () => {
        if (truth().length) {
          context.strokeStyle = theme.truth;
          context.lineWidth = 6;
          for (const type of types()) final(context, scales, `${name}True`, type);
        }
        if (time.value === sweeps) {
          context.lineWidth = 1.5;
          for (const type of types()) {
            context.strokeStyle = theme.tint(colour(type));
            final(context, scales, `${name}Learned`, type);
          }
        } else {
          curves(context, scales, name, theme);
        }
      });
    },
  }));

  pictures.push(Viewers.picture(row, {
    title: "embedding aᵢ of every neuron", ratio: 1.3,
    label: "embedding of every neuron at the chosen stage, coloured by true type",
    draw(context, width, height, theme) {
      const [, neurons] = data.cloud.shape;
      const [x, y] = [0, 1].map((axis) => extent(data.cloud.filter((_, k) => k % 2 === axis)));
      const scales = Viewers.axes(context, width, height, {
        x, y, xLabel: "first component",
        yLabel: data.components > 1 ? "second component" : "neuron index",
      }, theme);
      const wanted = new Set(types());
      context.globalAlpha = 0.6;
      for (let k = 0; k < neurons; k++) {
        if (!wanted.has(data.types[k])) continue;
        const at = 2 * (stage.value * neurons + k);
        context.fillStyle = theme.tint(colour(data.types[k]));
        context.fillRect(
          scales.toX(data.cloud[at]) - 1.5, scales.toY(data.cloud[at + 1]) - 1.5, 3, 3);
      }
      context.globalAlpha = 1;
    },
  }));

  pictures.push(Viewers.picture(row, {
    title: "loss: unexplained variance of dx/dt", ratio: 1.3,
    label: `loss after every ${unit} that is drawn, the chosen one marked`,
    draw(context, width, height, theme) {
      const losses = data.sweeps.map(({ loss }) => Math.log10(loss));
      const y = [Math.floor(Math.min(...losses)), Math.ceil(Math.max(...losses) + 1e-9)];
      const yTicks = [];
      for (let exponent = y[0]; exponent <= y[1]; exponent++) {
        yTicks.push([exponent, Viewers.power(exponent)]);
      }
      const scales = Viewers.axes(context, width, height, {
        x: [0, Math.max(1, position(sweeps - 1))], y, yTicks, xLabel: unit,
        yLabel: "share of the variance",
      }, theme);
      context.lineWidth = 1.5;
      Viewers.line(context, scales, sweeps, position, (k) => losses[k]);
      const now = Math.min(time.value, sweeps - 1);
      context.fillStyle = theme.mark;
      context.beginPath();
      context.arc(scales.toX(position(now)), scales.toY(losses[now]), 5, 0, 7);
      context.fill();
    },
  }));
  const told = Viewers.readout(root);

  /* The function of one type over the activity that it visits. */
  function final(context, scales, name, type) {
    const points = data.x.shape[1];
    Viewers.line(context, scales, points,
      (k) => data.x[type * points + k], (k) => data[name][type * points + k]);
  }

  /* The functions of single neurons at the chosen sweep. */
  function curves(context, scales, name, theme) {
    const knots = data[`knots${time.value}`];
    const values = data[`${name}${time.value}`];
    const wanted = new Set(types());
    context.lineWidth = 0.8;
    context.globalAlpha = 0.7;
    data.neurons.forEach((neuron, at) => {
      if (!wanted.has(data.types[neuron])) return;
      context.strokeStyle = theme.tint(colour(data.types[neuron]));
      Viewers.line(context, scales, knots.length,
        (k) => knots[k], (k) => values[at * knots.length + k]);
    });
    context.globalAlpha = 1;
  }

  function extent(values) {
    const low = values.reduce((least, value) => Math.min(least, value));
    const high = values.reduce((most, value) => Math.max(most, value));
    const margin = 0.05 * (high - low) + 1e-9;
    return [low - margin, high + margin];
  }

  function update() {
    pictures.forEach((one) => one.redraw());
    const { title, phase, loss } = data.sweeps[Math.min(time.value, sweeps - 1)];
    told.textContent = (time.value === sweeps
      ? `The networks φ* and ψ* of every type: ${Viewers.number(data.loss)} of the variance`
        + " unexplained."
      : `${title[0].toUpperCase()}${title.slice(1)}, ${phases[phase]}: ${Viewers.number(loss)} of the variance`
        + ` unexplained, ${data.neurons.length} neurons drawn.`)
      + ` Embedding: ${stage.value === 0 ? "start" : `stage ${stage.value}`}`
      + ` of ${data.cloud.shape[0] - 1}.`;
  }

  update();
});
