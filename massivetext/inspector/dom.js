// Elements, numbers and requests. Whatever comes from the data becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";
// Control characters and those that turn the direction of writing are shown, not obeyed.
const HIDDEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export function shown(text) {
  return String(text).replace(HIDDEN, (character) => {
    const code = character.charCodeAt(0);
    if (code < 32) return String.fromCharCode(0x2400 + code);
    if (code < 0xa0) return "\ufffd";
    return "\\u" + code.toString(16).padStart(4, "0");
  });
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(key, shown(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : shown(child));
  }
  return node;
}

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

export function number(value, decimals = 0) {
  if (value === null || value === undefined) return "–";
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return value.toLocaleString("en-GB", digits);
}

// A measured value: whole numbers with thousands separated, others to four significant digits.
export function measure(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return number(value);
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 1e6) return String(Number(value.toPrecision(4)));
  return value.toExponential(2);
}

export function signed(value) {
  return value > 0 ? "+" + number(value) : value < 0 ? "−" + number(-value) : "0";
}

export function bytes(value) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])
    if (value >= size) return `${number(value / size, 1)} ${unit}`;
  return value === null || value === undefined ? "–" : `${number(value)} B`;
}

// A table; `columns` are [title, "number" or ""], a cell is text or a node.
export function table(caption, columns, rows) {
  const head = columns.map(([title, kind]) =>
    element("th", { scope: "col", role: "columnheader", class: kind || null }, title));
  const body = rows.map((row) => element("tr", { role: "row" }, row.map((cell, i) => {
    const kind = columns[i][1];
    const attributes = { class: kind || null, "data-title": columns[i][0] };
    if (i === 0) return element("th", { scope: "row", role: "rowheader", ...attributes }, cell);
    return element("td", { role: "cell", ...attributes }, cell);
  })));
  const attributes = { class: "scroll", tabindex: 0, role: "region", "aria-label": caption };
  // Roles are written out: a style that lays rows out as blocks would take them away.
  return element("div", attributes, element("table", { role: "table" },
    element("caption", {}, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)),
    element("tbody", { role: "rowgroup" }, body)));
}

let controls = 0;

// A form control with its label above it.
export function labelled(label, control) {
  control.id = control.id || `control-${++controls}`;
  return element("div", { class: "field" }, element("label", { for: control.id }, label), control);
}

export function select(options, value) {
  const made = element("select", {}, options.map(([key, label]) =>
    element("option", { value: key }, label)));
  made.value = options.some(([key]) => key === value) ? value : options[0][0];
  return made;
}

export function button(label, onclick) {
  return element("button", { type: "button", onclick }, label);
}

export function say(text) {
  const status = document.getElementById("status");
  if (status.textContent !== shown(text)) status.textContent = shown(text);
}

export function route(view, parameters = {}) {
  const kept = Object.entries(parameters).filter(([, value]) =>
    value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(kept).toString();
  return `#/${view}${query ? "?" + query : ""}`;
}

export function documentRoute(found) {
  return route("document", { subset: found.subset, part: found.part, row: found.row });
}

// Answers of /api/NAME; a refusal throws what the server says.
export async function api(name, parameters = {}, signal = undefined) {
  const kept = Object.entries(parameters).filter(([, value]) =>
    value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(kept).toString();
  let answer;
  try {
    answer = await fetch(`/api/${name}${query ? "?" + query : ""}`, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; start massivetext inspect again");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || `the server answers ${answer.status}`);
  return body;
}
