// Training runs: curves drawn from the trainer's logs, which are read on while they grow.

import { api, button, element, labelled, measure, number, say, select, table } from "./dom.js";
import { chart } from "./chart.js";
import { samplesSection, thinned as fewerSamples } from "./samples.js";

const POLL = 2000; // milliseconds
const POINTS = 4000; // more steps than this are thinned to half
const SHOWN_SPEEDS = 200; // steps that the median speed is of
const AXES = [["step", "steps"], ["tokens", "tokens"]];

export async function training(body, parameters, { summary, signal }) {
  const runs = await Promise.all(summary.runs.map((name) => read(name, signal)));
  let waiting = true;
  const curves = element("div", { class: "curves" });
  const figures = element("div", {});
  const samples = samplesSection();
  const along = select(AXES, "step");
  along.addEventListener("change", draw);
  const pause = button("Pause", () => {
    waiting = !waiting;
    pause.textContent = waiting ? "Pause" : "Go on";
    say(waiting ? "Live again." : "Paused.");
  });
  body.append(element("div", { class: "filters" }, labelled("Curves along", along), pause,
    element("p", { class: "note" }, "Read anew every two seconds while a trainer writes.")),
  curves, samples.node, figures);
  draw();
  const reached = runs.filter(({ steps }) => steps.length > 0).map(({ name, steps }) =>
    `${runs.length > 1 ? name + " " : ""}at step ${number(steps.at(-1).step)}`);
  say(reached.length > 0 ? `Training ${reached.join(", ")}.` : "");
  for (;;) {
    await pausing(POLL, signal);
    if (signal.aborted) return;
    if (!waiting) continue;
    const news = await Promise.all(runs.map((run) => follow(run, signal)));
    if (news.includes(true)) draw();
  }

  function draw() {
    samples.show(runs);
    const begun = runs.filter(({ steps, evaluations }) => steps.length + evaluations.length > 0);
    if (begun.length === 0) {
      figures.replaceChildren(element("p", {}, "The trainer has not written anything yet."));
      curves.replaceChildren();
      return;
    }
    figures.replaceChildren(numbers(begun), ...spikes(begun));
    curves.replaceChildren(...charts(begun, along.value));
  }
}

async function read(name, signal) {
  return { name, ...await api("run", { run: name }, signal) };
}

// Reads on in a run's log; returns whether it has anything new.
async function follow(run, signal) {
  const next = await api("run", { run: run.name, from: run.size }, signal);
  if (next.size === run.size) return false;
  if (next.size < run.size) {
    // A run that continues from a checkpoint cuts its log back to it.
    Object.assign(run, await read(run.name, signal));
    return true;
  }
  // What a spike undid goes from the curves, as it has gone from the run.
  const last = Math.min(...next.rewinds.map(({ to }) => to));
  const stays = ({ step }) => step <= last;
  run.steps = thinned([...run.steps.filter(stays), ...next.steps]);
  run.evaluations = [...run.evaluations.filter(stays), ...next.evaluations];
  run.samples = fewerSamples([...run.samples.filter(stays), ...next.samples]);
  run.rewinds = [...run.rewinds, ...next.rewinds];
  run.size = next.size;
  return true;
}

function pausing(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

function thinned(steps) {
  if (steps.length <= POINTS) return steps;
  return steps.filter((_, i) => i % 2 === 0 || i === steps.length - 1);
}

function charts(runs, axis) {
  const several = runs.length > 1;
  const points = (rows, value) => rows.map((row) => [row[axis], value(row)])
    .filter((point) => point.every((number) => typeof number === "number"));
  const of = (value) => runs.map(({ name, steps }) => [several ? name : "", points(steps, value)]);
  const bits = (run, subset) => points(run.evaluations, (row) => row.bits_per_byte[subset]);
  const subsets = [...new Set(runs.flatMap(({ evaluations }) =>
    evaluations.flatMap((row) => Object.keys(row.bits_per_byte))))].sort();
  const held = "Bits per byte of held-out text";
  const evaluated = several ?
    subsets.map((subset) => chart(`${held}: ${subset}`,
      runs.map((run) => [run.name, bits(run, subset)]), axis)) :
    [chart(held, subsets.map((subset) => [subset, bits(runs[0], subset)]), axis)];
  return [
    chart("Loss (nats per token)", of((row) => row.loss), axis),
    ...evaluated,
    chart("Learning rate", of((row) => row.learning_rate), axis),
    chart("Throughput (tokens per second)", runs.map(({ name, steps }) =>
      [several ? name : "", throughput(steps).map(([row, speed]) => [row[axis], speed])]), axis),
    chart("Norm of the gradient", of((row) => row.gradient_norm), axis),
  ];
}

// A step's time is its own, but thinned steps are further apart: tokens are taken per step.
function throughput(steps) {
  const speeds = [];
  for (let i = 1; i < steps.length; i++) {
    const [before, now] = [steps[i - 1], steps[i]];
    const tokens = (now.tokens - before.tokens) / (now.step - before.step);
    if (tokens > 0 && now.milliseconds > 0)
      speeds.push([now, 1000 * tokens / now.milliseconds]);
  }
  return speeds;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function numbers(runs) {
  const last = ({ steps }) => steps.at(-1) || {};
  const rate = ({ steps }) => {
    const recent = throughput(steps).slice(-SHOWN_SPEEDS).map(([, speed]) => speed);
    return recent.length > 0 ? number(median(recent)) : "–";
  };
  const bits = (run) => run.evaluations.at(-1)?.bits_per_byte || {};
  const subsets = [...new Set(runs.flatMap((run) => Object.keys(bits(run))))].sort();
  const rows = [["step", "", (run) => number(last(run).step)],
    ["tokens", "", (run) => number(last(run).tokens)],
    ["loss", "nats per token", (run) => measure(last(run).loss)],
    ["learning rate", "", (run) => measure(last(run).learning_rate)],
    ["throughput", "tokens per second", rate],
    ["updates skipped: not finite", "", (run) => number(last(run).skipped)],
    ["spikes that it went back from", "", (run) => number(run.rewinds.length)],
    ...subsets.map((name) =>
      [`bits per byte: ${name}`, "bits per byte", (run) => measure(bits(run)[name])])];
  const names = runs.map(({ name }) => [runs.length > 1 ? name : "value", "number"]);
  return table("Last numbers", [["", ""], ...names, ["unit", ""]],
    rows.map(([title, unit, value]) => [title, ...runs.map(value), unit]));
}

function spikes(runs) {
  const rows = runs.flatMap(({ name, rewinds }) => rewinds.map(({ step, loss, to, records }) =>
    [name, number(step), measure(loss), number(to),
      (records || []).map((at, i) => number(at - i)).join(" to ")]));
  if (rows.length === 0) return [];
  return [table("Spikes of the loss: where a run went back, and what it left out", [["run", ""],
    ["at step", "number"], ["loss", "number"], ["back to step", "number"],
    ["records left out", "number"]], rows)];
}
