// Pictures on canvases: the page's content security policy then needs no exception for blob: addresses.

import { thumbnail } from "./api.js";

const KEPT = 800; // thumbnails, the oldest is dropped first
const kept = new Map(); // row id -> promise of an ImageBitmap or null
const waiting = new WeakMap(); // canvas -> row id

/** Decode a file upright, as the service does; null if this browser cannot. */
export async function decode(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    // The service may still know the format, such as TIFF, so the picture is sent all the same.
    return null;
  }
}

/** Draw `box` (x1, y1, x2, y2 in pixels, or null for all) of a bitmap, at most `limit` pixels high. */
export function draw(canvas, bitmap, box = null, limit = 512) {
  const [x1, y1, x2, y2] = box ?? [0, 0, bitmap.width, bitmap.height];
  const scale = Math.min(1, limit / (y2 - y1), limit / (x2 - x1));
  canvas.width = Math.max(1, Math.round((x2 - x1) * scale));
  canvas.height = Math.max(1, Math.round((y2 - y1) * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, x1, y1, x2 - x1, y2 - y1, 0, 0, canvas.width, canvas.height);
  canvas.classList.remove("loading", "missing");
}

/** A figure in place of a picture that the service has not, or that cannot be decoded. */
export function drawMissing(canvas) {
  canvas.width = 64;
  canvas.height = 128;
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(canvas).color;
  context.globalAlpha = 0.35;
  context.beginPath();
  context.arc(32, 40, 9, 0, 2 * Math.PI);
  context.fill();
  context.beginPath();
  context.roundRect(19, 53, 26, 42, [11, 11, 4, 4]);
  context.fill();
  canvas.classList.remove("loading");
  canvas.classList.add("missing");
}

function bitmapOf(id) {
  if (!kept.has(id)) {
    const bitmap = thumbnail(id).then(
      (blob) => (blob.type.startsWith("image/svg") ? null : decode(blob)),
      () => {
        // A figure is drawn in its place; the thumbnail is asked for again when the row is shown again.
        kept.delete(id);
        return null;
      },
    );
    kept.set(id, bitmap);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(id);
}

export const forget = (id) => kept.delete(id);
export const forgetAll = () => kept.clear();

async function load(canvas) {
  const id = waiting.get(canvas);
  const bitmap = await bitmapOf(id);
  if (waiting.get(canvas) !== id) return;
  if (bitmap) draw(canvas, bitmap);
  else drawMissing(canvas);
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((seen) => seen.isIntersecting)) {
      observer.unobserve(entry.target);
      load(entry.target);
    }
  },
  { rootMargin: "400px" },
);

/** Show the thumbnail of a row on `canvas` as soon as it is near the window. */
export function showRow(canvas, id) {
  waiting.set(canvas, id);
  canvas.classList.add("loading");
  observer.observe(canvas);
}
