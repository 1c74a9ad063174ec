// /openapi.json as a page to read.

import {byId, make} from "./make.js";

const METHODS = ["get", "post"];

async function open() {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const api = await response.json();
  const routes = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => route(api, path, method, item[method])));
  byId("routes").replaceChildren(...routes);
}

function route(api, path, method, about) {
  const body = about.requestBody?.content["application/json"]?.schema;
  const answer = about.responses["200"]?.content?.["application/json"]?.schema;
  const others = Object.entries(about.responses).filter(([code]) => code !== "200");
  return make("section", {class: "output", "aria-label": `${method} ${path}`},
    make("h2", {}, about.summary ?? ""),
    make("p", {class: "path"}, make("code", {}, `${method.toUpperCase()} ${path}`)),
    about.description && about.description !== about.summary ? make("p", {}, about.description) : null,
    body ? make("h3", {}, "Request") : null, body ? fields(api, body) : null,
    body ? make("h3", {}, "Such as") : null,
    body ? make("pre", {tabindex: 0}, make("code", {}, example(api, path, body))) : null,
    answer?.$ref ? make("h3", {}, "Answer") : null, answer?.$ref ? fields(api, answer) : null,
    others.length ? make("details", {}, make("summary", {}, "When it does not answer"), make("ul", {},
      ...others.map(([code, why]) => make("li", {}, make("code", {}, code), ` ${why.description}`))))
      : null);
}

function resolved(api, schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((found, key) => found[key.replaceAll("~1", "/")], api);
}

// A schema's fields as a table; those of fields that are objects stand below, with a dot.
function fields(api, schema) {
  return make("div", {class: "scroll"}, make("table", {},
    make("thead", {}, make("tr", {}, ...["Field", "Type", "Usually", "What it is"].map(
      (title) => make("th", {scope: "col"}, title)))),
    make("tbody", {}, ...rows(api, schema, ""))));
}

function rows(api, schema, before, depth = 0) {
  const whole = resolved(api, schema);
  return Object.entries(whole.properties ?? {}).flatMap(([name, raw]) => {
    const field = resolved(api, raw);
    const inner = below(api, raw);
    const path = `${before}${name}`;
    const usual = "default" in raw && !inner ? JSON.stringify(raw.default) : "";
    const own = make("tr", {}, make("td", {}, make("code", {}, path)), make("td", {}, type(api, raw)),
      make("td", {}, make("code", {}, usual)), make("td", {}, told(field)));
    const mark = inner?.mark ?? "";
    return [own, ...(inner && depth < 4 ? rows(api, inner.schema, `${path}${mark}.`, depth + 1) : [])];
  });
}

// What has fields of its own below a field: an object, a list of them, or a mapping to them.
function below(api, raw) {
  const known = kinds(api, raw);
  for (const kind of known) {
    if (kind.properties) return {schema: kind};
    const item = resolved(api, kind.items);
    const inner = item.properties ? item : kinds(api, item).find((one) => one.properties);
    if (inner) return {schema: inner, mark: "[]"};
    const value = resolved(api, kind.additionalProperties === true ? {} : kind.additionalProperties);
    if (value?.properties) return {schema: value, mark: ".NAME"};
  }
  return null;
}

function kinds(api, raw) {
  const schema = resolved(api, raw);
  return (schema.anyOf ?? [schema]).map((one) => resolved(api, one)).flatMap(
    (one) => (one.anyOf ? kinds(api, one) : [one])).filter((one) => one.type !== "null");
}

function type(api, raw) {
  const names = kinds(api, raw).map((kind) => {
    if (kind.contentEncoding) return `file (${kind.contentMediaType}), ${kind.contentEncoding} in JSON`;
    if (kind.type === "array") return `list of ${type(api, kind.items ?? {})}`;
    return [].concat(kind.type ?? "any").filter((one) => one !== "null").join(" or ");
  });
  return [...new Set(names)].join(" or ");
}

function told(field) {
  const known = (field.anyOf ?? [field]).find((one) => one.type !== "null") ?? {};
  const examples = field.examples ?? known.examples;
  const limits = [
    known.minimum != null && `${known.minimum} at the least`,
    known.maximum != null && `${known.maximum} at the most`,
    known.maxItems != null && `${known.maxItems} at the most`,
    known.maxLength != null && `${known.maxLength.toLocaleString("en")} letters at the most`,
    examples && `such as ${examples.slice(0, 8).join(", ")}`,
  ].filter(Boolean);
  return [field.description ?? known.description, ...limits].filter(Boolean).join("; ");
}

// A command that asks, with the first options left as they are usually.
function example(api, path, body) {
  const whole = resolved(api, body).properties;
  const many = Boolean(whole.records);
  const inputs = resolved(api, many ? whole.records.items : whole.inputs);
  const parts = Object.entries(inputs.properties).flatMap(([name, raw]) =>
    values(api, raw).map(([inner, value]) =>
      `-F '${many ? "records.0" : "inputs"}.${name}${inner}=${value}'`));
  return [`curl ${location.origin}${path}`, ...parts].join(" \\\n  ");
}

const SAMPLES = {"image/*": "photo.jpg", "audio/*": "sound.wav", "video/*": "clip.mp4"};

function values(api, raw) {
  const kind = kinds(api, raw)[0] ?? {};
  if (kind.contentMediaType) return [["", `@${SAMPLES[kind.contentMediaType] ?? "series.csv"}`]];
  if (!kind.properties) return [["", "a few words"]];
  return Object.entries(kind.properties).map(([name, one]) => [`.${name}`, one.examples?.[0] ?? ""]);
}

open().catch((error) => {
  byId("problem").hidden = false;
  byId("problem").textContent = error.message;
});
