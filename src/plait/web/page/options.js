// How the answer is found: a field for each option, made from its JSON Schema.

import {make} from "./make.js";

const FIRST = ["beam", "num", "sample", "temperature", "top_k", "top_p", "seed"];

export class Options {
  constructor(schema, changed) {
    const order = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
    const names = Object.keys(schema).sort((a, b) => order(a) - order(b));
    this.fields = names.map((name) => field(name, schema[name], changed));
    this.elements = this.fields.map((one) => one.label);
  }

  // [path, value] of those that are not as usual.
  parts() {
    return this.fields
      .filter((one) => one.read() !== "" && one.read() !== one.usual)
      .map((one) => [`options.${one.name}`, one.read()]);
  }

  reset() {
    this.fields.forEach((one) => one.write(one.usual));
  }
}

function field(name, schema, changed) {
  const kind = (schema.anyOf ?? [schema]).find((one) => one.type !== "null");
  const usual = schema.default == null ? "" : String(schema.default);
  const own = kind.type === "boolean" ? checkbox() : number(kind);
  own.write(usual);
  own.input.addEventListener("change", () => changed({now: true}));
  const label = make("label", {}, name.replaceAll("_", " "), own.input,
    make("small", {}, (schema.description ?? "").replace("null:", "empty:")));
  return {name, usual, label, ...own};
}

function checkbox() {
  const input = make("input", {type: "checkbox"});
  return {
    input, read: () => String(input.checked), write: (value) => { input.checked = value === "true"; },
  };
}

function number(kind) {
  const whole = kind.type === "integer";
  const input = make("input", {
    type: "number", step: whole ? 1 : "any", min: kind.minimum ?? kind.exclusiveMinimum ?? null,
    max: kind.maximum ?? null,
  });
  return {input, read: () => input.value, write: (value) => { input.value = value; }};
}
