/* The activity of chosen neurons, over as many frames as one likes to see. */
"use strict";

Viewers.define("traces", (root, data) => {
  const [count, total] = data.activity.shape;
  const spacing = data.spacing;  // between the rest lines of two neurons
  const all = Array.from({ length: count }, (_, k) => k);
  const kinds = [...new Set(data.types)].sort((one, other) => one - other);
  const colour = (k) => data.colours[data.types[k] % data.colours.length];
  let cursor = 0;  // the frame that is read out
  let marked = 0;  // the row, among those shown, that is read out
  let drawn = null;

  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const list = Viewers.select(controls, {
    label: "neurons", value: "", change: update,
    options: all.map((k) => [k, `${data.neurons[k]} (type ${data.types[k] + 1})`]),
  });
  list.multiple = true;
  list.size = 4;
  const quick = Viewers.add(controls, "div", { class: "viewer-buttons" });
  Viewers.button(quick, "ten", () => pick((k) => k % Math.ceil(count / 10) === 0));
  Viewers.button(quick, "all", () => pick(() => true));
  for (const kind of kinds) {
    Viewers.button(quick, `type ${kind + 1}`, () => pick((k) => data.types[k] === kind));
  }
  const zoom = Viewers.slider(controls, {
    label: "zoom", max: Math.max(1, Math.floor(Math.log2(total / 50))), step: 0.25, value: 0,
    change: update, text: (power) => `${frames(power).toLocaleString("en")} frames`,
  });
  const from = Viewers.slider(controls, {
    label: "from", max: 1, step: 0.002, value: 0, change: update,
    text: (share) => `frame ${start(share).toLocaleString("en")}`,
  });

  const plot = Viewers.picture(root, {
    label: "activity of the chosen neurons; arrow keys move the read-out", ratio: 1.3,
    draw(context, width, height, theme) {
      const rows = chosen();
      const [first, length] = [start(), frames()];
      const y = [-spacing, Math.max(1, rows.length) * spacing];
      const every = Math.ceil(rows.length / Math.max(1, (height - 44) / 18));
      const yTicks = rows.map((k, rank) => [rank * spacing, String(data.neurons[k])])
        .filter((_, rank) => rank % every === 0);
      const scales = Viewers.axes(context, width, height, {
        x: [first, first + length - 1], y, xLabel: "time (frames)", yLabel: "neuron", yTicks,
      }, theme);
      Viewers.inside(context, scales, () => {
        rows.forEach((k, rank) => {
          context.strokeStyle = theme.tint(colour(k));
          context.lineWidth = rank === marked ? 1.6 : 0.7;
          trace(context, scales, k, rank * spacing, first, length);
        });
        context.strokeStyle = theme.mark;
        context.lineWidth = 1;
        context.strokeRect(scales.toX(cursor), scales.box.top, 0, height);
      });
      drawn = scales;
    },
  });
  plot.canvas.tabIndex = 0;
  plot.canvas.setAttribute("role", "application");
  plot.canvas.addEventListener("pointermove", point);
  plot.canvas.addEventListener("pointerdown", point);
  plot.canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!move[event.key]) return;
    event.preventDefault();
    const [later, up] = move[event.key];
    read(cursor + later * Math.max(1, Math.round(frames() / 200)), marked + up);
  });
  const told = Viewers.readout(root);

  function chosen() {
    return Array.from(list.selectedOptions, (option) => Number(option.value));
  }

  function pick(wanted) {
    for (const option of list.options) option.selected = wanted(Number(option.value));
    update();
  }

  /* Number of frames that are shown. */
  function frames(power = zoom.value) {
    return Math.max(2, Math.round(total / 2 ** power));
  }

  /* The first of them. */
  function start(share = from.value) {
    return Math.round(share * (total - frames()));
  }

  /* One trace; where a pixel covers many frames, the least and the largest value in it. */
  function trace(context, { toX, toY, box }, k, offset, first, length) {
    const step = Math.max(1, Math.floor(length / (box.right - box.left)));
    const values = data.activity.subarray(k * total, (k + 1) * total);
    context.beginPath();
    for (let frame = first; frame < first + length; frame += step) {
      let [low, high] = [values[frame], values[frame]];
      for (let next = frame + 1; next < Math.min(frame + step, first + length); next++) {
        low = Math.min(low, values[next]);
        high = Math.max(high, values[next]);
      }
      context.lineTo(toX(frame), toY(offset + low));
      if (high > low) context.lineTo(toX(frame), toY(offset + high));
    }
    context.stroke();
  }

  function point(event) {
    if (!drawn) return;
    const [x, y] = Viewers.place(event, plot.canvas);
    const { box } = drawn;
    const frame = start() + ((x - box.left) / (box.right - box.left)) * (frames() - 1);
    const rows = chosen().length;
    const height = (rows + 1) * spacing * ((box.bottom - y) / (box.bottom - box.top)) - spacing;
    read(Math.round(frame), Math.round(height / spacing));
  }

  function read(frame, rank) {
    cursor = Math.max(start(), Math.min(start() + frames() - 1, frame));
    marked = Math.max(0, Math.min(chosen().length - 1, rank));
    tell();
  }

  function update() {
    zoom.show();
    from.show();
    read(cursor, marked);
  }

  function tell() {
    plot.redraw();
    const rows = chosen();
    if (!rows.length) {
      told.textContent = "Choose a neuron.";
      return;
    }
    const k = rows[marked];
    told.textContent =
      `${rows.length} of ${count} neurons, ${spacing} between their lines of rest.`
      + ` Neuron ${data.neurons[k]} (type ${data.types[k] + 1}) at frame`
      + ` ${cursor.toLocaleString("en")} (t = ${(cursor * data.timeStep).toFixed(2)}):`
      + ` x = ${data.activity[k * total + cursor].toFixed(1).replace("-", "−")}.`;
  }

  pick((k) => k % Math.ceil(count / 10) === 0);
});
