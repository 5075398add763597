// Fill the results: by a search if there are query pictures, else with stored rows.

import * as api from "./api.js";
import { toast } from "./notices.js";
import { forgetAll } from "./pictures.js";
import { set, state, storedRejections } from "./state.js";
import { toUtc } from "./words.js";

const PAGE = 48; // stored rows that are listed at once

let running = null;
let timer;

function filters() {
  const { cameras, after, before } = state.filters;
  return { camera: [...cameras].sort((a, b) => a - b), after: toUtc(after), before: toUtc(before) };
}

function formOf(queries, top) {
  const form = new FormData();
  for (const { file, box, row } of queries) {
    if (row) {
      form.append("row", row.id);
      form.append("exclude", row.id);
    } else {
      form.append("image", file, file.name || "pasted.png");
      form.append("box", box ? box.map((number) => Math.round(number)).join(",") : "");
    }
  }
  const { camera, after, before } = filters();
  for (const id of camera) form.append("camera", id);
  if (after) form.append("after", after);
  if (before) form.append("before", before);
  form.append("top", top);
  return form;
}

async function searchHits(signal) {
  // Rejected rows are asked for as well, so that they can be shown again at once.
  const top = Math.min(state.info.limits.top, state.top + state.rejected.size);
  const answer = await api.search(formOf(state.queries, top), signal);
  const hits = answer.hits.map((hit, index) => ({ ...hit, rank: index + 1 }));
  return { mode: "search", hits, searched: answer.searched, next: null };
}

async function listRows(signal, afterId) {
  const { person } = state.filters;
  const answer = await api.rows({ ...filters(), person, limit: PAGE, after_id: afterId }, signal);
  const hits = answer.rows.map((row) => ({ row, rank: null, similarity: null, false_match_rate: null, bound: null, probability: null }));
  return { mode: "browse", hits, next: answer.next };
}

async function run(load) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  set({ busy: true });
  try {
    const patch = await load(mine.signal);
    if (running !== mine) return;
    set({ ...patch, busy: false, problem: null });
  } catch (error) {
    if (running !== mine || error.name === "AbortError") return;
    const problem = error instanceof api.Problem ? error : new api.Problem({ title: "The page failed", detail: String(error) });
    set({ busy: false, problem });
  }
}

/** Search or list again, with what `state` says. */
export function refresh() {
  if (!state.info?.rows) return Promise.resolve();
  return run(state.queries.length ? searchHits : (signal) => listRows(signal, null));
}

/** The same a moment later, for what changes with every key. */
export function refreshSoon() {
  clearTimeout(timer);
  timer = setTimeout(refresh, 250);
}

export async function more() {
  if (state.mode === "search") {
    set({ top: Math.min(state.info.limits.top, state.top * 2) });
    return refresh();
  }
  const before = state.hits;
  return run(async (signal) => {
    const patch = await listRows(signal, state.next);
    return { ...patch, hits: [...before, ...patch.hits] };
  });
}

/** Ask what the gallery holds; the first thing that the page does, and after every change. */
export async function loadInfo() {
  try {
    const info = await api.info();
    const known = state.info?.gallery;
    set({ info, problem: null });
    if (known === info.gallery) return true;
    set({ rejected: storedRejections() });
    if (known) {
      forgetAll();
      set({ queries: [], hits: [], filters: { cameras: new Set(), after: "", before: "", person: null } });
      toast("The service has another gallery or model now, so the search starts again.");
      refresh();
    }
    return true;
  } catch (error) {
    set({ problem: error instanceof api.Problem ? error : new api.Problem({ title: "The page failed", detail: String(error) }) });
    return false;
  }
}
