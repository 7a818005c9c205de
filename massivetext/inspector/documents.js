// The list of documents: filters, a search that goes on until it has a page, the keys.

import { api, bytes, button, documentRoute, element, labelled, measure, number, route, say, select,
  table } from "./dom.js";

const PAGE = 50;
const STATES = [["all", "all"], ["kept", "kept"], ["heldout", "held out"], ["dropped", "dropped"]];
const FILTERS = ["subset", "state", "stage", "rule", "signal", "min", "max", "query"];
const TYPING_PAUSE = 300; // milliseconds
// What a document's view needs to lead to the next one and back.
const last = { found: [], route: "#/documents" };

export async function documents(body, parameters, { summary, signal }) {
  const chosen = Object.fromEntries(FILTERS.map((key) => [key, parameters.get(key) || ""]));
  const controls = makeControls(summary, chosen);
  const results = element("div", { class: "list" });
  const form = element("form", { class: "filters", role: "search", "aria-label": "Filter documents",
    onsubmit: (event) => event.preventDefault() },
    Object.values(controls).map(({ label, control }) => labelled(label, control)),
    element("div", { class: "field" }, button("Clear filters", clear)));
  body.append(overview(summary), form, results);
  let running = new AbortController();
  signal.addEventListener("abort", () => running.abort());

  function clear() {
    for (const { control } of Object.values(controls))
      control.value = control.tagName === "SELECT" ? control.options[0].value : "";
    begin();
  }

  function begin() {
    running.abort();
    running = new AbortController();
    for (const key of FILTERS) chosen[key] = controls[key].control.value.trim();
    if (chosen.state === "all") chosen.state = "";
    const ranged = chosen.signal !== "";
    for (const key of ["min", "max"]) {
      controls[key].control.disabled = !ranged;
      if (!ranged) chosen[key] = "";
    }
    // The address keeps the filters, without a new entry for every letter typed.
    last.route = route("documents", chosen);
    history.replaceState(null, "", last.route);
    last.found = [];
    results.replaceChildren();
    return more(null, running.signal).catch((error) => {
      if (error.name !== "AbortError") refuse(error);
    });
  }

  function refuse(error) {
    say(error.message);
    results.replaceChildren(element("p", { class: "missing" }, error.message));
  }

  // Searches are answered in short pieces, so that this page can tell how far it is, and stop.
  async function more(cursor, stop) {
    let place = results.querySelector("tbody");
    const wanted = last.found.length + PAGE;
    results.querySelector(".more")?.remove();
    let answer;
    do {
      const limit = wanted - last.found.length;
      answer = await api("documents", { ...chosen, cursor, limit }, stop);
      ({ next: cursor } = answer);
      last.found.push(...answer.documents);
      if (place === null && last.found.length > 0) {
        results.replaceChildren(listed());
        place = results.querySelector("tbody");
      }
      place?.append(...answer.documents.map(line));
      say(progress(answer));
    } while (cursor !== null && last.found.length < wanted);
    if (cursor !== null) {
      const next = cursor;
      results.append(element("p", { class: "more" }, button("Show more documents", () => {
        const from = last.found.length;
        more(next, running.signal).then(
          () => links()[from]?.focus(),
          (error) => error.name === "AbortError" || refuse(error));
      })));
    }
    if (last.found.length === 0) results.append(element("p", {}, "No document is like that."));
  }

  function progress(answer) {
    const shownNow = `${number(last.found.length)} documents shown`;
    const reached = answer.next === null ? "these are all" :
      `${number(answer.scanned)} of ${number(answer.of)} looked at`;
    return `${shownNow}; ${reached}.`;
  }

  let pause = 0;
  for (const { control } of Object.values(controls)) {
    const typed = control.tagName !== "SELECT";
    control.addEventListener(typed ? "input" : "change", () => {
      clearTimeout(pause);
      if (typed) pause = setTimeout(begin, TYPING_PAUSE);
      else begin();
    });
  }
  signal.addEventListener("abort", () => clearTimeout(pause));
  await begin();
}

