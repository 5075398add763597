// One stored picture: its thumbnail, what is known about it, and what can be done with it.

import { addRow, searchWith } from "./query.js";
import { confirm, reject, remove, takeBack } from "./changes.js";
import { button, h } from "./dom.js";
import { showRow } from "./pictures.js";
import { isAccepted, state } from "./state.js";
import { cameraWords, hitWords, rateShort, similarityWords, timeShort } from "./words.js";

/** The actions on a hit, in the order of their buttons: {name, key, icon, text, run}. */
export function actionsOf(hit) {
  const { row } = hit;
  const actions = [{ name: "search", key: "s", icon: "search", text: "Search with this one", run: () => searchWith(row) }];
  if (state.mode === "search") {
    actions.push({ name: "add", key: "a", icon: "plus", text: "Add to search", run: () => addRow(row) });
  }
  if (state.info.writable) {
    actions.push({ name: "confirm", key: "c", icon: "check", text: row.person === null ? "Confirm" : "Rename", run: () => confirm(row) });
  }
  if (state.mode === "search") {
    const back = state.rejected.has(row.id);
    actions.push({ name: "reject", key: "r", icon: back ? "back" : "cross", text: back ? "Take the rejection back" : "Reject", run: () => (back ? takeBack([row.id]) : reject(row)) });
  }
  if (state.info.writable) {
    actions.push({ name: "delete", key: "Delete", icon: "trash", text: "Delete", run: () => remove(row), kind: "danger" });
  }
  return actions;
}

export function actionButtons(hit, { only = true, props = {}, before = () => {} } = {}) {
  return actionsOf(hit).map(({ icon, text, run, kind = "", name, key }) =>
    button(text, {
      icon,
      only,
      kind: `${only ? "quiet" : ""} ${name === "search" && !only ? "main" : kind}`,
      "data-first": name === "search" && !only,
      ...props,
      "data-action": name,
      "aria-keyshortcuts": key.length === 1 ? key.toUpperCase() : key,
      click: () => {
        before();
        run();
      },
    }),
  );
}

export function picture(row) {
  const canvas = h("canvas", { class: "picture", "aria-hidden": "true" });
  showRow(canvas, row.id);
  return canvas;
}

function verdictOf(hit) {
  const accepted = isAccepted(hit);
  if (state.rejected.has(hit.row.id) && state.mode === "search") return { kind: "no", text: "Rejected" };
  if (accepted === false) return { kind: "no", text: "Below" };
  return null;
}

export function personChip(row) {
  return row.person === null ? null : h("span", { class: "person", title: `Person ${row.person}` }, row.person);
}

/** A card for the grid. `open` is called when it is chosen. */
export function card(hit, index, total, open) {
  const { row } = hit;
  const verdict = verdictOf(hit);
  const main = h(
    "button",
    { type: "button", class: "card-main", tabindex: "-1", data: { id: row.id }, "aria-label": hitWords(hit, isAccepted(hit), index + 1, total), on: { click: () => open(hit) } },
    h("span", { class: "card-picture" }, picture(row), hit.rank !== null && h("span", { class: "rank" }, hit.rank), verdict && h("span", { class: `verdict ${verdict.kind}` }, verdict.text)),
    h(
      "span",
      { class: "card-text" },
      hit.similarity !== null && h("b", { class: "similarity" }, similarityWords(hit.similarity)),
      hit.false_match_rate !== null && h("span", { class: "soft rate" }, rateShort(hit.false_match_rate, hit.bound)),
      personChip(row),
      h("span", { class: "soft" }, cameraWords(row.camera)),
      h("span", { class: "soft when" }, row.time ? timeShort(row.time) : "no time"),
    ),
  );
  const actions = h("div", { class: "card-actions", role: "group", "aria-label": "Actions" }, actionButtons(hit, { props: { tabindex: "-1" } }));
  return h("li", { class: `card ${verdict?.kind ?? ""}`, data: { card: row.id } }, main, actions);
}
