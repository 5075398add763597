// The keyboard: moving among the pictures, single keys for the actions, and the help that lists them.

import { actionsOf } from "./card.js";
import { button, byId, h, isTyping } from "./dom.js";
import { isOpen, open } from "./dialogs.js";
import { makeCurrent } from "./results.js";
import { set, state } from "./state.js";

const KEYS = [
  ["← → ↑ ↓", "move among the pictures"],
  ["Home, End", "first and last picture"],
  ["Enter", "show the picture large"],
  ["S", "search with this one"],
  ["A", "add it to the search"],
  ["C", "confirm the person"],
  ["R", "reject, or take it back"],
  ["Del", "delete, after a question"],
  ["/", "choose a picture of a person"],
  ["V", "grid or lanes over time"],
  ["Ctrl + V", "paste a picture"],
  ["?", "this list"],
];

function showHelp() {
  return open("Keyboard", () => h("dl", { class: "dialog-body keys" }, KEYS.map(([key, text]) => [h("dt", {}, key.split(", ").flatMap((name, index) => [index ? ", " : null, h("kbd", {}, name)])), h("dd", {}, text)])));
}

/** The picture that lies next in a direction: in the order of the results, or the nearest one above or below. */
export function neighbour(marks, mark, key) {
  const index = marks.indexOf(mark);
  if (key === "Home") return marks[0];
  if (key === "End") return marks.at(-1);
  if (key === "ArrowLeft") return marks[index - 1];
  if (key === "ArrowRight") return marks[index + 1];
  const from = mark.getBoundingClientRect();
  const down = key === "ArrowDown";
  const away = marks
    .map((item) => ({ item, box: item.getBoundingClientRect() }))
    .filter(({ box }) => (down ? box.top >= from.bottom - 1 : box.bottom <= from.top + 1))
    .map(({ item, box }) => ({ item, steps: Math.abs(box.top - from.top), aside: Math.abs(box.left - from.left) }));
  const nearest = Math.min(...away.map(({ steps }) => steps));
  return away.filter(({ steps }) => steps < nearest + 8).sort((a, b) => a.aside - b.aside)[0]?.item;
}

function onPicture(event, mark) {
  if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
    const next = neighbour([...byId("results").querySelectorAll(".card-main")], mark, event.key);
    if (next) {
      makeCurrent(next);
      next.focus();
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    return true;
  }
  const hit = state.hits.find(({ row }) => row.id === Number(mark.dataset.id));
  const action = hit && actionsOf(hit).find(({ key }) => key.toLowerCase() === event.key.toLowerCase());
  action?.run();
  return Boolean(action);
}

function anywhere(event) {
  if (event.key === "/") byId("choose").focus();
  else if (event.key === "?") showHelp();
  else if (event.key.toLowerCase() === "v") set({ view: state.view === "grid" ? "lanes" : "grid" });
  else return false;
  return true;
}

export function start() {
  byId("tools").append(button("Keyboard", { icon: "keys", kind: "quiet", id: "help", "aria-keyshortcuts": "?", click: showHelp }));
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || isOpen()) return;
    const mark = event.target.closest?.(".card")?.querySelector(".card-main") ?? event.target.closest?.(".card-main");
    if ((mark && onPicture(event, mark)) || anywhere(event)) event.preventDefault();
  });
  byId("results").addEventListener("focusin", (event) => {
    const mark = event.target.closest(".card-main");
    if (mark) makeCurrent(mark);
  });
}
