// Sliders for the thresholds: what would change at once, with examples, and the config to keep it.

import { api, button, element, labelled, measure, number, say, signed, svg, table } from "./dom.js";
import { line } from "./documents.js";

const STEPS = 400; // positions of a slider, at most
const PAUSE = 120; // milliseconds without a change before the server is asked

export async function thresholds(body, parameters, { summary, signal }) {
  const judged = summary.rules.filter((rule) => typeof rule.limit === "number" &&
    summary.signals.some(({ name }) => name === rule.signal));
  if (judged.length === 0) {
    body.append(element("p", {}, "No rule of this build has a threshold on a measured signal."));
    say("no thresholds");
    return;
  }
  const changed = new Map();
  const outcome = element("section", { class: "outcome", "aria-label": "What would change" });
  const groups = grouped(judged);
  const sliders = judged.map((rule) => ({ rule, control: null }));
  const form = element("form", { onsubmit: (event) => event.preventDefault() },
    [...groups].map(([group, rules]) => element("fieldset", {},
      element("legend", {}, group),
      rules.map((rule) => {
        const slider = makeSlider(rule,
          summary.signals.find(({ name }) => name === rule.signal), change);
        sliders.find((entry) => entry.rule === rule).control = slider;
        return slider.node;
      }))));
  body.append(
    element("p", {}, "Move a threshold to see at once which documents would be kept or dropped. ",
      "Nothing is written: the changed thresholds can be copied into the config of the build."),
    element("p", {}, button("Reset all thresholds", reset)),
    element("div", { class: "tuning" }, form, outcome));
  let running = new AbortController();
  let pause = 0;
  signal.addEventListener("abort", () => { clearTimeout(pause); running.abort(); });

  function change(rule, value) {
    if (value === rule.limit) changed.delete(rule.rule);
    else changed.set(rule.rule, value);
    clearTimeout(pause);
    pause = setTimeout(ask, PAUSE);
  }

  function reset() {
    for (const { control } of sliders) control.reset();
    changed.clear();
    ask();
  }

  async function ask() {
    running.abort();
    running = new AbortController();
    try {
      const answer = await api("thresholds", Object.fromEntries(changed), running.signal);
      outcome.replaceChildren(...result(answer, changed.size).filter(Boolean));
    } catch (error) {
      if (error.name === "AbortError") return;
      say(error.message);
      outcome.replaceChildren(element("p", { class: "missing" }, error.message));
    }
  }
  await ask();
}

function grouped(rules) {
  const groups = new Map();
  for (const rule of rules) groups.set(rule.group, [...(groups.get(rule.group) || []), rule]);
  return groups;
}

// A slider and a number for one threshold, over the histogram of its signal.
function makeSlider(rule, signal, change) {
  const whole = Number.isInteger(rule.limit) && Number.isInteger(signal.low) &&
    Number.isInteger(signal.high) && signal.high > 1;
  const low = Math.min(signal.low ?? 0, rule.limit, 0);
  const high = Math.max(signal.high ?? 1, rule.limit, whole ? 1 : 0.01);
  // Counts of words reach from 1 to 100,000: on a linear slider all of interest is at one end.
  const same = (x) => x;
  const [bend, unbend] = high - low > 100 ? [Math.log1p, Math.expm1] : [same, same];
  const top = bend(high - low);
  const round = (value) => whole ? Math.round(value) : Number(value.toPrecision(4));
  // One press of an arrow moves a small whole number by one.
  const steps = whole && high - low < STEPS && bend === same ? high - low : STEPS;
  const placeOf = (value) => steps * bend(Math.min(Math.max(value, low), high) - low) / top;
  const sign = rule.direction === "min" ? "≥" : "≤";

  const range = element("input", { type: "range", min: 0, max: steps, step: 1 });
  const exact = element("input", { type: "number", step: whole ? 1 : "any", value: rule.limit });
  const limit = svg("path", { class: "limit" });
  const note = element("span", { class: "note" });
  function set(value, from) {
    if (from !== range) range.value = placeOf(value);
    if (from !== exact) exact.value = value;
    range.setAttribute("aria-valuetext", `${sign} ${measure(value)}`);
    const x = 300 * placeOf(value) / steps;
    limit.setAttribute("d", `M${x.toFixed(1)} 0V40`);
    note.textContent = value === rule.limit ? "" : `configured: ${measure(rule.limit)}`;
  }
  range.addEventListener("input", () => {
    const value = round(unbend(top * range.value / steps) + low);
    set(value, range);
    change(rule, value);
  });
  exact.addEventListener("input", () => {
    if (exact.value === "" || !Number.isFinite(exact.valueAsNumber)) return;
    set(exact.valueAsNumber, exact);
    change(rule, exact.valueAsNumber);
  });
  set(rule.limit, null);
  const node = element("div", { class: "slider" },
    histogram(rule, signal, (value) => 300 * placeOf(value) / steps, limit),
    labelled(`${rule.rule} (${sign})`, range),
    labelled(`${rule.rule}, exactly`, exact),
    element("p", { class: "note" },
      `${rule.signal}; ${rule.subsets.join(", ") || "no subset"} `, note));
  return { node, reset: () => set(rule.limit, null) };
}

