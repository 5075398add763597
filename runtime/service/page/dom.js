// Build elements. Every text becomes a text node, so no file name or label is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.3 15.3 20 20",
  check: "m5 12.500 4.500 4.500L19 7.500",
  cross: "M6 6l12 12M18 6 6 18",
  trash: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 10.500v5.500M13.500 10.500v5.500",
  crop: "M7 3v14h14M3 7h14v14",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  left: "m14.500 5-7 7 7 7",
  right: "m9.500 5 7 7-7 7",
  grid: "M4.500 4.500h6v6h-6zM13.500 4.500h6v6h-6zM4.500 13.500h6v6h-6zM13.500 13.500h6v6h-6z",
  lanes: "M4 7h16M4 12h16M4 17h16M8 5v4M15 10v4M11 15v4",
  save: "M12 4v11m-4.500-4.500L12 15l4.500-4.500M5 19h14",
  keys: "M3.500 7h17v10h-17zM7 10.300h.01M10.300 10.300h.01M13.700 10.300h.01M17 10.300h.01M8 13.700h8",
  picture: "M4 5h16v14H4zM4 16l4.500-5 4 4.500 3-3 4.500 4.500M15.500 9h.01",
  back: "M9 6 4 11l5 5M4 11h10a5 5 0 0 1 0 10h-2",
  alert: "M12 4 2.800 19.500h18.400zM12 10v4.500M12 17h.01",
};

/** An element. `props` are attributes, except `on` (listeners), `data` (dataset) and what is boolean. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A drawn icon, hidden from screen readers: the button around it has the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and a text, or with an icon alone and the text as its name. */
export function button(text, { icon: drawn, only = false, kind = "", click, ...props } = {}) {
  const named = only ? { "aria-label": text, title: text } : {};
  const classes = `button ${kind} ${only ? "only" : ""}`.trim();
  const element = h("button", { type: "button", class: classes, ...named, ...props }, drawn && icon(drawn), !only && h("span", {}, text));
  if (click) element.addEventListener("click", click);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** True where typing writes text, so that single keys are no commands there. */
export function isTyping(target) {
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && !["checkbox", "button", "file"].includes(target.type));
}
