// Elements in one expression: make("p", {class: "quiet"}, "text", child).

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.095 ? 1 : 0)} %`;
}

export function shown(value) {
  if (Array.isArray(value)) return value.length ? value.join(", ") : "none";
  if (typeof value === "number") return String(Number(value.toPrecision(5)));
  return String(value);
}

// A name for a file that was made here, so that no two are alike.
export function stamped(name, suffix) {
  const now = new Date();
  const local = new Date(now - 60_000 * now.getTimezoneOffset());
  return `${name}-${local.toISOString().slice(0, 19).replace(/[:T]/g, "-")}.${suffix}`;
}
