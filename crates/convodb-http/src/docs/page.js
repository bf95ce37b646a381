// API reference page: renders openapi.json of the same server as groups of endpoints with their
// fields and examples, and a table of errors. It creates elements and text nodes only, never markup
// from strings, so that no text of the description can inject HTML.
"use strict";

const METHODS = ["get", "post", "patch", "put", "delete"];
const by = (id) => document.getElementById(id);

// Creates an element with attributes and children; strings become text nodes.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
  return element;
}

// Splits a text into plain parts and `code` parts.
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

function paragraphs(text) {
  return text.split("\n\n").map((part) => make("p", {}, prose(part)));
}

// ---- The document ------------------------------------------------------------------------------

let api = {};

function resolved(value) {
  let found = value;
  while (found && found.$ref) {
    const parts = found.$ref.slice(2).split("/");
    found = parts.reduce((inner, part) => inner[part], api);
  }
  return found;
}

const nameOf = (value) => (value && value.$ref ? value.$ref.split("/").pop() : undefined);

function operations() {
  const all = [];
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((one) => item[one])) {
      all.push({ path, method, ...item[method] });
    }
  }
  return all;
}

// ---- Schemas -----------------------------------------------------------------------------------

const isNull = (schema) => resolved(schema).type === "null";

// The alternatives of a schema, without null.
function choices(schema) {
  const all = schema.anyOf || schema.oneOf || [];
  return all.filter((part) => !isNull(part));
}

function kindOf(given) {
  const schema = resolved(given);
  const types = [schema.type || []].flat();
  const nullable = types.includes("null") || (schema.anyOf || []).some(isNull);
  let kind = types.filter((type) => type !== "null").join(" or ");
  if (choices(schema).length) kind = [...new Set(choices(schema).map(kindOf))].join(" or ");
  if (schema.items) kind = `array of ${kindOf(schema.items)}`;
  if (kind === "array of " || kind === "array of object") kind = "array";
  // The size of a number is in its bounds.
  if (schema.format && kind !== "integer" && kind !== "number") kind += ` (${schema.format})`;
  return nullable ? `${kind || "anything"} or null` : kind || "object";
}

// The constraints of a value besides its type, as short texts.
function rulesOf(schema) {
  const rules = [];
  const { minimum, maximum, minLength, maxLength } = schema;
  const huge = (number) => Math.abs(number) >= 4294967295;
  if (minimum !== undefined && maximum !== undefined && !huge(maximum)) rules.push(`${minimum} to ${maximum}`);
  else if (minimum !== undefined && !huge(minimum)) rules.push(`at least ${minimum}`);
  if (maxLength !== undefined) {
    rules.push(minLength ? `${minLength} to ${maxLength} bytes` : `at most ${maxLength} bytes`);
  }
  for (const value of schema.enum || []) if (value !== null) rules.push(String(value));
  if (schema.default !== undefined) rules.push(`default ${schema.default}`);
  return rules;
}

// The fields of an object, including those of its `allOf` parts.
function fieldsOf(given) {
  const schema = resolved(given);
  const parts = (schema.allOf || []).map(fieldsOf).flat();
  const required = new Set(schema.required || []);
  const own = Object.entries(schema.properties || {})
    .map(([name, field]) => ({ name, field, required: required.has(name) }));
  return [...own, ...parts];
}

function fieldItem({ name, field, required }, depth) {
  const schema = resolved(field);
  const about = field.description || schema.description;
  const head = make("div", { class: "field" },
    make("span", { class: "name" }, name),
    make("span", { class: "kind" }, kindOf(field)),
    required ? make("span", { class: "required" }, "required") : make("span", { class: "optional" }, "optional"));
  const rules = rulesOf(schema);
  return make("li", {}, head,
    about ? make("p", { class: "about" }, prose(about)) : undefined,
    rules.length ? make("ul", { class: "rules" }, rules.map((rule) => make("li", {}, rule))) : undefined,
    depth < 3 ? inner(field, depth) : undefined);
}

// The nested fields of a field, collapsed.
function inner(field, depth) {
  const schema = resolved(field);
  const inside = [schema.items, ...choices(schema), schema].filter(Boolean);
  const whole = inside.find((part) => fieldsOf(part).length);
  if (!whole) return undefined;
  return make("details", { class: "inner" },
    make("summary", {}, nameOf(whole) ? `Fields of ${nameOf(whole)}` : "Fields"),
    fieldList(fieldsOf(whole), depth + 1));
}

