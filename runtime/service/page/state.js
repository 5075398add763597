// What the page knows, in one place. Parts of the page subscribe to the keys that they show.

/** The ids of one gallery mean nothing in another. */
const rejectedKey = () => `reid-rejected ${state.info.gallery}`;

/** Ids that the user rejected. They last as long as the tab, also over a reload. */
export function storedRejections() {
  try {
    return new Set(JSON.parse(sessionStorage.getItem(rejectedKey()) ?? "[]"));
  } catch {
    // A browser without storage has kept none.
    return new Set();
  }
}

export const state = {
  info: null, // the answer of /v1/info
  problem: null, // why nothing can be shown, or null
  busy: false,
  mode: "browse", // "browse": stored rows; "search": hits of a search
  queries: [], // pictures of one person, see query.js
  filters: { cameras: new Set(), after: "", before: "", person: null }, // times as of <input type=datetime-local>
  hits: [], // {rank, row, similarity, false_match_rate, bound, probability}
  searched: 0,
  next: null, // in "browse", the id after which more rows follow
  top: 50,
  threshold: null, // a similarity, or null for none
  view: "grid", // or "lanes"
  rejected: new Set(),
  showRejected: false,
  showBelow: false,
  current: null, // id of the row that the keyboard is on
};

const listeners = [];

/** Call `listener` now and whenever one of `keys` is set. */
export function subscribe(keys, listener) {
  listeners.push({ keys: new Set(keys), listener });
}

export function set(patch) {
  Object.assign(state, patch);
  const changed = Object.keys(patch);
  for (const { keys, listener } of listeners) {
    if (changed.some((key) => keys.has(key))) listener();
  }
}

export function setRejected(ids) {
  try {
    sessionStorage.setItem(rejectedKey(), JSON.stringify([...ids]));
  } catch {
    // A browser without storage keeps them until the page is closed.
  }
  set({ rejected: new Set(ids) });
}

/** Replace one row everywhere it is shown. */
export function replaceRow(row) {
  const replaced = (item) => (item.row?.id === row.id ? { ...item, row } : item);
  set({ hits: state.hits.map(replaced), queries: state.queries.map(replaced) });
}

export function removeRows(gone) {
  set({
    hits: state.hits.filter((hit) => !gone(hit.row)),
    queries: state.queries.filter((query) => !query.row || !gone(query.row)),
  });
}

/** True for a hit at or above the threshold, false below it, null where there is no threshold or no similarity. */
export function isAccepted(hit) {
  return state.threshold === null || hit.similarity === null ? null : hit.similarity >= state.threshold;
}

/** The hits that are shown, and how many are hidden and why. */
export function shown() {
  const rejected = state.mode === "search" ? state.hits.filter((hit) => state.rejected.has(hit.row.id)) : [];
  const below = state.hits.filter((hit) => isAccepted(hit) === false && !rejected.includes(hit));
  const hits = state.hits.filter((hit) => (state.showRejected || !rejected.includes(hit)) && (state.showBelow || !below.includes(hit)));
  return { hits, rejected: rejected.length, below: below.length };
}
