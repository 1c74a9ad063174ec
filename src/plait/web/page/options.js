// The options of a model: a field for each, made from its JSON Schema.

import {make, notNull} from "./make.js";

const FIRST = ["beam", "num", "sample", "temperature", "top_k", "top_p", "seed"];

export class Options {
  constructor(schema, changed) {
    const order = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
    const names = Object.keys(schema).sort((a, b) => order(a) - order(b));
    this.fields = names.map((name) => field(name, schema[name], changed));
    this.elements = this.fields.map((one) => one.label);
  }

  // [path, value] of each that differs from its default.
  parts() {
    return this.fields.map((one) => [one, one.read()])
      .filter(([one, value]) => value !== "" && value !== one.usual)
      .map(([one, value]) => [`options.${one.name}`, value]);
  }

  reset() {
    this.fields.forEach((one) => one.write(one.usual));
  }
}

function attributes(kind) {
  if (kind.type === "boolean") return {type: "checkbox"};
  if (kind.type === "string") return {type: "text", maxlength: kind.maxLength ?? null};
  return {
    type: "number", step: kind.type === "integer" ? 1 : "any", max: kind.maximum ?? null,
    min: kind.minimum ?? kind.exclusiveMinimum ?? null,
  };
}

function field(name, schema, changed) {
  const kind = notNull(schema);
  const usual = schema.default == null ? "" : String(schema.default);
  const boolean = kind.type === "boolean";
  const input = make("input", attributes(kind));
  const read = () => (boolean ? String(input.checked) : input.value);
  const write = (value) => {
    if (boolean) input.checked = value === "true";
    else input.value = value;
  };
  write(usual);
  input.addEventListener("change", () => changed({now: true}));
  const about = (schema.description ?? "").replace("null:", "empty:");
  const label = make("label", {}, name.replaceAll("_", " "), input, make("small", {}, about));
  return {name, usual, label, read, write};
}
