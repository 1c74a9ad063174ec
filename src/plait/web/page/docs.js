// /openapi.json as a page to read.

import {byId, make} from "./make.js";

async function open() {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`the server answered with status ${response.status}`);
  const api = await response.json();
  byId("routes").replaceChildren(...Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, about]) => route(api, path, method, about))));
}

function route(api, path, method, about) {
  const body = about.requestBody?.content["application/json"]?.schema;
  const answer = about.responses["200"]?.content?.["application/json"]?.schema;
  const errors = Object.entries(about.responses).filter(([code]) => code !== "200");
  const part = (title, content) => [make("h3", {}, title), content];
  return make("section", {class: "output", "aria-label": `${method} ${path}`},
    make("h2", {}, about.summary ?? ""),
    make("p", {class: "path"}, make("code", {}, `${method.toUpperCase()} ${path}`)),
    about.description && make("p", {}, about.description),
    ...(body ? part("Request", fields(api, body)) : []),
    ...(body ? part("Example",
      make("pre", {tabindex: 0}, make("code", {}, example(api, path, body)))) : []),
    ...(answer?.$ref ? part("Response", fields(api, answer)) : []),
    errors.length ? make("details", {}, make("summary", {}, "Errors"), make("ul", {},
      ...errors.map(([code, why]) => make("li", {}, make("code", {}, code), ` ${why.description}`))))
      : null);
}

function resolved(api, schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((part, key) => part[key.replaceAll("~1", "/")], api);
}

// A schema's fields as a table; nested ones are listed below, with dots in their names.
function fields(api, schema) {
  return make("div", {class: "scroll"}, make("table", {},
    make("thead", {}, make("tr", {}, ...["Field", "Type", "Default", "Description"].map(
      (title) => make("th", {scope: "col"}, title)))),
    make("tbody", {}, ...rows(api, schema, ""))));
}

function rows(api, schema, prefix, depth = 0) {
  return Object.entries(resolved(api, schema).properties ?? {}).flatMap(([name, raw]) => {
    const nested = below(api, raw);
    const usual = "default" in raw && !nested ? JSON.stringify(raw.default) : "";
    const own = make("tr", {}, make("td", {}, make("code", {}, prefix + name)),
      make("td", {}, type(api, raw)), make("td", {}, make("code", {}, usual)),
      make("td", {}, description(resolved(api, raw))));
    if (!nested || depth === 4) return [own];
    return [own, ...rows(api, nested.schema, `${prefix}${name}${nested.mark}.`, depth + 1)];
  });
}

// The schema of a field's own fields: of an object, a list of objects, or a mapping to objects.
function below(api, raw) {
  for (const kind of kinds(api, raw)) {
    if (kind.properties) return {schema: kind, mark: ""};
    const item = kinds(api, kind.items).find((one) => one.properties);
    if (item) return {schema: item, mark: "[]"};
    const values = kind.additionalProperties;
    const value = resolved(api, values === true ? {} : values);
    if (value?.properties) return {schema: value, mark: ".NAME"};
  }
  return null;
}

// The alternatives of a schema, without null.
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

function description(field) {
  const known = (field.anyOf ?? [field]).find((one) => one.type !== "null") ?? {};
  const examples = field.examples ?? known.examples;
  const limit = (value, text) => value != null && text.replace("N", value.toLocaleString("en"));
  return [
    field.description ?? known.description,
    limit(known.minimum, "at least N"), limit(known.maximum, "at most N"),
    limit(known.maxItems, "at most N items"), limit(known.maxLength, "at most N characters"),
    examples && `e.g. ${examples.slice(0, 8).join(", ")}`,
  ].filter(Boolean).join("; ");
}

// A command that sends a request, all options left at their defaults.
function example(api, path, body) {
  const whole = resolved(api, body).properties;
  const prefix = whole.records ? "records.0" : "inputs";
  const inputs = resolved(api, whole.records?.items ?? whole.inputs);
  const parts = Object.entries(inputs.properties).flatMap(([name, {form, ...raw}]) => {
    const columns = Object.entries(kinds(api, raw)[0]?.properties ?? {});
    if (form.widget === "columns") {
      return columns.map(([column, one]) => `${name}.${column}=${one.examples?.[0] ?? ""}`);
    }
    return [`${name}=${form.widget === "file" ? "@" : ""}${form.example}`];
  });
  return [`curl ${location.origin}${path}`, ...parts.map((part) => `-F '${prefix}.${part}'`)]
    .join(" \\\n  ");
}

open().catch((error) => {
  byId("problem").hidden = false;
  byId("problem").textContent = error.message;
});
