/* Learned against true weights: a sample of the edges, to be pointed at, filtered and rescaled. */
"use strict";

Viewers.define("connectivity", (root, data) => {
  const count = data.sender.length;
  const types = data.typeCount;
  const byTruth = Array.from({ length: count }, (_, k) => k)
    .sort((one, other) => data.truth[one] - data.truth[other]);
  let marked = byTruth[count - 1];
  let drawn = null;  // the scales of the last picture

  const names = [[types, "all"]].concat(
    Array.from({ length: types }, (_, k) => [k, `type ${k + 1}`]));
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const [sender, receiver] = ["from (sender j)", "to (receiver i)"].map((label) =>
    Viewers.select(controls, { label, options: names, value: types, change: update }));
  const scale = Viewers.choices(controls, {
    legend: "learned W*", type: "radio", chosen: ["raw"], change: update,
    options: [["raw", "raw"], ["fitted", "row and column scales fitted to the truth"]],
  });
  const zoom = Viewers.slider(controls, {
    label: "zoom", max: 6, step: 0.1, value: 0, change: update,
    text: (power) => `${Viewers.number(2 ** power, 2)} times`,
  });

  const plot = Viewers.picture(root, {
    label: "learned against true weights of a sample of edges; arrow keys step through them",
    ratio: 1.25,
    draw(context, width, height, theme) {
      const bound = data.bound / 2 ** zoom.value;
      const scales = Viewers.axes(context, width, height, {
        x: [-bound, bound], y: [-bound, bound],
        xLabel: "true W (receiver i, sender j)",
        yLabel: scale()[0] === "raw" ? "learned W*" : "learned W*, scales fitted to the truth",
      }, theme);
      Viewers.inside(context, scales, () => {
        context.strokeStyle = theme.muted;
        context.setLineDash([6, 4]);
        Viewers.line(context, scales, 2, (k) => [-bound, bound][k], (k) => [-bound, bound][k]);
        context.setLineDash([]);
        const learned = values();
        context.globalAlpha = 0.5;
        const tints = Array.from({ length: types }, (_, type) =>
          theme.tint(data.colours[type % data.colours.length]));
        for (let k = 0; k < count; k++) {
          if (!shown(k)) continue;
          context.fillStyle = tints[data.types[data.sender[k]]];
          context.fillRect(
            scales.toX(data.truth[k]) - 1.25, scales.toY(learned[k]) - 1.25, 2.5, 2.5);
        }
        context.globalAlpha = 1;
        if (marked !== null) {
          context.strokeStyle = theme.mark;
          context.lineWidth = 2;
          context.beginPath();
          context.arc(scales.toX(data.truth[marked]), scales.toY(learned[marked]), 6, 0, 7);
          context.stroke();
        }
      });
      drawn = scales;
    },
  });
  plot.canvas.tabIndex = 0;
  plot.canvas.setAttribute("role", "application");
  plot.canvas.addEventListener("pointermove", point);
  plot.canvas.addEventListener("pointerdown", point);
  plot.canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
    if (!steps[event.key] && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const order = byTruth.filter(shown);
    const at = { Home: 0, End: order.length - 1 }[event.key]
      ?? order.indexOf(marked) + steps[event.key];
    if (order.length) marked = order[Math.max(0, Math.min(order.length - 1, at))];
    update();
  });
  const legend = Viewers.add(root, "div", { class: "viewer-legend" });
  for (const [type, name] of names.slice(1)) {
    const colour = data.colours[type % data.colours.length];
    const item = Viewers.add(legend, "span", {});
    Viewers.add(item, "span", { class: "viewer-swatch", style: `background:${colour}` });
    item.append(`sender of ${name}`);
  }
  const told = Viewers.readout(root);

  function values() {
    return scale()[0] === "raw" ? data.learned : data.fitted;
  }

  function shown(k) {
    const [from, to] = [Number(sender.value), Number(receiver.value)];
    return (from === types || data.types[data.sender[k]] === from)
      && (to === types || data.types[data.receiver[k]] === to);
  }

  /* Mark the nearest edge that is shown, if it is near the pointer at all. */
  function point(event) {
    if (!drawn) return;
    const [x, y] = Viewers.place(event, plot.canvas);
    const learned = values();
    let nearest = 24 ** 2;
    let found = null;
    for (let k = 0; k < count; k++) {
      const distance = (drawn.toX(data.truth[k]) - x) ** 2 + (drawn.toY(learned[k]) - y) ** 2;
      if (distance < nearest && shown(k)) [nearest, found] = [distance, k];
    }
    if (found !== null && found !== marked) {
      marked = found;
      update();
    }
  }

  function update() {
    if (marked !== null && !shown(marked)) marked = null;
    const { r2, slope } = data.scores[scale()[0]][Number(receiver.value)][Number(sender.value)];
    const [i, j] = marked === null ? [] : [data.receiver[marked], data.sender[marked]];
    told.textContent =
      `All edges chosen${scale()[0] === "raw" ? "" : " (scales fitted to the truth)"}:`
      + ` R² = ${r2.toFixed(r2 < 0.9999 ? 4 : 6)}, slope ${slope.toFixed(3)}. `
      + (marked === null ? "Point at an edge."
        : `Edge i = ${i} (type ${data.types[i] + 1}) from j = ${j} (type ${data.types[j] + 1}):`
          + ` true ${Viewers.number(data.truth[marked])},`
          + ` learned ${Viewers.number(values()[marked])}.`);
    plot.redraw();
  }

  update();
});
