/* The true and the learned movie side by side: what this book is about. */
"use strict";

Viewers.define("hero", (root, data) => {
  const side = Math.round(Math.sqrt(data.grid.length));
  if (!side) return Viewers.noField(root);
  const count = data.frames.length;
  const grey = Viewers.palette(data.grey);
  const learned = data.difference.map((value, k) => data.truth[k] + value);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  const row = Viewers.add(root, "div", { class: "viewer-row" });
  const pictures = [
    ["the hidden movie", data.truth], ["recovered from the activity", learned],
  ].map(([title, values]) => Viewers.picture(row, {
    title, ratio: 1, label: `${title}, on the grid of modulated neurons`,
    draw(context, width) {
      const first = time.value * side * side;
      Viewers.drawGrid(
        context, width, side, (k) => values[first + k], data.low, data.high, grey);
    },
  }));
  const controls = Viewers.add(root, "div", { class: "viewer-controls" });
  const play = Viewers.player(controls, () => {
    time.value = (time.value + 1) % count;
    update();
  });
  const time = Viewers.slider(controls, {
    label: "time", max: count - 1, value: 0, change: update,
    text: (k) => `frame ${data.frames[k].toLocaleString("en")}`,
  });

  function update() {
    pictures.forEach((one) => one.redraw());
  }

  if (!still) play.run();
});
