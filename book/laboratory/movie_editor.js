/* The hidden movie: drawn with finger or mouse, or taken from a file. */

import { MOVIE, level } from "./settings.js";

const { images: IMAGES, side: SIDE } = MOVIE;
const MOVIES = {
  bar: ["a moving bar", (k, x) => Math.exp(-(((x - ((k * SIDE) / IMAGES)) / 1.3) ** 2))],
  ring: ["a growing ring", (k, x, y) => {
    const distance = Math.hypot(x - (SIDE - 1) / 2, y - (SIDE - 1) / 2);
    return Math.exp(-(((distance - (k * SIDE) / IMAGES / 1.6) / 1.1) ** 2));
  }],
  still: ["nothing, grey", () => 0.5],
};

function drawn(shape) {
  return Array.from({ length: IMAGES }, (_, k) => Float64Array.from(
    { length: SIDE * SIDE }, (__, at) => shape(k, at % SIDE, Math.floor(at / SIDE))));
}

/** The images of files that a reader chose: pictures, or one animation or video. */
async function moviesFromFiles(files) {
  const pictures = [];
  for (const file of files) {
    if (file.type.startsWith("video/")) pictures.push(...await ofVideo(file));
    else if ("ImageDecoder" in window && /gif|webp|png/.test(file.type)) {
      pictures.push(...await ofAnimation(file));
    } else pictures.push(await createImageBitmap(file));
  }
  if (!pictures.length) throw new Error("no picture in it");
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const grey = pictures.map((picture) => {
    const width = picture.displayWidth || picture.width;
    const height = picture.displayHeight || picture.height;
    const least = Math.min(width, height); // the middle square
    context.drawImage(picture, (width - least) / 2, (height - least) / 2, least, least,
      0, 0, SIDE, SIDE);
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    return Float64Array.from({ length: SIDE * SIDE }, (_, k) =>
      (0.3 * data[4 * k] + 0.59 * data[4 * k + 1] + 0.11 * data[4 * k + 2]) / 255);
  });
  const [low, high] = [Math.min, Math.max].map((end) => end(...grey.flatMap((g) => [...g])));
  return Array.from({ length: IMAGES }, (_, k) =>
    grey[Math.floor((k * grey.length) / IMAGES)].map((value) =>
      (high > low ? (value - low) / (high - low) : 0.5)));
}

async function ofAnimation(file) {
  const decoder = new ImageDecoder({ data: await file.arrayBuffer(), type: file.type });
  await decoder.tracks.ready;
  const count = decoder.tracks.selectedTrack.frameCount;
  const found = [];
  for (let k = 0; k < Math.min(count, IMAGES); k++) {
    const frameIndex = Math.floor((k * count) / Math.min(count, IMAGES));
    found.push((await decoder.decode({ frameIndex })).image);
  }
  return found;
}

async function ofVideo(file) {
  const video = document.createElement("video");
  const address = URL.createObjectURL(file);
  const next = (name) => new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, { once: true });
    video.addEventListener("error", () => reject(new Error("this video cannot be read")), {
      once: true,
    });
  });
  try {
    video.muted = true;
    video.src = address;
    await next("loadeddata");
    const found = [];
    for (let k = 0; k < IMAGES; k++) {
      video.currentTime = (video.duration * (k + 0.5)) / IMAGES;
      await next("seeked");
      found.push(await createImageBitmap(video));
    }
    return found;
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** The editor: a picture to draw on, its image, its brush and what it may start from. */
export function movieEditor(parent, { grey, movie, changed }) {
  let images = movie.map((image) => image.map(level));
  const palette = Viewers.palette(grey);
  const picture = Viewers.picture(parent, {
    title: "hidden movie: draw here", ratio: 1,
    label: "the hidden movie at the chosen image; drawing changes it",
    draw(context, width) {
      const box = { left: 0, top: 0, right: width, bottom: width };
      Viewers.drawPixels(context, box, SIDE, SIDE, (row, column) =>
        palette[Viewers.level(images[time.value][row * SIDE + column], 0, 1)]);
    },
  });
  const controls = Viewers.add(picture.frame, "div", { class: "viewer-controls" });
  const time = Viewers.slider(controls, {
    label: "image", max: IMAGES - 1, value: Math.floor(IMAGES / 2), change: picture.redraw,
    text: (k) => `${k + 1}/${IMAGES}`,
  });
  const brush = Viewers.slider(controls, {
    label: "brush", max: 1, step: 0.25, value: 1, change: () => {},
    text: (value) => ["black", "dark", "grey", "light", "white"][4 * value],
  });
  const choice = Viewers.select(controls, {
    label: "movie", value: "own", change: () => {
      if (MOVIES[choice.value]) set(drawn(MOVIES[choice.value][1]));
    },
    options: [["own", "of this book, or drawn"],
      ...Object.entries(MOVIES).map(([key, [name]]) => [key, name])],
  });
  const row = Viewers.add(controls, "label", { class: "viewer-select laboratory-file" });
  Viewers.add(row, "span", {}, "file");
  const file = Viewers.add(row, "input", {
    type: "file", accept: "image/*,video/*", multiple: "",
  });
  const problem = Viewers.add(controls, "p", { role: "alert" });
  const take = (files) => moviesFromFiles([...files]).then(set).catch((error) => {
    problem.textContent = `This file cannot be used: ${error.message}.`;
  });
  file.addEventListener("change", () => take(file.files));
  picture.frame.addEventListener("dragover", (event) => event.preventDefault());
  picture.frame.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });

  const { canvas } = picture;
  let last = null; // where the stroke has come to
  canvas.style.touchAction = "none"; // a finger draws, it does not scroll
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = pixel(event);
    paint(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) paint(event); });
  canvas.addEventListener("pointerup", () => changed());

  function pixel(event) {
    const { width } = canvas.getBoundingClientRect();
    return Viewers.place(event, canvas).map((at) => (at * SIDE) / width);
  }

  /* Paint all pixels from where the stroke was to where it is: fast strokes have no gaps. */
  function paint(event) {
    const now = pixel(event);
    const steps = 1 + Math.ceil(2 * Math.hypot(now[0] - last[0], now[1] - last[1]));
    for (let step = 0; step <= steps; step++) {
      const [x, y] = [0, 1].map((axis) =>
        Math.floor(last[axis] + ((now[axis] - last[axis]) * step) / steps));
      if (x >= 0 && y >= 0 && x < SIDE && y < SIDE) {
        images[time.value][y * SIDE + x] = level(brush.value);
      }
    }
    last = now;
    choice.value = "own";
    picture.redraw();
  }

  function set(fresh) {
    problem.textContent = "";
    images = fresh.map((image) => image.map(level));
    picture.redraw();
    changed();
  }

  return { get movie() { return images; }, set };
}
