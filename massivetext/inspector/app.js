// Routes of the page: the part of the address after # says which view, of what.

import { api, element, say } from "./dom.js";
import { documents, move } from "./documents.js";
import { documentView } from "./document.js";
import { compare } from "./compare.js";
import { thresholds } from "./thresholds.js";
import { training } from "./training.js";

const VIEWS = {
  documents: ["Documents", documents],
  document: ["Document", documentView],
  compare: ["Two documents compared", compare],
  thresholds: ["Thresholds", thresholds],
  training: ["Training", training],
};
const content = document.getElementById("content");
let summary = null;
let leave = new AbortController();

async function start() {
  try {
    summary = await api("summary");
  } catch (error) {
    fail(error);
    return;
  }
  document.getElementById("name").textContent = `Inspector of ${summary.name}`;
  if (summary.missing.length > 0) {
    document.getElementById("missing").append(element("div", { class: "missing", role: "note" },
      element("p", {}, element("strong", {}, "Not everything is here."),
        " What there is, is shown."),
      element("ul", {}, summary.missing.map((line) => element("li", {}, line)))));
  }
  window.addEventListener("hashchange", show);
  show();
}

async function show() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  // A folder of a training run alone has no documents to begin with.
  const home = Object.keys(summary.subsets).length > 0 ? "documents" : "training";
  const name = Object.hasOwn(VIEWS, path) ? path : home;
  const [title, view] = VIEWS[name];
  // Whatever the view before still waits for, or repeats, ends here.
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const heading = element("h1", { tabindex: -1 }, title);
  const body = element("div", { class: "view" });
  const first = content.querySelector("h1") === null;
  content.replaceChildren(heading, body);
  document.title = `${title} · ${summary.name} · massivetext inspect`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#/${name}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  say("");
  // A new view is read from its heading, as a new page would be.
  if (!first) heading.focus();
  try {
    await view(body, new URLSearchParams(query || ""), { summary, signal, heading });
  } catch (error) {
    if (!signal.aborted) fail(error, body);
  }
}

function fail(error, place = content) {
  place.append(element("p", { class: "missing", role: "alert" }, error.message));
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
  content.scrollIntoView();
});

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (target.matches("input, select, textarea")) return;
  // Arrows scroll a text or a table; only within the list of documents do they move.
  const arrows = target.closest(".list tbody") !== null;
  if (key === "j" || (arrows && key === "ArrowDown")) move(1, event);
  else if (key === "k" || (arrows && key === "ArrowUp")) move(-1, event);
  else if (key === "n") content.querySelector("[data-key=n]")?.click();
  else if (key === "u") content.querySelector("[data-key=u]")?.click();
});

start();
