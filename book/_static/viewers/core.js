/* What all viewers share: lazy loading, decoding, the colours of the theme, controls, pictures.

Plain scripts, not modules, and data that are scripts too: a page that is opened from disk may
load scripts from beside it, but neither modules nor data. */
"use strict";

const Viewers = (() => {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const builders = {};
  const received = {};
  const pictures = new Set();
  const arrayTypes = {
    uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array,
  };

  /* Loading and decoding. */

  function loadScript(address) {
    return new Promise((done, failed) => {
      const tag = document.createElement("script");
      tag.src = folder + address;
      tag.onload = () => done();
      tag.onerror = () => failed(new Error(`${address} cannot be loaded`));
      document.head.append(tag);
    });
  }

  /* Called by a data file: value = low + step·code, or the code itself where there is no step. */
  function receive(name, about, text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const arrays = {};
    for (const [key, part] of Object.entries(about.arrays)) {
      const size = part.shape.reduce((product, length) => product * length, 1);
      const codes = new arrayTypes[part.type](bytes.buffer, part.offset, size);
      arrays[key] = part.step === null
        ? codes : Float32Array.from(codes, (code) => part.low + part.step * code);
      arrays[key].shape = part.shape;
    }
    received[name] = { ...about, ...arrays };
  }

  async function loadData(name) {
    if (!received[name]) await loadScript(`data/${name}.js`);
    return received[name];
  }

  function define(kind, build) {
    builders[kind] = build;
  }

  async function start(root) {
    const kind = root.dataset.viewer;
    try {
      if (!builders[kind]) await loadScript(`${kind}.js`);
      const build = builders[kind];
      const begin = async () => {
        const data = await loadData(root.dataset.file || kind);
        root.replaceChildren();
        build(root, data);
        root.dataset.ready = "yes";
      };
      if (root.dataset.onclick) {
        root.replaceChildren();
        button(root, root.dataset.onclick, () => begin().catch((error) => fail(root, error)));
        root.dataset.ready = "asks";
      } else {
        await begin();
      }
    } catch (error) {
      fail(root, error);
    }
  }

  function fail(root, error) {
    root.replaceChildren(element("p", {}, `This viewer does not work here: ${error.message}.`));
    root.dataset.ready = "failed";
  }

  /* Elements and controls: the browser's own, so that keyboard and screen reader know them. */

  function element(tag, attributes = {}, text = "") {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  function add(parent, tag, attributes, text) {
    const made = element(tag, attributes, text);
    parent.append(made);
    return made;
  }

  function button(parent, label, press) {
    const made = add(parent, "button", { type: "button", class: "viewer-button" }, label);
    made.addEventListener("click", press);
    return made;
  }

  /* A button that calls `advance` twenty times a second, until it is pressed again; nothing moves
     while it is out of sight. */
  function player(parent, advance, stopped = () => {}) {
    let playing = false;
    let seen = true;
    new IntersectionObserver((entries) => { seen = entries.at(-1).isIntersecting; })
      .observe(parent);
    const press = button(parent, "Play", () => (playing ? stop() : run()));

    function run() {
      playing = true;
      press.textContent = "Pause";
      let shown = 0;
      const step = (now) => {
        if (!playing) return;
        if (seen && now - shown > 50) {
          shown = now;
          advance();
        }
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    }

    function stop() {
      playing = false;
      press.textContent = "Play";
      stopped();
    }

    return { get playing() { return playing; }, run };
  }

  /* A slider with its label before and its value, as `text` words it, behind. */
  function slider(parent, { label, max, min = 0, step = 1, value, text = String, change }) {
    const row = add(parent, "label", { class: "viewer-slider" });
    add(row, "span", {}, label);
    const input = add(row, "input", { type: "range", min, max, step });
    const shown = add(row, "span", { class: "viewer-value", "aria-hidden": "true" });
    const show = () => {
      shown.textContent = text(Number(input.value));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.value = value;
    input.addEventListener("input", () => { show(); change(Number(input.value)); });
    show();
    return {
      input,
      get value() { return Number(input.value); },
      set value(number) { input.value = number; show(); },
      show,
    };
  }

  /* Radio buttons or boxes to tick: options are [value, label, colour of its swatch]. */
  function choices(parent, { legend, type, options, chosen, change }) {
    const set = add(parent, "fieldset", { class: "viewer-choices" });
    add(set, "legend", {}, legend);
    const name = `viewer-${Math.random().toString(36).slice(2)}`;
    const inputs = options.map(([value, label, colour]) => {
      const row = add(set, "label", {});
      const input = add(row, "input", { type, name, value });
      input.checked = chosen.includes(value);
      input.addEventListener("change", change);
      if (colour) add(row, "span", { class: "viewer-swatch", style: `background:${colour}` });
      row.append(label);
      return [value, input];
    });
    return () => inputs.filter(([, input]) => input.checked).map(([value]) => value);
  }

  function select(parent, { label, options, value, change }) {
    const row = add(parent, "label", { class: "viewer-select" });
    add(row, "span", {}, label);
    const input = add(row, "select", {});
    for (const [key, text] of options) add(input, "option", { value: key }, text);
    input.value = value;
    input.addEventListener("change", change);
    return input;
  }

  function readout(parent) {
    return add(parent, "output", { class: "viewer-readout" });
  }

  /* In the place of a viewer of the field, where there is none. */
  function noField(root) {
    add(root, "p", {}, "No neuron is modulated in this run: there is no movie to show.");
  }

  /* Pictures: canvases that follow their width, the density of the screen and the theme. */

  function picture(parent, { title = "", label, ratio, draw }) {
    const frame = add(parent, "div", { class: "viewer-picture" });
    if (title) add(frame, "div", { class: "viewer-title" }, title);
    const canvas = add(frame, "canvas", { role: "img", "aria-label": label });
    canvas.style.aspectRatio = String(ratio);
    let asked = 0;
    const made = {
      canvas,
      frame,
      redraw() {
        if (!asked) asked = requestAnimationFrame(() => { asked = 0; made.draw(); });
      },
      draw() {
        const { width, height } = canvas.getBoundingClientRect();
        if (!width) return;
        const density = window.devicePixelRatio || 1;
        canvas.width = Math.round(width * density);
        canvas.height = Math.round(height * density);
        const context = canvas.getContext("2d");
        context.scale(density, density);
        draw(context, width, height, theme());
      },
    };
    new ResizeObserver(made.redraw).observe(canvas);
    pictures.add(made);
    return made;
  }

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const dark = document.documentElement.dataset.theme === "dark";
    const named = (name, other) => style.getPropertyValue(name).trim() || other;
    return {
      dark,
      text: named("--pst-color-text-base", dark ? "#eee" : "#222"),
      muted: named("--pst-color-text-muted", "#777"),
      truth: dark ? "#6a6a6a" : "#c9c9c9",
      mark: dark ? "#ffd166" : "#b00020",
      tint: (colour) => (dark ? lighter(colour) : colour),
    };
  }

  /* A third of the way to white: what is legible on white becomes so on black. */
  function lighter(colour) {
    const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return `rgb(${parts.map((part) => Math.round(part + (255 - part) / 3)).join(",")})`;
  }

  /* The colour table of a map of 256 colours, as numbers of an ImageData (little endian). */
  function palette(map) {
    return Uint32Array.from({ length: 256 }, (_, k) =>
      (255 << 24) | (map[3 * k + 2] << 16) | (map[3 * k + 1] << 8) | map[3 * k]);
  }

  /* A picture of the grid: value(k) of grid neuron k, x slow and y upwards. */
  function drawGrid(context, size, side, value, low, high, colours) {
    const box = { left: 0, top: 0, right: size, bottom: size };
    drawPixels(context, box, side, side, (row, column) =>
      colours[level(value(column * side + side - 1 - row), low, high)]);
  }

  /* Rows of coloured pixels, the first one on top, that fill a box; colour(row, column). */
  function drawPixels(context, { left, top, right, bottom }, rows, columns, colour) {
    const image = new ImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let k = 0; k < pixels.length; k++) {
      pixels[k] = colour(Math.floor(k / columns), k % columns);
    }
    const small = new OffscreenCanvas(columns, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, left, top, right - left, bottom - top);
  }

  function level(value, low, high) {
    return Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low))));
  }

  function colourBar(parent, { map, low, high, label }) {
    const bar = add(parent, "div", { class: "viewer-bar" });
    const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((k) =>
      `rgb(${map[3 * k]},${map[3 * k + 1]},${map[3 * k + 2]})`);
    add(bar, "span", {}, number(low));
    add(bar, "span", {
      class: "viewer-ramp", role: "img", "aria-label": `${label}, from ${low} to ${high}`,
      style: `background:linear-gradient(to right,${stops.join(",")})`,
    });
    add(bar, "span", {}, number(high));
  }

  /* Axes in a picture. Returns the box inside and the scales in both directions. */
  function axes(context, width, height, { x, y, xLabel, yLabel, yTicks }, colours) {
    const box = { left: 52, top: 8, right: width - 24, bottom: height - 36 };
    const toX = (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * (box.right - box.left);
    const toY = (value) => box.bottom - ((value - y[0]) / (y[1] - y[0])) * (box.bottom - box.top);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = context.strokeStyle = colours.text;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(box.left, box.top);
    context.lineTo(box.left, box.bottom);
    context.lineTo(box.right, box.bottom);
    context.textAlign = "center";
    for (const value of ticks(x, Math.max(4, (box.right - box.left) / 80))) {
      context.moveTo(toX(value), box.bottom);
      context.lineTo(toX(value), box.bottom + 4);
      context.fillText(number(value), toX(value), box.bottom + 16);
    }
    context.fillText(xLabel, (box.left + box.right) / 2, box.bottom + 32);
    context.textAlign = "right";
    const rows = yTicks || ticks(y, Math.max(4, (box.bottom - box.top) / 50)).map((value) =>
      [value, number(value)]);
    for (const [value, text] of rows) {
      context.moveTo(box.left - 4, toY(value));
      context.lineTo(box.left, toY(value));
      context.fillText(text, box.left - 6, toY(value) + 4);
    }
    context.stroke();
    context.save();
    context.translate(11, (box.top + box.bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(yLabel, 0, 0);
    context.restore();
    return { box, toX, toY };
  }

  /* Run `draw` with everything outside the box of the axes cut off. */
  function inside(context, { box }, draw) {
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    context.clip();
    draw();
    context.restore();
  }

  function line(context, scales, count, x, y) {
    context.beginPath();
    for (let k = 0; k < count; k++) context.lineTo(scales.toX(x(k)), scales.toY(y(k)));
    context.stroke();
  }

  /* Round numbers inside a range, about `count` of them. */
  function ticks([low, high], count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9) + 1e-12; k++) {
      found.push(k * step);
    }
    return found;
  }

  /* A number as people write it: three digits, a true minus, thousands apart. */
  function number(value, digits = 3) {
    const size = Math.abs(value);
    if (size < 1e-12) return "0";
    const text = size >= 1000 ? Math.round(value).toLocaleString("en")
      : size < 1e-3 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
    return text.replace(/-/g, "−");
  }

  /* A power of ten, for an axis. */
  function power(exponent) {
    const raised = String(exponent).replace(/./g, (digit) =>
      "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]);
    return `10${raised}`;
  }

  /* Where in a picture a pointer is, in its own pixels. */
  function place(event, canvas) {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  function watch() {
    const near = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) { near.unobserve(target); start(target); }
      }
    }, { rootMargin: "300px" });
    document.querySelectorAll(".viewer[data-viewer]").forEach((root) => near.observe(root));
    new MutationObserver(() => pictures.forEach((one) => one.redraw()))
      .observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  watch();
  return {
    add, axes, button, choices, colourBar, define, drawGrid, drawPixels, inside, level, line, noField, number,
    palette, picture, place, player, power, readout, receive, select, slider, theme,
  };
})();
