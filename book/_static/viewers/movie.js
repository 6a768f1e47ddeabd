/* The hidden movie, what was learned of it, and the activity it was learned from. */
"use strict";

Viewers.define("movie", (root, data) => {
  const MARGIN = 0.03;  // of the layout, in grid widths: it spans 2.25 by 1 of them
  const RATIO = (2.25 + 2 * MARGIN) / (1 + 2 * MARGIN);
  const side = Math.round(Math.sqrt(data.grid.length));
  const count = data.frames.length;
  const learned = data.difference.map((value, k) => data.truth[k] + value);
  const onGrid = new Set(data.grid);
  const rest = data.types.length - data.grid.length;
  const grey = Viewers.palette(data.grey);
  const diverging = Viewers.palette(data.diverging);
  let neuron = Math.floor(side / 2) * side + Math.floor(side / 2);  // on the grid

  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const play = Viewers.player(controls, () => {
    time.value = (time.value + 1) % count;
    update();
  }, update);
  const time = Viewers.slider(controls, {
    label: "time", max: count - 1, value: 0, change: update,
    text: (k) => `frame ${data.frames[k].toLocaleString("en")}`,
  });

  if (!side) Viewers.noField(root);
  const row = Viewers.add(root, "div", { class: "viewer-row" });
  const maps = (side ? [
    ["true Ω", data.truth, data.low, data.high, grey],
    ["learned Ω*", learned, data.low, data.high, grey],
    ["difference Ω*−Ω", data.difference, -data.spread, data.spread, diverging],
  ] : []).map(([title, values, low, high, colours]) => {
    const shown = Viewers.picture(row, {
      title, ratio: 1, label: `${title} on the grid of modulated neurons`,
      draw(context, width) {
        const first = time.value * side * side;
        Viewers.drawGrid(context, width, side, (k) => values[first + k], low, high, colours);
        ring(context, width);
      },
    });
    Viewers.colourBar(shown.frame, {
      map: colours === grey ? data.grey : data.diverging, low, high, label: title,
    });
    shown.canvas.addEventListener("pointermove", (event) => point(event, shown.canvas));
    shown.canvas.addEventListener("pointerdown", (event) => point(event, shown.canvas));
    return shown;
  });
  if (side) {
    const [first] = maps;
    first.canvas.tabIndex = 0;
    first.canvas.setAttribute("role", "application");
    first.canvas.setAttribute("aria-label",
      "true Ω on the grid of modulated neurons; arrow keys choose a neuron");
    first.canvas.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      if (!move[event.key]) return;
      event.preventDefault();
      const [right, up] = move[event.key];
      choose(Math.floor(neuron / side) + right, (neuron % side) + up);
    });
  }

  const course = side && Viewers.picture(root, {
    title: "Ω and Ω* at the marked neuron", ratio: 4.2,
    label: "course of true and learned input at the marked neuron",
    draw(context, width, height, theme) {
      const scales = Viewers.axes(context, width, height, {
        x: [0, data.total], y: [data.low, data.high], xLabel: "time (frames)", yLabel: "Ω",
      }, theme);
      for (const [values, colour, thickness] of [
        [data.truth, theme.truth, 5], [learned, theme.tint("#0072b2"), 1.5],
      ]) {
        context.strokeStyle = colour;
        context.lineWidth = thickness;
        Viewers.line(context, scales, count, (k) => data.frames[k],
          (k) => values[k * side * side + neuron]);
      }
      context.strokeStyle = theme.mark;
      context.lineWidth = 1;
      const now = scales.toX(data.frames[time.value]);
      context.strokeRect(now, scales.box.top, 0, scales.box.bottom - scales.box.top);
    },
  });
  if (course) course.canvas.classList.add("viewer-low");

  const layout = Viewers.picture(root, {
    title: "activity xᵢ of all neurons: modulated ones on the grid, the others in the sunflower",
    label: "activity of all neurons at their positions", ratio: RATIO,
    draw(context, width) {
      const scale = width / (2.25 + 2 * MARGIN);
      const size = scale / side;
      const radius = 0.46 * scale / Math.sqrt(Math.max(rest, 1));  // the disc filled, no overlap
      const first = time.value * data.types.length;
      for (let k = 0; k < data.types.length; k++) {
        const colour = 3 * Viewers.level(data.activity[first + k], -data.bound, data.bound);
        const [red, green, blue] = data.diverging.subarray(colour, colour + 3);
        context.fillStyle = `rgb(${red},${green},${blue})`;
        const x = (data.positions[2 * k] + MARGIN) * scale;
        const y = (1 + MARGIN - data.positions[2 * k + 1]) * scale;
        if (onGrid.has(k)) {
          context.fillRect(x - size / 2, y - size / 2, size + 0.5, size + 0.5);
        } else {
          context.beginPath();
          context.arc(x, y, radius, 0, 7);
          context.fill();
        }
      }
    },
  });
  Viewers.colourBar(layout.frame, {
    map: data.diverging, low: -data.bound, high: data.bound, label: "activity",
  });
  const told = Viewers.readout(root);

  function ring(context, width) {
    const size = width / side;
    context.strokeStyle = "#ff3b30";
    context.lineWidth = 2;
    context.strokeRect(
      Math.floor(neuron / side) * size, (side - 1 - (neuron % side)) * size, size, size);
  }

  function point(event, canvas) {
    const [x, y] = Viewers.place(event, canvas);
    const size = canvas.clientWidth / side;
    choose(Math.floor(x / size), side - 1 - Math.floor(y / size));
  }

  function choose(column, up) {
    const within = (value) => Math.max(0, Math.min(side - 1, value));
    neuron = within(column) * side + within(up);
    update();
  }

  function update() {
    for (const one of [...maps, course, layout]) if (one) one.redraw();
    told.setAttribute("aria-live", play.playing ? "off" : "polite");
    told.textContent =
      `Frame ${data.frames[time.value].toLocaleString("en")} of ${data.total.toLocaleString("en")}`
      + ` (t = ${(data.frames[time.value] * data.timeStep).toFixed(1)})${side ? compared() : "."}`;
  }

  /* Learned against true field, of all grid neurons and at the marked one. */
  function compared() {
    const from = time.value * side * side;
    const squares = data.difference.subarray(from, from + side * side)
      .reduce((sum, value) => sum + value * value, 0);
    const [omega, found] = [data.truth[from + neuron], learned[from + neuron]];
    return `: root mean square difference ${Math.sqrt(squares / side / side).toFixed(3)}.`
      + ` Neuron ${data.grid[neuron]}: Ω = ${omega.toFixed(3)}, Ω* = ${found.toFixed(3)}.`;
  }

  update();
});
