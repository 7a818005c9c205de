// Two documents side by side, their words aligned and the differences marked.

import { api, element, number, route, say, shown } from "./dom.js";

// Words as Python's str.split() cuts them, which the server counts by.
const SPACE = /([\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+)/;

export async function compare(body, parameters, { signal }) {
  const places = [parameters.get("a"), parameters.get("b")];
  const found = await api("compare", { a: places[0], b: places[1] }, signal);
  const sides = [[found.left, 1, "del"], [found.right, 3, "ins"]];
  const changes = found.operations.filter(([name]) => name !== "equal");
  const same = found.operations.reduce((sum, [name, from, to]) =>
    sum + (name === "equal" ? to - from : 0), 0);
  body.append(
    element("p", {}, `Differences: ${number(changes.length)}; `,
      `words that are the same: ${number(same)}. `,
      element("del", {}, "Only on the left"), " is struck through, ",
      element("ins", {}, "only on the right"), " is underlined."),
    element("div", { class: "sides" }, sides.map(([side, at, mark], i) => {
      const [subset, part, row] = cutPlace(places[i]);
      const text = element("pre", { class: "text", dir: "auto", tabindex: 0,
        "aria-label": i === 0 ? "Left text" : "Right text" });
      text.append(...words(side.text, found.operations, at, mark));
      return element("section", {}, element("h2", {}, i === 0 ? "Left: " : "Right: ",
        element("a", { href: route("document", { subset, part, row }) },
          element("bdi", {}, side.id))), text);
    })));
  say(`Differences: ${changes.length}.`);
}

// SUBSET:PART:ROW, where the subset's name may have colons.
function cutPlace(place) {
  const cuts = (place || "").split(":");
  return [cuts.slice(0, -2).join(":"), cuts.at(-2), cuts.at(-1)];
}

// Word i is pieces[2 * i], and the white space after it the piece that follows.
function words(text, operations, at, mark) {
  const pieces = text.split(SPACE);
  // A text that begins with white space begins with an empty piece, which is no word.
  const lead = pieces[0] === "" ? pieces.slice(0, 2).join("") : "";
  if (pieces[0] === "") pieces.splice(0, 2);
  const nodes = lead ? [shown(lead)] : [];
  for (const operation of operations) {
    const [name, from, to] = [operation[0], operation[at], operation[at + 1]];
    if (from === to) continue;
    const run = pieces.slice(2 * from, 2 * to - 1).join("");
    const after = pieces[2 * to - 1] || "";
    nodes.push(name === "equal" ? shown(run) : element(mark, {}, run), shown(after));
  }
  return nodes;
}
