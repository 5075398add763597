// The results: a line of counts, the tools, and a grid or lanes of pictures, or why there are none.

import { card } from "./card.js";
import { takeBack } from "./changes.js";
import { button, byId, h, icon } from "./dom.js";
import { showDetails } from "./details.js";
import { save } from "./export.js";
import { clearFilters, hasFilters } from "./filters.js";
import { lanes } from "./lanes.js";
import { announce } from "./notices.js";
import { newPerson } from "./query.js";
import { loadInfo, more, refresh } from "./searching.js";
import { isAccepted, set, shown, state, subscribe } from "./state.js";
import { count, counted } from "./words.js";

const link = (text, click) => button(text, { kind: "quiet link", click });

function headline({ hits }) {
  if (state.mode === "search") {
    const found = hits.length ? counted(hits.length, "result") : "No result";
    return [found, `searched ${count(state.searched)} of ${counted(state.info.rows, "stored picture")}`];
  }
  const { person } = state.filters;
  if (person !== null) return [`All pictures of ${person}`, counted(hits.length, "picture")];
  return ["In the gallery", hits.length ? "choose a picture, then search with it" : "no picture fits the filters"];
}

function hiddenLine({ below, rejected }) {
  const parts = [];
  if (below) {
    const text = `${counted(below, "result")} below the threshold ${state.showBelow ? "shown" : "hidden"}`;
    parts.push(h("span", {}, text, " ", link(state.showBelow ? "Hide" : "Show", () => set({ showBelow: !state.showBelow }))));
  }
  if (rejected) {
    const text = `${count(rejected)} rejected ${state.showRejected ? "shown" : "hidden"}`;
    parts.push(h("span", {}, text, " ", link(state.showRejected ? "Hide" : "Show", () => set({ showRejected: !state.showRejected })), " ", link("Take all back", () => takeBack([...state.rejected]))));
  }
  return parts.length ? h("p", { class: "hidden-line" }, parts) : null;
}

function viewButton(view, text, drawn) {
  return button(text, { icon: drawn, kind: "toggle", "aria-pressed": String(state.view === view), "data-view": view, click: () => set({ view }) });
}

function toolbar(parts) {
  const [title, detail] = headline(parts);
  return h(
    "div",
    { class: "results-head" },
    h("div", { class: "results-title" }, h("h2", { id: "results-title" }, title), h("p", { class: "soft" }, detail, state.filters.person !== null && [" ", link("Show the whole gallery", clearFilters)])),
    h("div", { class: "toolbar", role: "group", "aria-label": "View and export" }, viewButton("grid", "Grid", "grid"), viewButton("lanes", "Over time", "lanes"), h("span", { class: "gap" }), button("CSV", { icon: "save", "aria-label": "Save as CSV", disabled: !state.hits.length, click: () => save("csv") }), button("JSON", { icon: "save", "aria-label": "Save as JSON", disabled: !state.hits.length, click: () => save("json") })),
    hiddenLine(parts),
  );
}

function moreLine() {
  if (state.mode === "browse") return state.next === null ? null : h("div", { class: "more" }, button("Show more of the gallery", { click: more }));
  const limit = state.info.limits.top;
  const full = state.hits.length >= Math.min(limit, state.top);
  // Further results are less similar than the last one: below the threshold if that is.
  const hidden = state.hits.length > 0 && isAccepted(state.hits.at(-1)) === false && !state.showBelow;
  if (!full || hidden) return null;
  if (state.hits.length >= limit) return h("p", { class: "more soft" }, `These are the ${count(limit)} most similar pictures, the most that the service returns.`);
  return h("div", { class: "more" }, button("Search for more results", { click: more }));
}

/** A state with nothing to show: what it is, why, and what to do next. */
function stateCard({ drawn = "search", title, text = [], actions = [], kind = "" }) {
  return h("div", { class: `state ${kind}`, role: kind === "bad" ? "alert" : null }, icon(drawn), h("h2", {}, title), text.map((line) => h("p", {}, line)), h("div", { class: "state-actions" }, actions));
}

async function tryAgain() {
  if (await loadInfo()) refresh();
}

const PROBLEMS = {
  401: ["This service needs a token", "Enter token"],
  404: ["A stored picture of this search was deleted", "New person"],
  503: ["The service is busy", "Try again"],
};