function fieldList(fields, depth = 0) {
  return make("ul", { class: "fields" }, fields.map((field) => fieldItem(field, depth)));
}

function schemaBlock(title, given) {
  const schema = resolved(given);
  const parts = fieldsOf(schema).length ? [schema] : choices(schema).map(resolved);
  const about = schema.description ? make("p", { class: "about" }, prose(schema.description)) : undefined;
  const lists = parts.filter((part) => fieldsOf(part).length).map((part) => [
    parts.length > 1 && part.title ? make("p", { class: "about" }, `${part.title}:`) : undefined,
    fieldList(fieldsOf(part)),
  ]);
  if (!about && !lists.length) return undefined;
  return [make("h4", {}, title), about, lists.flat()];
}

// ---- Examples ----------------------------------------------------------------------------------

function examplesOf(content) {
  const named = Object.entries(content.examples || {})
    .map(([name, example]) => ({ name: example.summary || name, value: example.value }));
  if (named.length) return named;
  return content.example === undefined ? [] : [{ name: "", value: content.example }];
}

const asText = (value) => (typeof value === "string" ? value.trimEnd() : JSON.stringify(value, null, 2));

// Highlights JSON; of a command, only its quoted strings.
function coloured(text) {
  const string = /("(?:\\.|[^"\\])*")(\s*:)?/;
  const value = /|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/;
  const token = new RegExp(string.source + (text.startsWith("curl") ? "|(?!)()()" : value.source), "g");
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(token)) {
    const [whole, quoted, colon, word, number] = match;
    parts.push(text.slice(last, match.index));
    const kind = quoted ? (colon ? "key" : "text") : word || number ? "number" : "dim";
    parts.push(make("span", { class: kind }, quoted || whole), colon || "");
    last = match.index + whole.length;
  }
  return [...parts, text.slice(last)];
}

function curlOf(operation, body) {
  const base = location.origin + location.pathname.replace(/\/docs\/?$/, "");
  let path = operation.path;
  const query = [];
  for (const parameter of (operation.parameters || []).map(resolved)) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, parameter.example);
    // An empty example stands for a parameter that is left out.
    else if (parameter.in === "query" && parameter.example !== "") query.push(`${parameter.name}=${parameter.example}`);
  }
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const options = operation.method === "get" ? (query.length ? "-G " : "") : `-X ${operation.method.toUpperCase()} `;
  const lines = [`curl -sS ${options}${quote(base + path)}`];
  if (operation.security && operation.security.length) lines.push('-H "Authorization: Bearer $TOKEN"');
  query.forEach((pair) => lines.push(`--data-urlencode ${quote(pair)}`));
  if (body) {
    lines.push(`-H ${quote(`Content-Type: ${body.type}`)}`);
    const flag = body.type.includes("json") && !body.type.includes("nd") ? "-d" : "--data-binary";
    lines.push(`${flag} ${quote(asText(body.value))}`);
  }
  return lines.join(" \\\n  ");
}

// Reports an event to screen readers.
function announce(text) {
  by("announcement").textContent = text;
}

// Browsers offer the clipboard only to secure contexts (https and localhost). Elsewhere the text is
// selected, so that the user can copy it with the keyboard.
async function copy(text, button, code) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    announce("Copied to the clipboard");
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Press Ctrl-C";
    announce("The text is selected; press Ctrl-C to copy it");
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1600);
}

// A panel that shows one of several texts, with a selector and a copy button.
function panel(title, label, texts) {
  const code = make("code");
  const pre = make("pre", { tabindex: "0", role: "region", "aria-label": `${title}: ${label}` }, code);
  let current = "";
  const show = (text) => { current = text; code.replaceChildren(...coloured(text)); };
  const button = make("button", { type: "button", "aria-label": `Copy ${title.toLowerCase()} of ${label}` }, "Copy");
  button.addEventListener("click", () => copy(current, button, code));
  let choice;
  if (texts.length > 1) {
    choice = make("select", { "aria-label": `Example for ${label}` },
      texts.map(({ name }, at) => make("option", { value: at }, name)));
    choice.addEventListener("change", () => show(texts[choice.value].text));
  }
  show(texts[0].text);
  return make("div", { class: "sample" },
    make("div", { class: "sample-head" }, make("span", { class: "title" }, title), choice, button), pre);
}

