// Modal dialogs. The browser keeps the focus inside and closes them on Escape.

import { button, h } from "./dom.js";

/** Show `content` in a dialog; resolves with what `close(value)` was called with, or null when it was dismissed. */
export function open(title, build, { kind = "" } = {}) {
  return new Promise((resolve) => {
    let result = null;
    const heading = h("h2", { tabindex: "-1", id: `dialog-${Date.now()}-${document.querySelectorAll("dialog").length}` }, title);
    const dialog = h("dialog", { class: `dialog ${kind}`, "aria-labelledby": heading.id });
    const close = (value = null) => {
      result = value;
      dialog.close();
    };
    const head = h("div", { class: "dialog-head" }, heading, button("Close", { icon: "cross", only: true, kind: "quiet", click: () => close() }));
    dialog.append(head);
    dialog.append(build(close, dialog));
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog && kind !== "firm") close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[data-first]") ?? heading).focus({ preventScroll: true });
  });
}

export const isOpen = () => document.querySelector("dialog[open]") !== null;

/** Ask for one line of text; null if it was dismissed. */
export function ask(title, { label, value = "", hint = "", confirm, secret = false, before = [], suggestions = [] }) {
  return open(title, (close) => {
    const list = suggestions.length ? h("datalist", { id: "suggestions" }, suggestions.map((text) => h("option", { value: text }))) : null;
    const input = h("input", {
      id: "dialog-input",
      type: secret ? "password" : "text",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 200,
      list: list ? "suggestions" : null,
      "aria-describedby": hint ? "dialog-hint" : null,
      "data-first": true,
    });
    input.value = value;
    const submit = (event) => {
      event.preventDefault();
      close(input.value.trim());
    };
    return h(
      "form",
      { class: "dialog-body", method: "dialog", on: { submit } },
      before,
      h("label", { for: "dialog-input" }, label),
      input,
      list,
      hint && h("p", { class: "soft", id: "dialog-hint" }, hint),
      h("div", { class: "dialog-foot" }, button("Cancel", { click: () => close() }), h("button", { type: "submit", class: "button main" }, confirm)),
    );
  });
}

/** Ask for the service's token; null if it was dismissed. */
export function askToken(reason) {
  return ask("This service needs a token", {
    label: "Token",
    secret: true,
    hint: `${reason ? `${reason} ` : ""}It is in the file that the service was started with (--token-file). This tab remembers it until it is closed.`,
    confirm: "Continue",
  });
}
