// Curves as SVG: each with its own dash and its name at its end, not only its own colour.

import { element, measure, svg } from "./dom.js";

const WIDTH = 640;
const HEIGHT = 240;
const LEFT = 64;
const RIGHT = 128;
const TOP = 12;
const BOTTOM = 34;
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "1 4"];
const COLOURS = 6;
const NAME_HEIGHT = 14;

// Returns a figure; `curves` are [name, [[at, value], ...]], with places that rise along `axis`.
export function chart(caption, curves, axis = "step") {
  const kept = curves.map(([name, points]) =>
    [name, points.filter(([, value]) => Number.isFinite(value))])
    .filter(([, points]) => points.length > 0);
  const title = element("figcaption", {}, caption);
  if (kept.length === 0)
    return element("figure", {}, title, element("p", { class: "note" }, "Nothing yet."));
  const all = kept.flatMap(([, points]) => points);
  const [x0, x1] = extent(all.map(([x]) => x));
  const ticks = ticksOf(...extent(all.map(([, y]) => y)));
  const [y0, y1] = [ticks[0], ticks.at(-1)];
  const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * (value - x0) / (x1 - x0 || 1);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - y0) / (y1 - y0 || 1);

  const drawn = [];
  for (const tick of ticks) {
    const d = `M${LEFT} ${y(tick).toFixed(1)}H${WIDTH - RIGHT}`;
    drawn.push(svg("path", { class: "grid-line", d }),
      text(LEFT - 6, y(tick) + 4, measure(Number(tick.toPrecision(6))), "end"));
  }
  drawn.push(text(LEFT, HEIGHT - 16, `${axis} ${measure(x0)}`, "start"),
    text(WIDTH - RIGHT, HEIGHT - 16, measure(x1), "end"));
  kept.forEach(([, points], i) => drawn.push(svg("path", { class: `curve curve-${i % COLOURS}`,
    "stroke-dasharray": DASHES[i % DASHES.length] || null, d: path(points, x, y) })));
  drawn.push(...names(kept, y));
  const told = kept.map(([name, points]) => `${name ? name + " " : ""}from ` +
    `${measure(points[0][1])} to ${measure(points.at(-1)[1])}`).join("; ");
  const label = `${caption}, ${axis} ${x0} to ${x1}: ${told}`;
  return element("figure", {}, title,
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, drawn));
}

function extent(values) {
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
}

// Round numbers that enclose low and high, about five of them.
function ticksOf(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => span / n <= 5);
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function path(points, x, y) {
  const cut = points.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
  // A single point has no length: a short stroke shows it.
  return `M${cut.join("L")}${cut.length === 1 ? "h2" : ""}`;
}

function text(x, y, content, anchor) {
  return svg("text", { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor }, content);
}

// The names and last values of the curves at their ends, moved apart where they would collide.
function names(curves, y) {
  const ends = curves.map(([name, points], i) => ({ name, i, last: points.at(-1)[1],
    at: y(points.at(-1)[1]) + 4 })).sort((a, b) => a.at - b.at);
  for (let i = 1; i < ends.length; i++)
    ends[i].at = Math.max(ends[i].at, ends[i - 1].at + NAME_HEIGHT);
  const over = Math.max(0, (ends.at(-1)?.at ?? 0) - (HEIGHT - BOTTOM + NAME_HEIGHT));
  return ends.map(({ name, i, last, at }) => svg("text", { x: WIDTH - RIGHT + 6,
    y: (at - over).toFixed(1), class: `name-${i % COLOURS}` },
  `${short(name)} ${measure(last)}`.trim()));
}

// Runs are often named alike at the front and differ at the end.
function short(name) {
  return name.length > 12 ? `${name.slice(0, 5)}…${name.slice(-6)}` : name;
}
