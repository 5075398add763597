// One result, large, beside what was searched for.

import { actionButtons, actionsOf, personChip } from "./card.js";
import { button, h, isTyping } from "./dom.js";
import { open } from "./dialogs.js";
import { draw, showRow } from "./pictures.js";
import { refresh } from "./searching.js";
import { isAccepted, set, shown, state } from "./state.js";
import { cameraWords, probabilityWords, rateWords, similarityWords, timeWords } from "./words.js";

function large(query, label) {
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": label });
  if (query.row) showRow(canvas, query.row.id);
  else if (query.bitmap) draw(canvas, query.bitmap, query.box);
  return h("figure", { class: "large" }, canvas, h("figcaption", {}, label));
}

function facts(hit) {
  const { row } = hit;
  const accepted = isAccepted(hit);
  const pairs = [
    ["Person", personChip(row) ?? "no name"],
    hit.similarity !== null && ["Similarity", `${similarityWords(hit.similarity)}${accepted === null ? "" : accepted ? ", at or above the threshold" : ", below the threshold"}`],
    hit.false_match_rate !== null && ["Results like this", `${rateWords(hit.false_match_rate, hit.bound)} for people who are not in the gallery`],
    hit.probability !== null && ["Right person", `${probabilityWords(hit.probability)}, if half of all searches are for people in the gallery`],
    ["Camera", row.camera === null ? "not known" : cameraWords(row.camera)],
    ["Time", row.time ? timeWords(row.time, { precise: true }) : "not known"],
    row.track !== null && ["Track", String(row.track)],
    ["File", row.source || "not known"],
    ["Row", String(row.id)],
  ];
  return h("dl", { class: "facts-list" }, pairs.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function showPerson(person) {
  set({ queries: [], filters: { cameras: new Set(), after: "", before: "", person } });
  refresh();
}

/** Open the details of a hit; the arrows go on to the others. */
export async function showDetails(first) {
  let hit = first;
  await open(
    "Result",
    (close, dialog) => {
      const body = h("div", { class: "dialog-body details" });
      const previous = button("Previous picture", { icon: "left", only: true, kind: "quiet", click: () => step(-1) });
      const following = button("Next picture", { icon: "right", only: true, kind: "quiet", click: () => step(1) });
      dialog.querySelector(".dialog-head h2").after(h("span", { class: "steps" }, previous, following));
      const step = (by) => {
        const { hits } = shown();
        const next = hits[hits.findIndex((item) => item.row.id === hit.row.id) + by];
        if (next) show(next);
      };
      const show = (next) => {
        hit = next;
        set({ current: hit.row.id });
        const { hits } = shown();
        const place = hits.findIndex((item) => item.row.id === hit.row.id) + 1;
        dialog.querySelector("h2").textContent = `${state.mode === "search" ? "Result" : "Picture"} ${place} of ${hits.length}`;
        previous.disabled = place <= 1;
        following.disabled = place >= hits.length;
        const parts = [
          h("div", { class: "pair" }, state.queries.length ? large(state.queries[0], state.queries.length > 1 ? `The first of ${state.queries.length} pictures` : "You search for") : null, large({ row: hit.row }, state.mode === "search" ? "In the gallery" : "Stored picture")),
          facts(hit),
          hit.row.person !== null ? h("p", {}, button(`All pictures of ${hit.row.person}`, { kind: "quiet link", click: () => (close(), showPerson(hit.row.person)) })) : null,
          h("div", { class: "acts" }, actionButtons(hit, { only: false, before: close })),
        ];
        body.replaceChildren(...parts.filter(Boolean));
      };
      dialog.addEventListener("keydown", (event) => {
        if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog") !== dialog) return;
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        const action = actionsOf(hit).find(({ key }) => key.toLowerCase() === event.key.toLowerCase());
        if (!by && !action) return;
        event.preventDefault();
        event.stopPropagation();
        if (by) {
          step(by);
          dialog.querySelector("[data-first]").focus({ preventScroll: true });
        } else {
          close();
          action.run();
        }
      });
      show(hit);
      return body;
    },
    { kind: "wide" },
  );
}