function histogram(rule, signal, place, limit) {
  const { edges, counts } = signal;
  const most = Math.max(1, ...counts);
  const bars = counts.map((count, i) => {
    if (count === 0) return "";
    const left = place(edges[i]);
    const right = i + 1 < edges.length ? place(edges[i + 1]) : 300;
    const height = 38 * Math.log1p(count) / Math.log1p(most);
    const width = Math.max(right - left, 1);
    return `M${left.toFixed(1)} 40v${-height.toFixed(1)}h${width.toFixed(1)}V40z`;
  });
  const label = `Histogram of ${rule.signal}, counts on a log scale, ` +
    `from ${measure(signal.low)} to ${measure(signal.high)}; the threshold is the dashed line`;
  return svg("svg", { viewBox: "0 0 300 40", role: "img", "aria-label": label,
    preserveAspectRatio: "none" }, svg("path", { class: "bars", d: bars.join("") }), limit);
}

function result(answer, changes) {
  const entries = Object.entries(answer.subsets);
  const sum = (key) => entries.reduce((total, [, subset]) => total + subset[key], 0);
  const all = { kept: sum("kept"), after: sum("after"), lost: sum("lost"), won: sum("won") };
  const row = (name, { kept, after, lost, won }) => [name, number(kept), number(after),
    signed(after - kept), number(lost), number(won)];
  say(`Thresholds changed: ${changes}; ${number(all.lost)} documents lost, ` +
    `${number(all.won)} won, ${number(all.after)} kept of ${number(all.kept)} now.`);
  return [
    table("Documents kept by the rules", [["subset", ""], ["now", "number"], ["after", "number"],
      ["difference", "number"], ["lost", "number"], ["won", "number"]],
    [...entries.map(([name, subset]) => row(name, subset)), row("all", all)]),
    answer.sampled < 1 && element("p", { class: "note" },
      `Estimated from a sample: ${number(100 * answer.sampled, 1)} % of the documents.`),
    fragment(answer.fragment),
    examples("Lost: kept now, dropped then", answer.examples.lost),
    examples("Won: dropped now, kept then", answer.examples.won)];
}

function examples(title, found) {
  if (found.length === 0) return null;
  const list = table(title, [["document", ""], ["subset", ""], ["state", ""], ["rule", ""],
    ["value", "number"], ["limit", "number"], ["size", "number"]], []);
  list.querySelector("tbody").append(...found.map(line));
  return element("div", { class: "list" }, list);
}

function fragment(text) {
  if (!text) return null;
  const pre = element("pre", { tabindex: 0, "aria-label": "Changed thresholds as YAML" }, text);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
    } catch {
      // Without the permission, the text is selected for the person to copy.
      getSelection().selectAllChildren(pre);
      say("Selected: press Ctrl+C to copy.");
    }
  }
  function download() {
    const address = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
    element("a", { href: address, download: "thresholds.yaml" }).click();
    URL.revokeObjectURL(address);
    say("Saved as thresholds.yaml.");
  }
  return element("div", { class: "fragment" },
    element("h2", {}, "Changed thresholds"), pre,
    element("p", {}, button("Copy", copy), " ", button("Download", download)));
}
