// The threshold: a slider over measured rates of false matches, or over similarities where none was measured.

import { button, byId, h } from "./dom.js";
import { set, state, subscribe } from "./state.js";
import { count, counted, inSearches, rateWords, similarityWords } from "./words.js";

const MORE_PEOPLE = 1.1; // a gallery with more people than this many times the calibrated ones has more false matches

/** The slider's positions, from strict to lenient: {similarity, rate, bound}. The last shows everything (similarity null). */
export function positions(threshold) {
  if (!threshold) {
    const steps = Array.from({ length: 100 }, (_, index) => ({ similarity: (99 - index) / 100, rate: null, bound: null }));
    return [...steps.slice(0, -1), { similarity: null, rate: null, bound: null }];
  }
  const points = threshold.curve.map(([similarity, rate, bound]) => ({ similarity, rate, bound }));
  if (!points.some((point) => point.similarity === threshold.similarity)) {
    points.push({ similarity: threshold.similarity, rate: threshold.false_match_rate, bound: threshold.bound });
  }
  points.sort((a, b) => b.similarity - a.similarity);
  return [...points, { similarity: null, rate: null, bound: null }];
}

/** Where the slider starts: at the calibrated threshold; without one, everything is shown. */
export const startPosition = (threshold) => (threshold ? positions(threshold).findIndex((point) => point.similarity === threshold.similarity) : positions(null).length - 1);

/** The headline of a position. */
export function positionWords({ similarity, rate, bound }) {
  if (similarity === null) return "every result is shown";
  return rate === null ? `similarity ${similarityWords(similarity)} or more` : rateWords(rate, bound);
}

function detailWords(point, calibrated) {
  if (point.similarity === null) return calibrated ? "No limit. Most results of a search for a stranger are wrong people." : "No limit.";
  if (point.rate === null) return "Higher is stricter: fewer wrong people, but also fewer right ones.";
  const bound = point.rate > 0 && point.bound ? ` At most ${boundWords(point.bound)}, with 95 % confidence.` : "";
  return `Similarity ${similarityWords(point.similarity)} or more. Counted over searches for people who are not in the gallery.${bound}`;
}

function boundWords(bound) {
  const { few, many } = inSearches(Math.min(1, bound), { most: true });
  return `${few} in ${count(many)}`;
}

let points = [];

function render() {
  const { threshold } = state.info.calibration;
  const chosen = points[Number(byId("slider").value)];
  const words = positionWords(chosen);
  byId("slider").setAttribute("aria-valuetext", words);
  byId("threshold-words").textContent = words.charAt(0).toUpperCase() + words.slice(1);
  byId("threshold-detail").textContent = detailWords(chosen, Boolean(threshold));
  byId("threshold-reset").hidden = !threshold || Number(byId("slider").value) === startPosition(threshold);
}

function choose(index) {
  byId("slider").value = index;
  set({ threshold: points[index].similarity });
  render();
}

function warning() {
  const { info } = state;
  const { threshold } = info.calibration;
  if (!threshold) return "This gallery has no calibrated threshold, so nobody knows how often a result at some similarity is a wrong person. The command “python -m runtime calibrate threshold” measures it.";
  if (info.people > MORE_PEOPLE * threshold.enrolled) {
    return `These rates were measured with ${counted(threshold.enrolled, "person", "people")} in the gallery. It has ${counted(info.people, "person", "people")} now, so wrong people are more frequent.`;
  }
  return "";
}

let calibration;

function renderInfo() {
  const { info } = state;
  byId("threshold").hidden = !info.rows;
  const { threshold } = info.calibration;
  byId("threshold-warning").textContent = warning();
  byId("threshold-warning").hidden = !warning();
  // A later answer with the same calibration must not move the slider.
  const now = JSON.stringify(threshold);
  if (now === calibration) return;
  calibration = now;
  points = positions(threshold);
  byId("slider").max = points.length - 1;
  byId("threshold-title").textContent = threshold ? "Threshold" : "Threshold (similarity)";
  choose(startPosition(threshold));
}

export function start() {
  const slider = h("input", { type: "range", id: "slider", min: 0, max: 1, step: 1, value: 1, "aria-labelledby": "threshold-title", "aria-describedby": "threshold-detail", on: { input: () => choose(Number(slider.value)) } });
  byId("threshold").append(
    h("div", { class: "section-head" }, h("h2", { id: "threshold-title" }, "Threshold"), button("Reset", { kind: "quiet", id: "threshold-reset", click: () => choose(startPosition(state.info.calibration.threshold)) })),
    h("output", { id: "threshold-words", for: "slider", class: "headline" }),
    slider,
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, "strict"), h("span", {}, "show all")),
    h("p", { class: "soft", id: "threshold-detail" }),
    h("p", { class: "note", id: "threshold-warning" }),
  );
  byId("threshold").hidden = true;
  subscribe(["info"], () => state.info && renderInfo());
}