function makeControls(summary, chosen) {
  const some = (names) => [["", "any"], ...names.map((name) => [name, name])];
  const rules = [...new Set(summary.rules.map(({ rule }) => rule))];
  const text = (key, type) => element("input", { type, value: chosen[key], autocomplete: "off",
    step: type === "number" ? "any" : null });
  return {
    subset: { label: "Subset",
      control: select(some(Object.keys(summary.subsets)), chosen.subset) },
    state: { label: "State", control: select(STATES, chosen.state) },
    stage: { label: "Dropped at stage", control: select(some(summary.stages), chosen.stage) },
    rule: { label: "Dropped by rule", control: select(some(rules), chosen.rule) },
    signal: { label: "Signal",
      control: select(some(summary.signals.map(({ name }) => name)), chosen.signal) },
    min: { label: "Signal at least", control: text("min", "number") },
    max: { label: "Signal at most", control: text("max", "number") },
    query: { label: "Search in id, URL and text", control: text("query", "search") },
  };
}

function overview(summary) {
  const columns = [["subset", ""], ["read", "number"], ["size", "number"], ["kept", "number"],
    ["held out", "number"], ...summary.stages.map((stage) => [`dropped: ${stage}`, "number"])];
  const rows = Object.entries(summary.subsets).map(([name, subset]) => [
    element("a", { href: route("documents", { subset: name }) }, name), number(subset.documents),
    bytes(subset.bytes), number(subset.kept), number(subset.heldout),
    ...summary.stages.map((stage) => number(subset.dropped[stage] || 0))]);
  return element("details", {}, element("summary", {}, "Documents by subset and stage"),
    table("Documents by subset and stage", columns, rows));
}

function listed() {
  return table("Documents found", [["document", ""], ["subset", ""], ["state", ""], ["rule", ""],
    ["value", "number"], ["limit", "number"], ["size", "number"]], []);
}

const NAMES = { kept: "kept", heldout: "held out", dropped: "dropped" };

export function state(found) {
  const stage = found.stage ? ` at ${found.stage}` : "";
  return element("span", { class: `state ${found.state}` },
    (NAMES[found.state] || found.state) + stage);
}

// One line of a list of documents.
export function line(found) {
  const cell = (title, kind, ...children) =>
    element("td", { role: "cell", class: kind || null, "data-title": title }, children);
  return element("tr", { role: "row" },
    element("th", { scope: "row", role: "rowheader" },
      element("a", { href: documentRoute(found) }, element("bdi", {}, found.id)),
      element("p", { class: "excerpt", dir: "auto" }, found.excerpt || "")),
    cell("subset", "", found.subset), cell("state", "", state(found)),
    cell("rule", "", found.rule || "–"), cell("value", "number", measure(found.value)),
    cell("limit", "number", measure(found.threshold)),
    cell("size", "number", bytes(found.bytes)));
}

function links() {
  return [...document.querySelectorAll(".list tbody th a")];
}

// Moves by `step`: in a list to another line, in a document to its neighbour in the last list.
export function move(step, event) {
  const lines = links();
  if (lines.length > 0) {
    const at = lines.indexOf(document.activeElement);
    const to = at < 0 ? 0 : Math.min(Math.max(at + step, 0), lines.length - 1);
    lines[to].focus();
    event.preventDefault();
    return;
  }
  const key = step > 0 ? "j" : "k";
  document.querySelector(`[data-key=${key}]`)?.click();
}

// The last list's route, and the neighbours in it of the document at `here` (a route).
export function around(here) {
  const routes = last.found.map(documentRoute);
  const at = routes.indexOf(here);
  return { list: last.route, before: at > 0 ? routes[at - 1] : null,
    after: at >= 0 && at + 1 < routes.length ? routes[at + 1] : null };
}
