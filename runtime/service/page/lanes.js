// Results over time: a lane for each camera.

import { button, h } from "./dom.js";
import { personChip, picture } from "./card.js";
import { isAccepted, state } from "./state.js";
import { cameraWords, clockWords, counted, dayWords, hitWords, similarityWords } from "./words.js";

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((minutes) => minutes * MINUTE).concat([1, 2, 7, 14, 30, 90, 180, 365].map((days) => days * DAY));
const THUMB = 44; // pixels that a picture takes in a lane, with its gap
const TALL = 100; // height of one row of pictures in a lane

/** Split hits by camera, those without one last: [{camera, hits}]. */
export function byCamera(hits) {
  const lanes = new Map();
  for (const hit of hits) {
    if (!lanes.has(hit.row.camera)) lanes.set(hit.row.camera, []);
    lanes.get(hit.row.camera).push(hit);
  }
  const key = (camera) => (camera === null ? Infinity : camera);
  return [...lanes].map(([camera, inside]) => ({ camera, hits: inside })).sort((a, b) => key(a.camera) - key(b.camera));
}

/** Place hits with times on `width` pixels from `start` to `end` (ms): [{hit, x, level}], overlapping ones on further levels. */
export function place(hits, start, end, width) {
  const span = Math.max(1, end - start);
  const room = Math.max(0, width - THUMB);
  const ends = [];
  return hits
    .map((hit) => ({ hit, x: ((Date.parse(hit.row.time) - start) / span) * room }))
    .sort((a, b) => a.x - b.x)
    .map(({ hit, x }) => {
      const free = ends.findIndex((taken) => taken <= x);
      const level = free < 0 ? ends.length : free;
      ends[level] = x + THUMB;
      return { hit, x, level };
    });
}

/** Round times from `start` to `end` (ms) that are at least 110 pixels apart: [{time, text, x}]. */
export function ticks(start, end, width) {
  const span = Math.max(1, end - start);
  const step = STEPS.find((candidate) => (candidate / span) * width >= 110) ?? STEPS.at(-1);
  const found = [];
  const date = new Date(start);
  date.setHours(0, 0, 0, 0);
  const days = Math.round(step / DAY);
  while (date.getTime() <= end && found.length < 500) {
    if (date.getTime() >= start) {
      const midnight = date.getHours() === 0 && date.getMinutes() === 0;
      found.push({ time: date.getTime(), text: midnight ? dayWords(date) : clockWords(date), x: ((date.getTime() - start) / span) * (width - THUMB) + THUMB / 2 });
    }
    if (days >= 1) date.setDate(date.getDate() + days);
    else date.setTime(date.getTime() + step);
  }
  return found;
}

let zoom = 1;

function mark(hit, index, total, open, position) {
  const accepted = isAccepted(hit);
  const out = accepted === false || (state.rejected.has(hit.row.id) && state.mode === "search");
  const element = h(
    "button",
    { type: "button", class: `card-main mark ${out ? "no" : ""}`, tabindex: "-1", data: { id: hit.row.id }, "aria-label": hitWords(hit, accepted, index + 1, total), on: { click: () => open(hit) } },
    picture(hit.row),
    h("span", { class: "mark-text" }, hit.similarity === null ? (personChip(hit.row) ?? "") : similarityWords(hit.similarity)),
  );
  if (position) {
    element.style.left = `${position.x}px`;
    element.style.top = `${position.level * TALL}px`;
  }
  return element;
}

/** The lanes of `hits`. `width` is that of the window's part for them; `again` draws them anew after a zoom. */
export function lanes(hits, width, open, again) {
  const timed = hits.filter((hit) => hit.row.time);
  const times = timed.map((hit) => Date.parse(hit.row.time));
  const start = Math.min(...times);
  const end = Math.max(...times);
  const narrow = width < 560;
  const track = Math.max(200, width - (narrow ? 0 : 120)) * zoom;
  const order = new Map(hits.map((hit, index) => [hit, index]));
  const strips = byCamera(hits).map(({ camera, hits: inside }) => {
    const placed = place(inside.filter((hit) => hit.row.time), start, end, track);
    const untimed = inside.filter((hit) => !hit.row.time);
    const strip = h("div", { class: "strip" }, placed.map(({ hit, x, level }) => mark(hit, order.get(hit), hits.length, open, { x, level })));
    strip.style.height = `${(Math.max(-1, ...placed.map(({ level }) => level)) + 1) * TALL}px`;
    const loose = untimed.length ? h("div", { class: "loose" }, h("span", { class: "soft" }, "No time:"), untimed.map((hit) => mark(hit, order.get(hit), hits.length, open, null))) : null;
    return h("section", { class: "lane", "aria-label": `${cameraWords(camera)}, ${counted(inside.length, "picture")}` }, h("h3", {}, camera === null ? "No camera" : cameraWords(camera), h("span", { class: "soft" }, count(inside))), h("div", { class: "lane-track" }, strip, loose));
  });
  const axis = h("div", { class: "axis", "aria-hidden": "true" }, timed.length > 0 && ticks(start, end, track).map(({ text, x }) => tick(text, x)));
  const inner = h("div", { class: "lanes-inner" }, axis, strips);
  inner.style.setProperty("--track", `${track}px`);
  const zoomTo = (factor) => {
    zoom = Math.min(64, Math.max(1, zoom * factor));
    again();
  };
  const tools = h(
    "div",
    { class: "lane-tools" },
    h("p", { class: "soft" }, timed.length ? `${dayWords(new Date(start))}, ${clockWords(new Date(start))} to ${dayWords(new Date(end))}, ${clockWords(new Date(end))}` : "None of these pictures has a time."),
    timed.length > 1 && [button("Zoom out", { icon: "minus", only: true, kind: "quiet", click: () => zoomTo(0.5), disabled: zoom <= 1 }), button("Zoom in", { icon: "plus", only: true, kind: "quiet", click: () => zoomTo(2), disabled: zoom >= 64 })],
  );
  return h("div", { class: "lanes-view" }, tools, h("div", { class: "lanes", tabindex: "0", role: "region", "aria-label": "Results over time" }, inner));
}

const count = (inside) => counted(inside.length, "picture");

function tick(text, x) {
  const element = h("span", { class: "tick" }, text);
  element.style.left = `${x}px`;
  return element;
}
