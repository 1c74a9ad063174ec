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

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.095 ? 1 : 0)}%`;
}

// A value as text.
export function shown(value) {
  if (Array.isArray(value)) return value.length ? value.join(", ") : "none";
  if (typeof value === "number") return String(Number(value.toPrecision(5)));
  return String(value);
}

// All outputs' answers in one line.
export function summary(answers) {
  return Object.values(answers).map((answer) => shown(answer.value)).join("; ");
}

// A unique name for a file that is made here.
export function stamped(name, suffix) {
  const now = new Date();
  const local = new Date(now - 60_000 * now.getTimezoneOffset());
  return `${name}-${local.toISOString().slice(0, 19).replace(/[:T]/g, "-")}.${suffix}`;
}

// A schema without its null alternative: inputs and options may all be left out.
export function notNull(schema) {
  const kinds = (schema.anyOf ?? [schema]).filter((kind) => kind.type !== "null");
  const [first] = kinds;
  return kinds.length === 1 && first.anyOf ? {...notNull(first), description: first.description} : first;
}
