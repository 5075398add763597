// Short messages: a toast with an optional action, and a line for screen readers.

import { button, byId, h } from "./dom.js";

const SHOWN_MS = 8000;

export function announce(text) {
  byId("live").textContent = text;
}

/** Show a message for some seconds, longer while the pointer or the focus is on it. `action` is {text, run}. */
export function toast(text, { action = null, kind = "" } = {}) {
  const element = h("div", { class: `toast ${kind}` }, h("p", {}, text));
  let timer;
  const close = () => {
    clearTimeout(timer);
    element.remove();
  };
  const start = () => {
    clearTimeout(timer);
    timer = setTimeout(close, SHOWN_MS);
  };
  if (action) {
    const run = () => {
      close();
      action.run();
    };
    element.append(button(action.text, { kind: "quiet", click: run }));
  }
  element.append(button("Dismiss", { icon: "cross", only: true, kind: "quiet", click: close }));
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, () => clearTimeout(timer));
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, start);
  const toasts = byId("toasts");
  while (toasts.childElementCount >= 3) toasts.firstElementChild.remove();
  toasts.append(element);
  announce(text);
  start();
}

/** Tell about a failed action. */
export function complain(what, problem) {
  toast(`${what}: ${problem.detail || problem.title || problem.message}`, { kind: "bad" });
}
