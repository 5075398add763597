// Leave only rows of some cameras and times.

import { button, byId, h, icon } from "./dom.js";
import { refreshSoon } from "./searching.js";
import { set, state, subscribe } from "./state.js";
import { count, counted, timeZone, toLocal, toUtc } from "./words.js";

const NARROW = 900; // pixels; there the filters start folded, as in base.css

export const hasFilters = () => state.filters.cameras.size > 0 || Boolean(state.filters.after) || Boolean(state.filters.before) || state.filters.person !== null;

export function clearFilters() {
  set({ filters: { cameras: new Set(), after: "", before: "", person: null } });
  refreshSoon();
}

function change(patch) {
  set({ filters: { ...state.filters, ...patch } });
  if (!rangeProblem()) refreshSoon();
}

function rangeProblem() {
  const { after, before } = state.filters;
  return after && before && toUtc(after) >= toUtc(before) ? "“From” must be earlier than “until”." : "";
}

function toggle(camera) {
  const cameras = new Set(state.filters.cameras);
  if (!cameras.delete(camera)) cameras.add(camera);
  change({ cameras });
}

function cameraBox({ camera, rows }) {
  const box = h("input", { type: "checkbox", id: `camera-${camera}`, "aria-label": `Camera ${camera}, ${count(rows)} pictures`, on: { change: () => toggle(camera) } });
  return h("label", { class: "pill", for: `camera-${camera}`, data: { camera } }, box, h("span", {}, `Camera ${camera}`), h("span", { class: "soft" }, count(rows)));
}

function renderChoices() {
  const { cameras, first, last } = state.info;
  byId("cameras").replaceChildren(...cameras.map(cameraBox));
  byId("cameras-group").hidden = cameras.length === 0;
  byId("times-group").hidden = !first;
  if (first) {
    byId("times-hint").textContent = `From ${toLocal(first).replace("T", " ")} to ${toLocal(last).replace("T", " ")} in this gallery, in the time zone ${timeZone()}.`;
  }
  byId("filters").hidden = !state.info.rows || (cameras.length === 0 && !first);
  renderValues();
}

function renderValues() {
  const { cameras, after, before } = state.filters;
  for (const box of byId("cameras").querySelectorAll("input")) {
    box.checked = cameras.has(Number(box.parentElement.dataset.camera));
  }
  for (const [id, value] of Object.entries({ after, before })) {
    if (document.activeElement !== byId(id)) byId(id).value = value;
  }
  byId("clear-filters").hidden = !hasFilters();
  byId("filters-now").textContent = [cameras.size ? counted(cameras.size, "camera") : "", after || before ? "some times" : ""].filter(Boolean).join(", ") || "no filter";
  byId("range-problem").textContent = rangeProblem();
  for (const id of ["after", "before"]) byId(id).setAttribute("aria-invalid", String(Boolean(rangeProblem())));
}

function timeField(id, text) {
  const input = h("input", { type: "datetime-local", id, "aria-describedby": "times-hint range-problem", on: { input: () => change({ [id]: input.value }) } });
  return h("label", { class: "field", for: id }, text, input);
}

export function start() {
  const body = h(
    "div",
    { class: "filter-body" },
    h("fieldset", { id: "cameras-group" }, h("legend", {}, "Cameras"), h("div", { class: "pills", id: "cameras" })),
    h("fieldset", { id: "times-group" }, h("legend", {}, "Times"), h("div", { class: "times" }, timeField("after", "From"), timeField("before", "Until")), h("p", { class: "soft", id: "times-hint" }), h("p", { class: "bad", id: "range-problem", role: "alert" })),
    h("div", {}, button("Clear the filters", { id: "clear-filters", click: clearFilters })),
  );
  const summary = h("summary", {}, h("h2", { id: "filters-title" }, "Where and when"), h("span", { class: "soft", id: "filters-now" }), icon("right"));
  byId("filters").append(h("details", { open: window.innerWidth > NARROW }, summary, body));
  byId("filters").hidden = true;
  subscribe(["info"], () => state.info && renderChoices());
  subscribe(["filters"], () => state.info && renderValues());
}