function samples(operation) {
  const request = operation.requestBody && Object.entries(resolved(operation.requestBody).content)[0];
  const bodies = request ? examplesOf(request[1]) : [];
  const texts = bodies.length
    ? bodies.map(({ name, value }) => ({ name, text: curlOf(operation, { type: request[0], value }) }))
    : [{ name: "", text: curlOf(operation) }];
  const [, answer] = Object.entries(resolved(operation.responses["200"]).content || {})[0] || [];
  const answers = answer ? examplesOf(answer) : [];
  return make("div", { class: "samples" }, make("div", { class: "sticky" },
    panel("Request", operation.summary, texts),
    answers.length
      ? panel("Response, 200", operation.summary, answers.map(({ name, value }) => ({ name, text: asText(value) })))
      : undefined));
}

// ---- Endpoints ---------------------------------------------------------------------------------

const methodMark = (method) =>
  make("span", { class: `method ${method}` }, method === "delete" ? "DEL" : method.toUpperCase());

function parameterBlock(title, parameters) {
  if (!parameters.length) return undefined;
  const fields = parameters.map(({ name, schema, required, description }) => ({
    name, required, field: { ...resolved(schema), description },
  }));
  return [make("h4", {}, title), fieldList(fields)];
}

function statusTable(operation) {
  const rows = Object.entries(operation.responses).map(([status, given]) => {
    const text = resolved(given).description;
    const description = status === "200" ? text : make("a", { href: `#error-${status}` }, text);
    return make("tr", {}, make("th", { scope: "row" }, status), make("td", {}, description));
  });
  return make("details", { class: "statuses" },
    make("summary", {}, `${rows.length} status codes`),
    make("table", {}, make("caption", { class: "hidden" }, `Status codes of ${operation.summary}`), make("tbody", {}, rows)));
}

function headerBlock(operation) {
  const link = (resolved(operation.responses["200"]).headers || {}).Link;
  if (!link) return undefined;
  return [make("h4", {}, "Response headers"), fieldList([{ name: "Link", field: { type: "string", description: resolved(link).description } }])];
}

function section(operation) {
  const id = operation.operationId;
  const parameters = (operation.parameters || []).map(resolved);
  const [, request] = operation.requestBody ? Object.entries(resolved(operation.requestBody).content)[0] : [];
  const [, answer] = Object.entries(resolved(operation.responses["200"]).content || {})[0] || [];
  const bodyText = request && !fieldsOf(request.schema).length && !choices(resolved(request.schema)).length;
  const needsToken = operation.security && operation.security.length;
  return make("section", { class: "operation", id, "aria-labelledby": `${id}-name` },
    make("div", {},
      make("h3", { id: `${id}-name` }, make("a", { href: `#${id}` }, operation.summary)),
      make("div", { class: "route" }, methodMark(operation.method), make("code", {}, operation.path)),
      needsToken ? undefined : make("p", { class: "open" }, "No token required."),
      operation.description ? paragraphs(operation.description) : undefined,
      parameterBlock("Path parameters", parameters.filter((one) => one.in === "path")),
      parameterBlock("Query parameters", parameters.filter((one) => one.in === "query")),
      parameterBlock("Request headers", parameters.filter((one) => one.in === "header")),
      bodyText ? [make("h4", {}, "Request body"), make("p", { class: "about" }, prose(request.schema.description || ""))] : undefined,
      request && !bodyText ? schemaBlock("Request body", request.schema) : undefined,
      answer ? make("div", { class: "answer" }, schemaBlock("Response", answer.schema)) : undefined,
      headerBlock(operation),
      statusTable(operation)),
    samples(operation));
}

// ---- Errors ------------------------------------------------------------------------------------

