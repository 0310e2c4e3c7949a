"use strict";
// Draws openapi.json and lets one try each route. Text only ever becomes text: nothing is parsed as HTML.

const token = document.getElementById("token");
const slug = document.getElementById("slug");
let spec = {};

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function put(parent, ...children) {
  parent.append(...children.filter(Boolean));
  return parent;
}

function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function resolve(schema) {
  return schema && schema.$ref ? spec.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map(String).join(" | ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return "list of " + typeOf(schema.items);
  return schema.type || "any value";
}

function fieldsOf(schema) {
  const shape = resolve(schema);
  if (shape && shape.anyOf) return put(make("div"), ...shape.anyOf.map(fieldsOf));
  if (!shape || !shape.properties) return null;
  const table = make("table");
  for (const [name, field] of Object.entries(shape.properties)) {
    put(table, put(make("tr"), put(make("td"), make("code", name)), make("td", typeOf(field)), make("td", field.description || "")));
  }
  return table;
}

function bodyPart(body) {
  if (!body) return {};
  const select = make("select");
  const area = make("textarea");
  area.rows = 6;
  for (const media of Object.keys(body.content)) put(select, make("option", media));
  const file = make("input");
  file.type = "file";
  const show = () => {
    const chosen = body.content[select.value];
    const binary = chosen.schema.format === "binary";
    area.hidden = binary;
    file.hidden = !binary;
    const first = Object.values(chosen.examples || {})[0];
    area.value = first ? pretty(first.value) : "";
  };
  select.addEventListener("change", show);
  show();
  return { select, area, file };
}

function parameterRow(parameter, inputs) {
  const input = make("input");
  input.placeholder = parameter.example === undefined ? "" : String(parameter.example);
  if (parameter.name !== "slug") inputs[parameter.name] = { input, parameter };
  const field = parameter.name === "slug" ? make("span", "from the top of this page") : input;
  return put(make("tr"), put(make("td"), make("code", parameter.name)), make("td", parameter.description), put(make("td"), field));
}

async function send(path, method, inputs, part, out) {
  let address = path.replace("{slug}", encodeURIComponent(slug.value || "default"));
  const query = new URLSearchParams();
  for (const { input, parameter } of Object.values(inputs)) {
    if (parameter.in === "path") address = address.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
    else if (input.value) query.set(parameter.name, input.value);
  }
  if ([...query].length) address += "?" + query;
  const headers = {};
  if (token.value) headers.Authorization = "Bearer " + token.value;
  const options = { method, headers };
  if (part.select) {
    headers["Content-Type"] = part.select.value;
    options.body = part.file.hidden ? part.area.value : part.file.files[0];
  }
  out.hidden = false;
  out.textContent = "…";
  try {
    const began = performance.now();
    const answer = await fetch(address.slice(1), options);
    const text = await answer.text();
    let shown = text;
    try { shown = pretty(JSON.parse(text)); } catch { /* not JSON: as it came */ }
    out.textContent = `${answer.status} ${answer.statusText}, ${Math.round(performance.now() - began)} ms\n\n${shown.slice(0, 20000)}`;
  } catch (error) {
    out.textContent = String(error);
  }
}

function routeOf(path, method, route) {
  const box = make("details");
  put(box, put(make("summary"), make("span", method.toUpperCase(), "method"), make("code", path), make("span", route.summary, "what")));
  const inside = put(make("div", null, "inside"), make("p", route.description));
  const inputs = {};
  if (route.parameters && route.parameters.length) {
    put(inside, put(make("table"), ...route.parameters.map((p) => parameterRow(p, inputs))));
  }
  const part = bodyPart(route.requestBody);
  if (part.select) {
    put(inside, make("h3", "Body"), part.select, part.area, part.file);
    put(inside, fieldsOf(Object.values(route.requestBody.content)[0].schema));
  }
  const button = make("button", "Send");
  const out = make("pre");
  out.hidden = true;
  button.addEventListener("click", () => send(path, method.toUpperCase(), inputs, part, out));
  put(inside, put(make("p"), button), out, make("h3", "Answers"));
  const table = make("table");
  for (const [code, answer] of Object.entries(route.responses)) {
    const content = Object.values(answer.content || {})[0] || {};
    const cell = put(make("td"), make("div", answer.description));
    if (content.example !== undefined) put(cell, make("pre", pretty(content.example)));
    put(table, put(make("tr"), put(make("td"), make("code", code)), cell));
  }
  return put(box, put(inside, table));
}

async function start() {
  const main = document.getElementById("routes");
  spec = await (await fetch("openapi.json")).json();
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}`;
  document.getElementById("about").textContent = spec.info.description;
  main.textContent = "";
  const groups = new Map();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const group = (route.tags || ["other"])[0];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(routeOf(path, method, route));
    }
  }
  for (const [group, boxes] of groups) {
    const title = group === "any project" ? "Any project" : "The root's project: default, or the only one";
    put(main, make("h2", title), ...boxes);
  }
}

start().catch((error) => { document.getElementById("routes").textContent = String(error); });
