/* The learned field network itself, evaluated here: at any place and time, at any resolution. */
"use strict";

Viewers.define("siren", (root, data) => {
  const { side, omega, scale } = data;
  if (!side) return Viewers.noField(root);
  const last = data.total - 1;  // frame
  const FINER = 4;  // the second picture has so many values a side of a neuron
  const layers = Array.from({ length: data.layers }, (_, k) => ({
    weight: data[`weight${k}`], bias: data[`bias${k}`],
    outputs: data[`weight${k}`].shape[0], inputs: data[`weight${k}`].shape[1],
  }));
  const widest = Math.max(...layers.map(({ inputs, outputs }) => Math.max(inputs, outputs)));
  const grey = Viewers.palette(data.grey);
  const coarse = new Float32Array(side * side);
  const fine = new Float32Array((FINER * side) ** 2);
  let place = [0.5, 0.5];  // where the course is drawn, in grid widths
  let turn = 0;  // number of the picture that is being evaluated

  /* Ω* at points x, y, t, x, y, t, … of the unit cube. Four points share each read weight. */
  function evaluate(points) {
    const count = points.length / 3;
    const values = new Float32Array(count);
    let now = Array.from({ length: 4 }, () => new Float64Array(widest));
    let next = Array.from({ length: 4 }, () => new Float64Array(widest));
    for (let first = 0; first < count; first += 4) {
      for (let p = 0; p < 4; p++) {
        const from = 3 * Math.min(first + p, count - 1);
        for (let c = 0; c < 3; c++) now[p][c] = (2 * points[from + c] - 1) * scale[c];
      }
      layers.forEach(({ weight, bias, inputs, outputs }, depth) => {
        const last = depth === layers.length - 1;
        const [h0, h1, h2, h3] = now;
        for (let o = 0; o < outputs; o++) {
          let [s0, s1, s2, s3] = [bias[o], bias[o], bias[o], bias[o]];
          for (let i = 0, at = o * inputs; i < inputs; i++, at++) {
            const w = weight[at];
            s0 += w * h0[i];
            s1 += w * h1[i];
            s2 += w * h2[i];
            s3 += w * h3[i];
          }
          next[0][o] = last ? s0 * s0 : Math.sin(omega * s0);
          next[1][o] = last ? s1 * s1 : Math.sin(omega * s1);
          next[2][o] = last ? s2 * s2 : Math.sin(omega * s2);
          next[3][o] = last ? s3 * s3 : Math.sin(omega * s3);
        }
        [now, next] = [next, now];
      });
      for (let p = 0; p < 4 && first + p < count; p++) values[first + p] = now[p][0];
    }
    return values;
  }

  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const time = Viewers.slider(controls, {
    label: "time", max: 1, step: 0.001, value: 0.5, change: update,
    text: (share) => `frame ${frame(share).toLocaleString("en")}`,
  });
  const row = Viewers.add(root, "div", { class: "viewer-row viewer-row-wide" });
  const pictures = [
    [`at the neurons: ${side} × ${side} values`, coarse, side],
    [`between them: ${FINER * side} × ${FINER * side} values`, fine, FINER * side],
  ].map(([title, values, size]) => {
    const shown = Viewers.picture(row, {
      title, ratio: 1, label: `learned field ${title}; arrow keys move the marked place`,
      draw(context, width, height, theme) {
        Viewers.drawGrid(context, width, size, (k) => values[k], data.low, data.high, grey);
        context.strokeStyle = "#ff3b30";
        context.lineWidth = 2;
        context.beginPath();
        context.arc(place[0] * width, (1 - place[1]) * width, 5, 0, 7);
        context.stroke();
      },
    });
    Viewers.colourBar(shown.frame, {
      map: data.grey, low: data.low, high: data.high, label: "Ω*",
    });
    shown.canvas.addEventListener("pointermove", (event) => point(event, shown.canvas));
    shown.canvas.addEventListener("pointerdown", (event) => point(event, shown.canvas));
    return shown;
  });
  const [, target] = pictures;
  target.canvas.tabIndex = 0;
  target.canvas.setAttribute("role", "application");
  target.canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!move[event.key]) return;
    event.preventDefault();
    move_(place[0] + move[event.key][0] / FINER / side, place[1] + move[event.key][1] / FINER / side);
  });
  const course = Viewers.picture(root, {
    title: "Ω* over time at the marked place", ratio: 4.2,
    label: "course of the learned field at the marked place",
    draw(context, width, height, theme) {
      const scales = Viewers.axes(context, width, height, {
        x: [0, last], y: [data.low, data.high], xLabel: "time (frames)", yLabel: "Ω*",
      }, theme);
      const count = 256;
      const points = new Float32Array(3 * count);
      for (let k = 0; k < count; k++) points.set([...place, instant(k / (count - 1))], 3 * k);
      const values = evaluate(points);
      context.strokeStyle = theme.tint("#0072b2");
      context.lineWidth = 1.5;
      Viewers.inside(context, scales, () => Viewers.line(context, scales, count,
        (k) => points[3 * k + 2] * data.total, (k) => values[k]));
      context.strokeStyle = theme.mark;
      context.lineWidth = 1;
      context.strokeRect(
        scales.toX(frame(time.value)), scales.box.top, 0, scales.box.bottom - scales.box.top);
    },
  });
  course.canvas.classList.add("viewer-low");
  const told = Viewers.readout(root);

  /* The frame at a share of the recording, and its time as the network counts it. */
  function frame(share) {
    return Math.round(share * last);
  }

  function instant(share) {
    return frame(share) / data.total;
  }

  /* Evaluate one picture, column by column, giving way to the reader's hand in between. */
  async function fill(values, size, shown, mine) {
    const column = new Float32Array(3 * size);
    let paused = performance.now();
    for (let across = 0; across < size; across++) {
      for (let up = 0; up < size; up++) {
        column.set([(across + 0.5) / size, (up + 0.5) / size, instant(time.value)], 3 * up);
      }
      values.set(evaluate(column), across * size);
      if (performance.now() - paused > 40) {
        shown.redraw();
        await new Promise((done) => setTimeout(done));
        if (mine !== turn) return false;
        paused = performance.now();
      }
    }
    shown.redraw();
    return true;
  }

  async function update() {
    const mine = ++turn;
    const began = performance.now();
    root.dataset.computing = "yes";
    course.redraw();
    tell("evaluating …");
    if (!await fill(coarse, side, pictures[0], mine)) return;
    if (!await fill(fine, FINER * side, pictures[1], mine)) return;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    tell(`${(side * side + fine.length).toLocaleString("en")} values in ${seconds} s.`);
    delete root.dataset.computing;
  }

  function point(event, canvas) {
    const [x, y] = Viewers.place(event, canvas);
    move_(x / canvas.clientWidth, 1 - y / canvas.clientWidth);
  }

  function move_(x, y) {
    place = [x, y].map((value) => Math.max(0, Math.min(1, value)));
    [...pictures, course].forEach((one) => one.redraw());
    tell();
  }

  let progress = "";
  function tell(news = progress) {
    progress = news;
    const [value] = evaluate(Float32Array.of(...place, instant(time.value)));
    told.textContent =
      `Ω*(x = ${place[0].toFixed(3)}, y = ${place[1].toFixed(3)}, t = ${instant(time.value).toFixed(3)})`
      + ` = ${value.toFixed(3)}; ${news}`;
  }

  root.evaluate = evaluate;  // what the tests compare with the network it was exported from
  update();
});
