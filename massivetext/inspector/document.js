// One document: what became of it and why, its signals, its partners, its text with the evidence.

import { api, bytes, documentRoute, element, measure, number, route, say, table } from "./dom.js";
import { around, state } from "./documents.js";
import { legend, marked } from "./marks.js";

const PIECE = 200000; // bytes of text that the server gives at once

export async function documentView(body, parameters, { summary, signal, heading }) {
  const place = { subset: parameters.get("subset"), part: parameters.get("part"),
    row: parameters.get("row") };
  const found = await api("document", { ...place, from: parameters.get("from") }, signal);
  const { list, before, after } = around(route("document", place));
  heading.replaceChildren("Document ", element("bdi", {}, found.id));
  const link = (key, href, label) =>
    href && element("li", {}, element("a", { href, "data-key": key }, label));
  body.append(...[
    element("nav", { "aria-label": "List" }, element("ul", {}, link("u", list, "Back to the list"),
      link("k", before, "Document before"), link("j", after, "Next document"))),
    facts(found), drops(found), partners(found, place), overlaps(found),
    signals(found, summary), ...textOf(found, place)].filter(Boolean));
  say(`Document ${found.id}, ${found.state}.`);
}

function facts(found) {
  const rows = [["state", state(found)], ["subset", found.subset], ["size", bytes(found.bytes)],
    ["source", found.source], ["URL", found.url], ["time", found.timestamp],
    ["metadata", typeof found.metadata === "object" && found.metadata !== null ?
      JSON.stringify(found.metadata) : found.metadata]];
  return element("dl", { class: "facts" }, rows.filter(([, value]) => value).flatMap(
    ([name, value]) => [element("dt", {}, name), element("dd", {}, element("bdi", {}, value))]));
}

function drops(found) {
  if (found.drops.length === 0) return null;
  return table("Why it was dropped", [["stage", ""], ["rule", ""], ["value", "number"],
    ["limit", "number"], ["partner", ""], ["detail", ""]],
  found.drops.map((drop) => [drop.stage, drop.rule, measure(drop.value), measure(drop.threshold),
    drop.partner ? element("bdi", {}, drop.partner) : "–",
    drop.detail ? element("bdi", {}, drop.detail) : "–"]));
}

function partners(found, place) {
  if (found.partners.length === 0) return null;
  const here = `${place.subset}:${place.part}:${place.row}`;
  const made = table("Duplicates of it", [["document", ""], ["kind", ""], ["Jaccard", "number"],
    ["kept of them", ""], ["", ""]],
  found.partners.map((partner) => {
    const known = partner.part !== null && partner.part !== undefined;
    const there = `${partner.subset}:${partner.part}:${partner.row}`;
    const id = element("bdi", {}, partner.id);
    return [known ? element("a", { href: documentRoute(partner) }, id) : id, partner.kind || "–",
      measure(partner.jaccard), partner.survivor ? "yes" : "no",
      known ? element("a", { href: route("compare", { a: here, b: there }) },
        "Compare", element("span", { class: "hidden" }, ` with ${partner.id}`)) :
        partner.build ? `in ${partner.build}` : ""];
  }));
  return element("div", {}, made, found.partners_complete ? null :
    element("p", { class: "note" }, "There may be more: the search for them was cut short."));
}

function overlaps(found) {
  return element("div", {}, found.overlaps.map((overlap) => element("section", {},
    element("h2", {}, `Test set ${overlap.test_set}, item ${overlap.test_id}`),
    element("p", {}, `${overlap.kind}: ${[
      ["Jaccard", overlap.jaccard], ["containment", overlap.containment]]
      .filter(([, value]) => typeof value === "number")
      .map(([name, value]) => `${name} ${measure(value)}`).join(", ")}`),
    overlap.text && element("details", { open: true }, element("summary", {}, "The test item"),
      element("pre", { dir: "auto", tabindex: 0 }, overlap.text)))));
}

function signals(found, summary) {
  const limits = {};
  for (const rule of summary.rules) {
    if (rule.signal && rule.subsets.includes(found.subset) && typeof rule.limit === "number")
      (limits[rule.signal] ??= []).push(
        `${rule.direction === "min" ? "≥" : "≤"} ${measure(rule.limit)}`);
  }
  const failed = new Set(summary.rules.filter(({ rule }) => found.failed.includes(rule))
    .map((rule) => rule.signal));
  const rows = Object.entries(found.signals).filter(([, value]) => value !== null).map(
    ([name, value]) => [name, measure(value), (limits[name] || ["–"]).join(", "),
      failed.has(name) ? element("strong", { class: "fails" }, "✗ fails") :
        limits[name] ? "passes" : "–"]);
  if (rows.length === 0) return null;
  return element("details", { open: found.failed.length > 0 },
    element("summary", {}, `Signals (${rows.length}); `,
      `rules failed: ${found.failed.join(", ") || "none"}`),
    table("Signals", [["signal", ""], ["value", "number"], ["must be", "number"], ["rule", ""]],
      rows));
}

function textOf(found, place) {
  const { nodes, entries } = marked(found.text, found.marks);
  const pre = element("pre", { class: "text", dir: "auto", tabindex: 0, "aria-label": "Text" });
  pre.append(...nodes);
  const turn = pieces(found, place);
  return [element("h2", {}, "Text"), turn, legend(entries, pre), pre, turn && turn.cloneNode(true)]
    .filter(Boolean);
}

function pieces(found, place) {
  if (found.from === 0 && found.to >= found.bytes) return null;
  const to = (from, label) =>
    element("li", {}, element("a", { href: route("document", { ...place, from }) }, label));
  const links = [];
  if (found.from > 0) links.push(to(Math.max(0, found.from - PIECE), "Piece before"));
  if (found.to < found.bytes) links.push(to(found.to, "Next piece"));
  return element("nav", { class: "pieces", "aria-label": "Pieces of the text" },
    element("p", {}, `Bytes ${number(found.from)} to ${number(found.to)} `,
      `of ${number(found.bytes)}`),
    element("ul", {}, links));
}
