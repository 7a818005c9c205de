// The training run: curves drawn from the trainer's log, which is read on while it grows.

import { api, button, element, measure, number, say, table } from "./dom.js";
import { chart } from "./chart.js";

const POLL = 2000; // milliseconds
const POINTS = 4000; // more steps than this are thinned to half
const SHOWN_SPEEDS = 200; // steps that the median speed is of

export async function training(body, parameters, { signal }) {
  let run = await api("run", {}, signal);
  let { steps, evaluations } = run;
  let waiting = true;
  const curves = element("div", { class: "curves" });
  const figures = element("div", {});
  const pause = button("Pause", () => {
    waiting = !waiting;
    pause.textContent = waiting ? "Pause" : "Go on";
    say(waiting ? "Live again." : "Paused.");
  });
  body.append(element("p", {}, "Read anew every two seconds while the trainer writes. ", pause),
    curves, figures);
  draw();
  say(run.present ? `Training at step ${number(steps.at(-1)?.step ?? 0)}.` : "");
  for (;;) {
    await pausing(POLL, signal);
    if (signal.aborted) return;
    if (!waiting) continue;
    const next = await api("run", { from: run.size }, signal);
    if (next.size === run.size) continue;
    if (next.size < run.size) {
      // A run that continues from a checkpoint cuts its log back to it.
      run = await api("run", {}, signal);
      ({ steps, evaluations } = run);
    } else {
      steps = thinned([...steps, ...next.steps]);
      evaluations = [...evaluations, ...next.evaluations];
      run = next;
    }
    draw();
  }

  function draw() {
    if (steps.length === 0 && evaluations.length === 0) {
      figures.replaceChildren(element("p", {}, "The trainer has not written anything yet."));
      curves.replaceChildren();
      return;
    }
    const speeds = throughput(steps);
    figures.replaceChildren(numbers(steps, evaluations, speeds));
    const of = (key) => [["", steps.filter((row) => row[key] !== undefined && row[key] !== null)
      .map((row) => [row.step, row[key]])]];
    const subsets = [...new Set(evaluations.flatMap((row) => Object.keys(row.bits_per_byte)))];
    curves.replaceChildren(
      chart("Loss (nats per token)", of("loss")),
      chart("Bits per byte of held-out text", subsets.sort().map((name) => [name, evaluations
        .filter((row) => typeof row.bits_per_byte[name] === "number")
        .map((row) => [row.step, row.bits_per_byte[name]])])),
      chart("Learning rate", of("learning_rate")),
      chart("Throughput (tokens per second)", [["", speeds]]),
      chart("Norm of the gradient", of("gradient_norm")));
  }
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

// A step's time is its own, but thinned steps are further apart: tokens are taken per step.
function throughput(steps) {
  const speeds = [];
  for (let i = 1; i < steps.length; i++) {
    const [before, now] = [steps[i - 1], steps[i]];
    const tokens = (now.tokens - before.tokens) / (now.step - before.step);
    if (tokens > 0 && now.milliseconds > 0)
      speeds.push([now.step, 1000 * tokens / now.milliseconds]);
  }
  return speeds;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function numbers(steps, evaluations, speeds) {
  const last = steps.at(-1) || {};
  const recent = speeds.slice(-SHOWN_SPEEDS).map(([, speed]) => speed);
  const skipped = steps.reduce((sum, row) => sum + (row.skipped ? 1 : 0), 0);
  const rows = [["step", number(last.step), ""], ["tokens", number(last.tokens), ""],
    ["loss", measure(last.loss), "nats per token"],
    ["learning rate", measure(last.learning_rate), ""],
    ["throughput", recent.length ? number(median(recent)) : "–", "tokens per second"],
    ["steps skipped, of those drawn", number(skipped), ""],
    ...Object.entries(evaluations.at(-1)?.bits_per_byte || {}).map(
      ([name, value]) => [`bits per byte: ${name}`, measure(value), "bits per byte"])];
  return table("Last numbers", [["", ""], ["value", "number"], ["unit", ""]], rows);
}
