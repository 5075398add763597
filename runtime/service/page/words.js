// Numbers, times and rows in words. Pure functions.

const whole = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const dayMonth = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const count = (number) => whole.format(number);

/** "1 picture", "2 pictures", "1 person", "2 people". */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Round to two digits, so that "about" is honest: 123 -> 120, 0.0345 -> 0.035. */
export function twoDigits(number) {
  return Number(number.toPrecision(2));
}

/** A share as "1 in N" or "n in 10": {few, many}. An upper bound (`most`) is rounded up, an estimate to the nearest. */
export function inSearches(rate, { most = false } = {}) {
  if (rate > 0.15) return { few: most ? Math.ceil(rate * 10) : Math.round(rate * 10), many: 10 };
  const many = 1 / rate;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(many)) - 1);
  return { few: 1, many: (most ? Math.floor(many / unit) : Math.round(many / unit)) * unit };
}

function wrongPeople({ few, many }) {
  return `${few} wrong ${few === 1 ? "person" : "people"} in ${count(many)} searches`;
}

/** The rate of false matches in words. `bound` is its 95 % upper bound. */
export function rateWords(rate, bound = null) {
  if (rate > 0.95) return "a wrong person in nearly every search";
  if (rate > 0) return `about ${wrongPeople(inSearches(rate))}`;
  if (!(bound > 0)) return "no wrong person in the calibration's searches";
  return `at most ${wrongPeople(inSearches(bound, { most: true }))}`;
}

/** The same for the narrow line of a card. */
export function rateShort(rate, bound = null) {
  if (rate > 0.95) return "nearly always wrong";
  if (rate <= 0 && !(bound > 0)) return "none wrong when measured";
  const { few, many } = rate > 0 ? inSearches(rate) : inSearches(bound, { most: true });
  return `${rate > 0 ? "about" : "at most"} ${few} wrong in ${count(many)}`;
}

/** "about 93 in 100". */
export function probabilityWords(probability) {
  const share = Math.round(probability * 100);
  if (share >= 100) return "more than 99 in 100";
  if (share <= 0) return "less than 1 in 100";
  return `about ${share} in 100`;
}

export const similarityWords = (similarity) => similarity.toFixed(2);

/** A stored time in the time zone of the reader. */
export function timeWords(time, { precise = false } = {}) {
  if (!time) return "no time";
  const date = new Date(time);
  return `${day.format(date)}, ${(precise ? seconds : clock).format(date)}`;
}

/** The same for the narrow line of a card: without the year if it is this year's. */
export function timeShort(time) {
  const date = new Date(time);
  const days = date.getFullYear() === new Date().getFullYear() ? dayMonth : day;
  return `${days.format(date)}, ${clock.format(date)}`;
}

export const dayWords = (date) => day.format(date);
export const clockWords = (date) => clock.format(date);

export function cameraWords(camera) {
  return camera === null || camera === undefined ? "no camera" : `Camera ${camera}`;
}

export const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

/** "2026-11-28T07:08" in the reader's time zone -> "2026-11-28T06:08:00Z", or null where it is no time. */
export function toUtc(local) {
  const date = new Date(local);
  return local && !Number.isNaN(date.getTime()) ? date.toISOString().replace(/\.\d+Z$/, "Z") : null;
}

/** The inverse, for <input type=datetime-local>. */
export function toLocal(time) {
  const date = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** Bytes as a person writes them. */
export function bytesWords(bytes) {
  return bytes >= 1048576 ? `${twoDigits(bytes / 1048576)} MiB` : `${Math.ceil(bytes / 1024)} KiB`;
}

/** One line for screen readers about a hit. */
export function hitWords(hit, verdict, position, total) {
  const { row } = hit;
  const parts = [`${position} of ${total}`];
  if (hit.similarity !== null) parts.push(`similarity ${similarityWords(hit.similarity)}`);
  if (verdict !== null) parts.push(verdict ? "above the threshold" : "below the threshold");
  parts.push(row.person === null ? "no name" : `person ${row.person}`, cameraWords(row.camera), timeWords(row.time));
  return parts.join(", ");
}