function errorTable() {
  const seen = new Map();
  for (const [name, response] of Object.entries(api.components.responses)) {
    const [, content] = Object.entries(response.content)[0];
    const status = operations().map((one) => Object.entries(one.responses).find(([, given]) => nameOf(given) === name)).find(Boolean);
    const plain = !name.includes(".");
    const key = name.split(".").pop();
    if (status && (plain || !seen.has(key))) seen.set(key, { status: status[0], response, example: content.example });
  }
  const rows = [...seen.values()].sort((one, other) => one.status - other.status);
  const first = new Set();
  return make("section", { class: "errors", id: "errors", "aria-labelledby": "errors-name" },
    make("h2", { id: "errors-name" }, "Errors"),
    make("p", {}, prose("Every error is a JSON object with a `message`. Endpoints for single conversations add the `\"status\":false` and `\"error\"` of the reference API. Responses with 429 and 503 have a `Retry-After` header.")),
    make("table", {},
      make("caption", { class: "hidden" }, "Status codes, their causes, and an example of the body"),
      make("thead", {}, make("tr", {}, ["Status", "Cause", "Example"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, rows.map(({ status, response, example }) => {
        const id = first.has(status) ? undefined : `error-${status}`;
        first.add(status);
        return make("tr", { id },
          make("th", { scope: "row" }, status),
          make("td", {}, response.description),
          make("td", { class: "body" }, make("code", {}, JSON.stringify(example))));
      }))));
}

// ---- The page ----------------------------------------------------------------------------------

function draw() {
  const all = operations();
  by("version").textContent = api.info.version;
  const groups = api.tags.map(({ name }) => ({ name, operations: all.filter((one) => one.tags.includes(name)) }));
  by("links").replaceChildren(...groups.map((group) => make("div", { class: "group" },
    make("p", { class: "group-name" }, group.name),
    make("ul", { class: "links" }, group.operations.map((one) =>
      make("li", { "data-words": `${one.summary} ${one.path} ${one.method}`.toLowerCase() },
        make("a", { href: `#${one.operationId}` }, methodMark(one.method), make("span", {}, one.summary))))))),
    make("div", { class: "group" }, make("p", { class: "group-name" }, "Errors"),
      make("ul", { class: "links" }, make("li", { "data-words": "errors statuses" },
        make("a", { href: "#errors" }, make("span", { class: "method" }, "4xx"), make("span", {}, "All errors"))))));
  by("content").replaceChildren(
    make("div", { class: "intro" }, make("h1", {}, `${api.info.title} API`), paragraphs(api.info.description)),
    ...groups.map((group) => make("div", { class: "tag" }, make("h2", {}, group.name), group.operations.map(section))),
    errorTable());
  follow();
  if (location.hash) {
    const target = document.getElementById(location.hash.slice(1));
    if (target) target.scrollIntoView({ behavior: "instant" });
  }
}

// Highlights the link of the endpoint in view.
function follow() {
  const links = new Map([...document.querySelectorAll(".links a")].map((link) => [link.hash.slice(1), link]));
  const mark = (id) => {
    for (const [own, link] of links) {
      if (own === id) link.setAttribute("aria-current", "location");
      else link.removeAttribute("aria-current");
    }
  };
  const seen = new IntersectionObserver((entries) => {
    const entry = entries.find((one) => one.isIntersecting);
    if (entry) mark(entry.target.id);
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const target of document.querySelectorAll(".operation, .errors")) seen.observe(target);
}

function find() {
  const words = by("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const group of document.querySelectorAll(".group")) {
    let own = 0;
    for (const item of group.querySelectorAll("li")) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
      own += item.hidden ? 0 : 1;
    }
    group.hidden = own === 0;
    shown += own;
  }
  by("none").hidden = shown > 0;
}

// ---- Theme and keyboard ------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

// Stores a theme if one is given, and returns the stored one.
function storedTheme(theme) {
  // Storage may be disabled; the choice then lasts until the page is closed.
  try {
    if (theme) localStorage.setItem("convodb-docs-theme", theme);
    return localStorage.getItem("convodb-docs-theme");
  } catch {
    return theme;
  }
}

function applyTheme(theme) {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  const button = by("theme");
  button.textContent = theme[0].toUpperCase() + theme.slice(1);
  button.dataset.theme = theme;
  button.setAttribute("aria-label", `Theme: ${theme === "auto" ? "follow the system" : theme}`);
}

applyTheme(THEMES.includes(storedTheme()) ? storedTheme() : "auto");
by("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(by("theme").dataset.theme) + 1) % THEMES.length];
  storedTheme(next);
  applyTheme(next);
});
by("find").addEventListener("input", find);
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    by("menu").open = true;
    by("find").focus();
  } else if (event.key === "Escape" && typing === by("find")) {
    by("find").value = "";
    find();
  }
});
if (matchMedia("(max-width: 52rem)").matches) by("menu").open = false;

fetch("openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.status))))
  .then((document) => { api = document; draw(); })
  .catch((error) => { by("loading").textContent = `Failed to load the API description: ${error.message}`; });
