// Choose the part of a picture that shows the person: by mouse, finger or keyboard.

import { button, h } from "./dom.js";
import { open } from "./dialogs.js";
import { draw } from "./pictures.js";

const LEAST = 8; // pixels of the picture, the service's smallest crop
const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const FIELDS = ["Left", "Top", "Right", "Bottom"];

/** A person stands in a tall picture; a wide one is likely a whole scene. */
export const looksLikeScene = ({ width, height }) => width > 0.85 * height;

const clamp = (number, low, high) => Math.min(high, Math.max(low, number));

/** Move a box (x1, y1, x2, y2) by (dx, dy) and keep it inside the picture. */
export function moved([x1, y1, x2, y2], dx, dy, width, height) {
  const right = clamp(dx, -x1, width - x2);
  const down = clamp(dy, -y1, height - y2);
  return [x1 + right, y1 + down, x2 + right, y2 + down];
}

/** Move the edges that `edge` names ("n", "se", ...), at least LEAST pixels apart and inside the picture. */
export function resized([x1, y1, x2, y2], edge, dx, dy, width, height) {
  return [
    edge.includes("w") ? clamp(x1 + dx, 0, x2 - LEAST) : x1,
    edge.includes("n") ? clamp(y1 + dy, 0, y2 - LEAST) : y1,
    edge.includes("e") ? clamp(x2 + dx, x1 + LEAST, width) : x2,
    edge.includes("s") ? clamp(y2 + dy, y1 + LEAST, height) : y2,
  ];
}

/** The box of four numbers, in order, inside the picture, and at least LEAST pixels wide and high. */
export function mended([x1, y1, x2, y2], width, height) {
  const left = clamp(Math.min(x1, x2), 0, Math.max(0, width - LEAST));
  const top = clamp(Math.min(y1, y2), 0, Math.max(0, height - LEAST));
  return [left, top, clamp(Math.max(x1, x2), left + Math.min(LEAST, width), width), clamp(Math.max(y1, y2), top + Math.min(LEAST, height), height)];
}

/** A first box: the whole of a tall picture, an upright part in the middle of a scene. */
function firstBox({ width, height }) {
  if (!looksLikeScene({ width, height })) return [0, 0, width, height];
  const tall = height * 0.8;
  const across = Math.min(width, tall * 0.45);
  return [(width - across) / 2, (height - tall) / 2, (width + across) / 2, (height + tall) / 2];
}

/** Resolves with a box in pixels of the upright picture, null for the whole picture, undefined if it was dismissed. */
export async function crop({ bitmap, box, file }, { scene = false } = {}) {
  const answer = await open(
    "Frame the person",
    (close) => {
      const frame = new Frame(bitmap, box ?? firstBox(bitmap));
      return h(
        "div",
        { class: "dialog-body crop" },
        h("p", { class: "soft", id: "crop-help" }, scene ? `“${file.name}” looks like a whole scene. ` : "", "Drag a frame around one person. On the keyboard, the arrows move the frame, and Shift with the arrows moves its lower right corner."),
        frame.stage,
        frame.fields,
        h(
          "div",
          { class: "dialog-foot" },
          button("Use the whole picture", { click: () => close({ box: null }) }),
          button("Search this frame", { icon: "search", kind: "main", click: () => close({ box: frame.value() }) }),
        ),
      );
    },
    { kind: "wide firm" },
  );
  return answer ? answer.box : undefined;
}

class Frame {
  constructor(bitmap, box) {
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.canvas = h("canvas", { class: "crop-picture", "aria-hidden": "true" });
    draw(this.canvas, bitmap, null, 1600);
    const handles = EDGES.map((edge) => h("i", { class: `handle ${edge}`, data: { edge } }));
    const keydown = (event) => this.keydown(event);
    this.element = h("div", { class: "frame", tabindex: "0", role: "group", "aria-label": "Frame around the person", "aria-describedby": "crop-help", "data-first": true, on: { keydown } }, handles);
    this.stage = h("div", { class: "crop-stage" }, this.canvas, this.element);
    this.inputs = FIELDS.map((name, index) => h("input", { type: "number", id: `crop-${index}`, step: 1, min: 0, max: index % 2 ? this.height : this.width, on: { change: () => this.typed() } }));
    this.fields = h("div", { class: "crop-fields" }, FIELDS.map((name, index) => h("label", { for: `crop-${index}` }, name, this.inputs[index])), h("span", { class: "soft" }, "pixels"));
    for (const [event, listener] of Object.entries({ pointerdown: this.down, pointermove: this.move, pointerup: this.up, pointercancel: this.up })) {
      this.stage.addEventListener(event, listener.bind(this));
    }
    this.set(box);
  }

  set(box) {
    this.box = mended(box, this.width, this.height);
    const [x1, y1, x2, y2] = this.box;
    const style = this.element.style;
    style.left = `${(100 * x1) / this.width}%`;
    style.top = `${(100 * y1) / this.height}%`;
    style.width = `${(100 * (x2 - x1)) / this.width}%`;
    style.height = `${(100 * (y2 - y1)) / this.height}%`;
    this.inputs.forEach((input, index) => {
      input.value = Math.round(this.box[index]);
    });
  }

  /** The box, or null if it is the whole picture. */
  value() {
    const box = this.box.map(Math.round);
    return box.join() === [0, 0, this.width, this.height].join() ? null : box;
  }

  typed() {
    const numbers = this.inputs.map((input, index) => (input.value === "" ? this.box[index] : Number(input.value)));
    this.set(numbers);
  }

  keydown(event) {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction) return;
    event.preventDefault();
    const step = Math.max(1, Math.round(Math.max(this.width, this.height) / 100));
    const [dx, dy] = direction.map((sign) => sign * (event.ctrlKey ? 1 : step));
    this.set(event.shiftKey ? resized(this.box, "se", dx, dy, this.width, this.height) : moved(this.box, dx, dy, this.width, this.height));
  }

  point(event) {
    const edges = this.canvas.getBoundingClientRect();
    return [((event.clientX - edges.left) / edges.width) * this.width, ((event.clientY - edges.top) / edges.height) * this.height];
  }

  down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    const edge = event.target.dataset?.edge ?? (event.target === this.element ? "move" : "new");
    this.drag = { edge, from: this.point(event), box: this.box };
    this.element.focus({ preventScroll: true });
  }

  move(event) {
    if (!this.drag) return;
    const { edge, from, box } = this.drag;
    const to = this.point(event);
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    if (edge === "new") {
      // A tap alone keeps the frame; only a drag draws a new one.
      if (Math.abs(dx) > 3 && Math.abs(dy) > 3) this.set([from[0], from[1], to[0], to[1]]);
    } else if (edge === "move") {
      this.set(moved(box, dx, dy, this.width, this.height));
    } else {
      this.set(resized(box, edge, dx, dy, this.width, this.height));
    }
  }

  up() {
    this.drag = null;
  }
}
