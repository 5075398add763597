// Confirm, reject and delete.

import * as api from "./api.js";
import { button, h } from "./dom.js";
import { ask, open } from "./dialogs.js";
import { complain, toast } from "./notices.js";
import { forget, showRow } from "./pictures.js";
import { loadInfo } from "./searching.js";
import { removeRows, replaceRow, set, setRejected, state } from "./state.js";
import { cameraWords, timeWords } from "./words.js";

let lastName = null; // so that confirming ten pictures of one person takes ten times Enter

function preview(row) {
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": `Stored picture ${row.id}` });
  showRow(canvas, row.id);
  return h("div", { class: "preview" }, canvas, h("p", {}, h("b", {}, row.person ?? "No name yet"), h("span", { class: "soft" }, `${cameraWords(row.camera)}, ${timeWords(row.time)}`), h("span", { class: "soft" }, row.source)));
}

/** The name that this row most likely gets: its own, that of the query, the last one given, that of the best hit. */
function likelyName(row) {
  const names = [row.person, ...state.queries.map((query) => query.row?.person), lastName].filter((name) => name !== null && name !== undefined);
  return names[0] ?? "";
}

function knownNames() {
  const names = [...state.queries.map((query) => query.row?.person), ...state.hits.map((hit) => hit.row.person), lastName];
  return [...new Set(names.filter((name) => name !== null && name !== undefined))];
}

async function rename(row, person) {
  try {
    replaceRow(await api.rename(row.id, person));
    loadInfo();
    return true;
  } catch (problem) {
    complain("The name was not stored", problem);
    return false;
  }
}

/** Ask who the person is and store the name with the row. */
export async function confirm(row) {
  const name = await ask(row.person === null ? "Confirm the person" : "Change the name", {
    label: "Name or number of this person",
    value: likelyName(row),
    hint: "The gallery stores it with this picture. Leave it empty to remove the name.",
    confirm: "Confirm",
    before: [preview(row)],
    suggestions: knownNames(),
  });
  if (name === null || (name || null) === row.person) return;
  if (!(await rename(row, name || null))) return;
  lastName = name || lastName;
  toast(name ? `Confirmed as ${name}.` : "The name is removed.", { action: { text: "Undo", run: () => rename({ ...row, person: name || null }, row.person) } });
}

/** Hide a row until the tab is closed or another person is sought. Nothing in the gallery changes. */
export function reject(row) {
  setRejected([...state.rejected, row.id]);
  toast("Rejected: it stays hidden in this session.", { action: { text: "Undo", run: () => takeBack([row.id]) } });
}

export function takeBack(ids) {
  setRejected([...state.rejected].filter((id) => !ids.includes(id)));
  if (!state.rejected.size) set({ showRejected: false });
}

async function run(call, gone, done) {
  try {
    const { deleted } = await call();
    for (const { row } of state.hits) if (gone(row)) forget(row.id);
    removeRows(gone);
    await loadInfo();
    toast(done(deleted));
  } catch (problem) {
    if (problem.status === 404) {
      removeRows(gone);
      await loadInfo();
      toast("It was deleted already.");
    } else {
      complain("Nothing was deleted", problem);
    }
  }
}

/** Ask, then delete a row, or all rows of its person. */
export async function remove(row) {
  const choice = await open("Delete this picture?", (close) =>
    h(
      "div",
      { class: "dialog-body" },
      preview(row),
      h("p", {}, "The gallery erases its features, its labels and its thumbnail. This cannot be undone. The picture's own file is not touched."),
      h(
        "div",
        { class: "dialog-foot" },
        button("Cancel", { click: () => close(), "data-first": true }),
        row.person !== null && button(`Delete all of ${row.person}`, { kind: "danger", click: () => close("person") }),
        button("Delete", { icon: "trash", kind: "danger main", click: () => close("row"), "data-confirm": "delete" }),
      ),
    ),
  );
  if (choice === "row") {
    await run(() => api.remove(row.id), ({ id }) => id === row.id, () => "Deleted.");
  } else if (choice === "person") {
    await removePerson(row.person);
  }
}

async function removePerson(person) {
  const sure = await open(`Delete every picture of ${person}?`, (close) =>
    h(
      "div",
      { class: "dialog-body" },
      h("p", {}, `All pictures that have the name ${person} are erased from the gallery, also those that are not shown here. This cannot be undone.`),
      h("div", { class: "dialog-foot" }, button("Cancel", { click: () => close(), "data-first": true }), button("Delete all", { icon: "trash", kind: "danger main", click: () => close(true), "data-confirm": "delete" })),
    ),
  );
  if (sure) await run(() => api.removePerson(person), (row) => row.person === person, (deleted) => `${deleted} deleted.`);
}