function problemState({ status, title, detail, retryAfter }) {
  const [known, action] = PROBLEMS[status] ?? [null, "Try again"];
  const text = [detail || (known ? title : "")].filter(Boolean);
  if (status === 503 && retryAfter) text.push(`It asks to wait ${counted(Math.ceil(retryAfter), "second")}.`);
  return stateCard({ drawn: "alert", title: known ?? title ?? "Something went wrong", text, kind: "bad", actions: [button(action, { kind: "main", click: status === 404 ? newPerson : tryAgain })] });
}

function emptyGallery() {
  return stateCard({ drawn: "picture", title: "The gallery is empty", text: ["There is nothing to search in yet. Add pictures with this command, then load the page again:", h("code", {}, "python -m runtime gallery add MODEL.onnx CROPS --store DIR --thumbnails")], actions: [button("Look again", { kind: "main", click: tryAgain })] });
}

function nothingFits(parts) {
  const actions = [];
  if (parts.below) actions.push(button("Show results below the threshold", { kind: "main", click: () => set({ showBelow: true }) }));
  if (hasFilters()) actions.push(button("Clear the filters", { click: clearFilters }));
  const text = parts.below ? "No picture is similar enough. Perhaps this person is not in the gallery." : hasFilters() ? "No stored picture fits the filters." : "Every result was rejected.";
  return stateCard({ title: "Nobody found", text: [text], actions });
}

function content(parts) {
  if (!parts.hits.length) return nothingFits(parts);
  const open = (hit) => showDetails(hit);
  if (state.view === "lanes") return lanes(parts.hits, byId("results").clientWidth - 32, open, render);
  return h("ul", { class: "grid", "aria-labelledby": "results-title" }, parts.hits.map((hit, index) => card(hit, index, parts.hits.length, open)));
}

/** Give the current picture the tab stop, and the focus if it was in the results. */
function restoreFocus(had, index) {
  const marks = [...byId("results").querySelectorAll(".card-main")];
  if (!marks.length) return had && byId("results").focus();
  const mark = marks.find((item) => item.dataset.id === String(state.current)) ?? marks[Math.min(Math.max(index, 0), marks.length - 1)];
  makeCurrent(mark);
  if (had) mark.focus({ preventScroll: true });
}

/** Only the current picture and its actions are in the tab order; the arrows change which it is. */
export function makeCurrent(mark) {
  const place = byId("results");
  for (const element of place.querySelectorAll(".card-main, .card-actions button")) element.tabIndex = -1;
  for (const element of mark.closest(".card")?.querySelectorAll("button") ?? [mark]) element.tabIndex = 0;
  state.current = Number(mark.dataset.id);
  place.dataset.index = [...place.querySelectorAll(".card-main")].indexOf(mark);
}

function render() {
  const place = byId("results");
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const had = focused?.closest(".card, .mark") !== null && focused !== null;
  const key = focused?.dataset?.view ? `[data-view="${focused.dataset.view}"]` : null;
  const index = Number(place.dataset.index ?? 0);
  place.setAttribute("aria-busy", String(state.busy));
  if (state.problem) return place.replaceChildren(problemState(state.problem));
  if (!state.info) return place.replaceChildren(h("p", { class: "state soft" }, "Asking the service what it holds …"));
  if (!state.info.rows) return place.replaceChildren(emptyGallery());
  const parts = shown();
  place.replaceChildren(toolbar(parts), content(parts), ...[moreLine()].filter(Boolean));
  restoreFocus(had, index);
  if (key) place.querySelector(key)?.focus();
}

let pending = 0;

/** Draw at most once a frame, however fast the slider moves. */
function renderSoon() {
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(render);
}

export function start() {
  subscribe(["info", "problem", "hits", "threshold", "rejected", "showRejected", "showBelow", "view", "mode", "next"], renderSoon);
  subscribe(["busy"], () => {
    byId("results").setAttribute("aria-busy", String(state.busy));
    if (!state.busy && state.mode === "search" && !state.problem) announce(`${headline(shown()).join(", ")}.`);
  });
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now !== width && state.view === "lanes") renderSoon();
    width = now;
  }).observe(byId("results"));
  render();
}
