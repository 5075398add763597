// The pictures of the person who is sought: files that were dropped, pasted or chosen, and stored rows.

import { button, byId, h, isTyping } from "./dom.js";
import { crop, looksLikeScene } from "./crop.js";
import { isOpen } from "./dialogs.js";
import { announce, toast } from "./notices.js";
import { decode, draw, drawMissing, showRow } from "./pictures.js";
import { refresh } from "./searching.js";
import { set, setRejected, state, subscribe } from "./state.js";
import { bytesWords, cameraWords, counted } from "./words.js";

let lastKey = 0;

/** Search with these pictures. `step` makes a step of the browser's history, so that "back" returns. */
async function setQueries(queries, { step = true } = {}) {
  if (step) {
    history.replaceState({ queries: remember(state.queries) }, "");
    history.pushState({ queries: remember(queries) }, "");
  }
  set({ queries, top: 50, current: null, showBelow: false, filters: { ...state.filters, person: null } });
  await refresh();
  // In a narrow window the results are below everything else.
  if (queries.length && byId("results").getBoundingClientRect().top > window.innerHeight / 2) byId("results").scrollIntoView();
}

// Files cannot be part of the browser's history, so it holds numbers of remembered queries.
const remembered = [];
function remember(queries) {
  return remembered.push(queries) - 1;
}

export const searchWith = (row) => setQueries([{ key: ++lastKey, row }]);

export function addRow(row) {
  if (state.queries.some((query) => query.row?.id === row.id)) return toast("This picture is already part of the search.");
  return addAll([{ key: ++lastKey, row }]);
}

function addAll(added) {
  const room = state.info.limits.images - state.queries.length;
  if (added.length > room) toast(`A search takes at most ${counted(state.info.limits.images, "picture")}; ${counted(added.length - room, "picture was", "pictures were")} left out.`, { kind: "bad" });
  if (room <= 0) return null;
  return setQueries([...state.queries, ...added.slice(0, room)]);
}

/** Take files from the user: check, decode, ask for the person's box in a whole scene, and search. */
async function addFiles(files) {
  if (!state.info?.rows) return toast("There is nothing to search in yet: the gallery is empty or cannot be read.");
  const added = [];
  for (const file of files) {
    const bitmap = file.size <= state.info.limits.bytes ? await decode(file) : null;
    if (!bitmap && !file.type.startsWith("image/")) {
      toast(`“${file.name}” is no picture, so it was left out.`, { kind: "bad" });
    } else if (file.size > state.info.limits.bytes) {
      toast(`“${file.name}” has ${bytesWords(file.size)}; the service takes at most ${bytesWords(state.info.limits.bytes)}.`, { kind: "bad" });
    } else {
      const query = { key: ++lastKey, file, bitmap, box: null };
      if (bitmap && looksLikeScene(bitmap)) {
        const box = await crop(query, { scene: true });
        if (box === undefined) continue;
        query.box = box;
      }
      added.push(query);
    }
  }
  return added.length ? addAll(added) : null;
}

async function recrop(query) {
  const box = await crop(query);
  if (box === undefined) return;
  setQueries(state.queries.map((item) => (item.key === query.key ? { ...item, box } : item)));
}

function chip(query) {
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": query.row ? `Stored picture ${query.row.id}` : `Picture ${query.file.name}` });
  if (query.row) showRow(canvas, query.row.id);
  else if (query.bitmap) draw(canvas, query.bitmap, query.box);
  else drawMissing(canvas);
  const name = query.row ? cameraWords(query.row.camera) : query.file.name;
  const part = query.box ? "a part of it" : query.row ? (query.row.person ?? "from the gallery") : "the whole picture";
  return h(
    "li",
    { class: "chip" },
    canvas,
    h("div", { class: "chip-text" }, h("b", { title: name }, name), h("span", { class: "soft" }, part)),
    !query.row && query.bitmap && button("Crop", { icon: "crop", only: true, kind: "quiet", click: () => recrop(query) }),
    button("Remove", { icon: "cross", only: true, kind: "quiet", click: () => setQueries(state.queries.filter((item) => item !== query)) }),
  );
}

/** Start over: no query pictures, and no rejections, which were about the last person. */
export function newPerson() {
  setRejected([]);
  set({ showRejected: false });
  setQueries([]);
  byId("choose").focus();
  announce("Ready for the next person.");
}

function render() {
  const { queries, info } = state;
  const several = queries.length > 1;
  byId("query-list").replaceChildren(...queries.map(chip));
  byId("query-list").hidden = queries.length === 0;
  byId("query-hint").textContent = several ? "All of these must show the same person. The search uses their mean." : "Drop, paste or choose it. Or start with a picture of the gallery.";
  byId("query-hint").hidden = queries.length === 1;
  byId("choose").querySelector("span").textContent = queries.length ? "Add another picture" : "Choose a picture";
  byId("choose").disabled = !info?.rows || queries.length >= info.limits.images;
  byId("query").classList.toggle("filled", queries.length > 0);
  byId("new-person").hidden = queries.length === 0;
}

function isFileDrag(event) {
  return [...(event.dataTransfer?.types ?? [])].includes("Files");
}

/** The whole window takes dropped pictures. */
function watchDrops() {
  const cover = byId("dropping");
  const hide = () => {
    cover.hidden = true;
  };
  window.addEventListener("dragover", (event) => {
    if (!isFileDrag(event)) return;
    event.preventDefault();
    cover.hidden = false;
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hide();
  });
  window.addEventListener("drop", (event) => {
    hide();
    if (!isFileDrag(event)) return;
    event.preventDefault();
    if (!isOpen()) addFiles([...event.dataTransfer.files]);
  });
  window.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (isOpen()) return;
    if (files.length) {
      event.preventDefault();
      addFiles(files);
    } else if (!isTyping(event.target)) {
      toast("The clipboard holds no picture.");
    }
  });
}

export function start() {
  const input = h("input", { type: "file", accept: "image/*", multiple: true, class: "unseen", tabindex: "-1", id: "files", "aria-label": "Pictures of one person" });
  input.addEventListener("change", () => {
    addFiles([...input.files]);
    input.value = "";
  });
  byId("query").append(
    h("div", { class: "section-head" }, h("h2", { id: "query-title" }, "Who"), button("New person", { kind: "quiet", id: "new-person", click: newPerson })),
    h("ul", { id: "query-list", class: "chips" }),
    h("div", { class: "drop" }, button("Choose a picture", { icon: "picture", kind: "main", id: "choose", click: () => input.click() }), h("p", { class: "soft", id: "query-hint" })),
    input,
  );
  watchDrops();
  window.addEventListener("popstate", (event) => {
    const number = event.state?.queries;
    if (number === undefined || !remembered[number]) return;
    setQueries(remembered[number], { step: false });
  });
  subscribe(["queries", "info"], render);
  render();
}
