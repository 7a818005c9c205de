// A text with marks over it. Marks may overlap; each is underlined in its kind's way and numbered.

import { element, number, say, shown } from "./dom.js";

// More entries than this in the key would push the text off the page.
const KEY_ENTRIES = 40;

// Returns the text as a list of nodes; marks are {start, stop, kind, label} in code points.
export function marked(text, marks) {
  const points = Array.from(text);
  const cut = (position) => Math.min(Math.max(position, 0), points.length);
  const kept = marks.map((mark) => ({ ...mark, start: cut(mark.start), stop: cut(mark.stop) }))
    .filter(({ start, stop }) => start < stop)
    .sort((a, b) => a.start - b.start || b.stop - a.stop);
  const edges = [...new Set(kept.flatMap(({ start, stop }) => [start, stop]))];
  edges.sort((a, b) => a - b);
  const nodes = [];
  const key = new Map();
  let open = [];
  let next = 0;
  let at = 0;
  for (const edge of [...edges, points.length]) {
    const piece = points.slice(at, edge).join("");
    if (piece !== "") nodes.push(open.length > 0 ? overlaid(piece, open, at) : shown(piece));
    at = edge;
    open = open.filter(({ stop }) => stop > at);
    for (; next < kept.length && kept[next].start === at; next++) {
      open.push({ ...kept[next], entry: entryOf(key, kept[next]) });
    }
  }
  return { nodes, entries: [...key.values()] };
}

function entryOf(key, { kind, label }) {
  const name = JSON.stringify([kind, label]);
  if (!key.has(name)) key.set(name, { number: key.size + 1, kind, label, count: 0 });
  const entry = key.get(name);
  entry.count++;
  return entry;
}

function overlaid(piece, open, at) {
  const top = open[open.length - 1];
  const begins = open.filter(({ start }) => start === at);
  const titles = open.map(({ kind, label }) => `${spoken(kind)}: ${label}`).join("; ");
  const tags = begins.map(({ entry }) => element("sup", { class: "tag" }, `[${entry.number}]`));
  return element("mark", { class: `kind-${style(top.kind)}${open.length > 1 ? " several" : ""}`,
    title: titles, "data-entries": begins.map(({ entry }) => entry.number).join(" ") || null },
  tags, piece);
}

const STYLES = { gram: "ngram", line: "line", paragraph: "line", test: "test" };

// Kinds are named by what they mark: a kind's style is that of the word in it that we know.
function style(kind) {
  const known = Object.keys(STYLES).find((word) => String(kind).includes(word));
  return known ? STYLES[known] : "other";
}

function spoken(kind) {
  return String(kind).replaceAll("_", " ").replace("ngram", "n-gram");
}

// The key of the marks, with a button per entry that goes to its next place in `place`.
export function legend(entries, place) {
  if (entries.length === 0) return null;
  const items = entries.slice(0, KEY_ENTRIES).map((entry) => element("li", {},
    element("button", { type: "button", onclick: () => step(place, entry.number) },
      `Next [${entry.number}]`), " ",
    element("span", { class: `sample kind-${style(entry.kind)}` }, spoken(entry.kind)),
    ` ${entry.label || ""} (${number(entry.count)})`));
  const rest = entries.length - KEY_ENTRIES;
  return element("div", { class: "legend" },
    element("p", {}, element("strong", {}, "Marked in the text"), " ",
      element("button", { type: "button", "data-key": "n", onclick: () => step(place, null) },
        "Next mark")),
    element("ul", {}, items, rest > 0 && element("li", {}, `and ${number(rest)} more`)));
}

function step(place, wanted) {
  const all = [...place.querySelectorAll("mark[data-entries]")].filter((mark) =>
    wanted === null || mark.dataset.entries.split(" ").includes(String(wanted)));
  if (all.length === 0) return;
  const now = place.querySelector("mark.here");
  const after = now && all.find((mark) =>
    now.compareDocumentPosition(mark) & Node.DOCUMENT_POSITION_FOLLOWING);
  const to = after || all[0];
  now?.classList.remove("here");
  to.classList.add("here");
  to.scrollIntoView({ block: "center" });
  say(`Mark ${all.indexOf(to) + 1} of ${all.length}: ${to.title}`);
}
