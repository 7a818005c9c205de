// What a model wrote while it was trained: one prompt at a time, at one step, of every run.

import { element, labelled, number, say, select, shown } from "./dom.js";

const SAMPLED = 200; // more steps than this are thinned to half
const TITLE = 60; // characters of a prompt in the list of prompts

export function thinned(rows) {
  if (rows.length <= SAMPLED) return rows;
  return rows.filter((_, i) => i % 2 === 0 || i === rows.length - 1);
}

// A section, and what fills it with runs. A chosen step stays, but who looks at the newest step
// sees the newest.
export function samplesSection() {
  const [prompts, steps] = [select([["", ""]]), select([["", ""]])];
  const texts = element("div", { class: "sides" });
  const node = element("section", { "aria-labelledby": "samples", hidden: true },
    element("h2", { id: "samples" }, "Samples"),
    element("div", { class: "filters" }, labelled("Prompt", prompts), labelled("Step", steps),
      element("p", { class: "note" }, "The newest step comes first; the arrows go through them.")),
    texts);
  let runs = [];
  let known = []; // prompts
  let prompt = null;
  let chosen = null; // a step, or the newest
  let drawn = "";
  prompts.addEventListener("change", () => {
    prompt = known[prompts.selectedIndex];
    draw();
    told();
  });
  steps.addEventListener("change", () => {
    chosen = steps.selectedIndex === 0 ? null : Number(steps.value);
    draw();
    told();
  });
  return { node, show };

  function show(all) {
    runs = all;
    known = [...new Set(runs.flatMap(({ samples }) =>
      samples.flatMap((row) => row.samples.map((sample) => sample.prompt))))];
    node.hidden = known.length === 0;
    if (known.length > 0) draw();
  }

  function draw() {
    if (!known.includes(prompt)) prompt = known[0];
    const written = runs.map(({ name, samples }) => [name, continuations(samples, prompt)])
      .filter(([, found]) => found.length > 0);
    const all = new Set(written.flatMap(([, found]) => found.map(({ step }) => step)));
    const ordered = [...all].sort((a, b) => b - a);
    // A step that was chosen may have been thinned out, or undone, since.
    const step = chosen === null ? ordered[0] : nearest(ordered, chosen);
    offer(prompts, known.map((text, i) => [i, title(text)]), known.indexOf(prompt));
    offer(steps, ordered.map((at) => [at, number(at)]), ordered.indexOf(step));
    const sides = written.map(([name, found]) => {
      const at = nearest(found.map((row) => row.step), step);
      const place = `${runs.length > 1 ? name + ", " : ""}step ${number(at)}`;
      return [place, found.find((row) => row.step === at).text];
    });
    // What is the same stays, with its focus and with what is marked in it.
    const now = JSON.stringify([prompt, sides]);
    if (now === drawn) return;
    drawn = now;
    texts.replaceChildren(...sides.map(([place, text]) =>
      element("section", {}, element("h3", {}, place),
        element("pre", { dir: "auto", tabindex: 0, "aria-label": `Sample: ${place}` },
          element("b", {}, prompt), text))));
  }

  function told() {
    say(`Samples: ${[...texts.querySelectorAll("h3")].map((e) => e.textContent).join("; ")}.`);
  }
}

function title(prompt) {
  if (prompt === "") return "(no prompt)";
  const characters = [...prompt];
  return characters.length > TITLE ? characters.slice(0, TITLE).join("") + "…" : prompt;
}

function continuations(samples, prompt) {
  return samples.flatMap(({ step, samples: row }) => row
    .filter((sample) => sample.prompt === prompt).map(({ text }) => ({ step, text })));
}

function nearest(steps, wanted) {
  return steps.reduce((best, step) =>
    Math.abs(step - wanted) < Math.abs(best - wanted) ? step : best);
}

// Other options only where they differ: a list that is open stays open.
function offer(control, options, index) {
  const same = control.length === options.length && options.every(([value, label], i) =>
    control.options[i].value === String(value) && control.options[i].textContent === shown(label));
  if (!same)
    control.replaceChildren(...options.map(([value, label]) =>
      element("option", { value }, label)));
  control.selectedIndex = index;
}
