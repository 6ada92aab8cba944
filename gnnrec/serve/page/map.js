// A map of all items to wander in, and the same as a list for who does not point.

import { ask } from "./api.js";
import { titleOf } from "./cards.js";
import { failure, h, notice, plural, say, still } from "./dom.js";
import { Scatter } from "./scatter.js";
import { wander } from "./wander.js";
import { showItem } from "./why.js";

// Okabe & Ito's colours, which people with any kind of sight tell apart, and grey for all other kinds.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b5a800"];
const OTHER = "#8b949e";
const LISTED = 12;
const WAIT = 3000; // milliseconds until a better map is asked for

export function showMap(main) {
  const place = h("div", { "aria-busy": "true" }, h("p", { class: "waiting" }, "Laying the items out…"));
  main.replaceChildren(h("h1", {}, "Map"), place);
  const view = { stopped: false };
  fill(place, view);
  return () => {
    view.stopped = true;
    clearTimeout(view.timer);
    view.scatter?.free();
    view.watch?.disconnect();
  };
}

async function fill(place, view) {
  try {
    const found = await ask("/map");
    if (view.stopped) return;
    build(place, view, found);
    if (!found.settled) again(view, found);
  } catch (error) {
    if (!view.stopped) place.replaceChildren(failure(error, () => fill(place, view)));
  }
  place.removeAttribute("aria-busy");
}

/** Ask until the better map is there, and let the points go to where they are on it. */
function again(view, found) {
  view.timer = setTimeout(async () => {
    const better = await ask("/map").catch(() => null);
    if (view.stopped || !better) return;
    if (!better.settled) return again(view, found);
    view.note.textContent = noteOf(better);
    glide(view, positions(better));
  }, WAIT);
}

const positions = ({ x, y }) => Float32Array.from({ length: 2 * x.length }, (_, i) => (i % 2 ? y[i >> 1] : x[i >> 1]));

const noteOf = ({ method, settled, ids }) =>
  `${plural(ids.length, "item")}. ${method === "tsne" ? "What lies together is near in the model’s embeddings (t-SNE)." : "The two main directions of the embeddings (PCA)."}` +
  (settled ? "" : " A better map is being made…");

function glide(view, to) {
  const from = view.scatter ? view.scatter.points.slice() : view.points;
  view.points = to;
  if (!view.scatter || still()) return view.scatter?.set("position", to), view.list();
  const began = performance.now();
  const step = (now) => {
    if (view.stopped) return;
    const t = Math.min((now - began) / 900, 1);
    const eased = t * t * (3 - 2 * t);
    view.scatter.set("position", from.map((value, i) => value + (to[i] - value) * eased));
    if (t < 1) requestAnimationFrame(step);
    else view.scatter.whole(), view.list();
  };
  requestAnimationFrame(step);
}

function kindsOf(kinds) {
  const counts = new Map();
  for (const kind of kinds) if (kind) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLOURS.length).map(([kind]) => kind);
}

const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255);

function build(place, view, found) {
  const canvas = h("canvas", { tabindex: "0", role: "img",
    "aria-label": "Map of all items. Arrows move, plus and minus zoom, 0 shows the whole, Enter opens the item in the middle. The list beside it follows." });
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const frame = h("div", { class: "map-frame" }, canvas, h("span", { class: "cross", "aria-hidden": "true" }), tip);
  const search = h("input", { id: "map-search", type: "search", autocomplete: "off", placeholder: "Find a title", oninput: () => view.list() });
  const nearby = h("ol", { class: "nearby" });
  Object.assign(view, { found, points: positions(found), kinds: kindsOf(found.kinds), only: null, aimed: null });
  view.note = h("p", { class: "hint" }, noteOf(found));
  view.list = () => listed(view, nearby, search.value.trim().toLowerCase());
  view.aim = (i) => {
    if (view.aimed !== i) view.aimed = i, paint(view);
  };
  place.replaceChildren(view.note, h("div", { class: "map" },
    h("div", {}, frame, legend(view)),
    h("section", { "aria-labelledby": "nearby" },
      h("label", { for: "map-search", class: "unseen" }, "Find a title on the map"), search,
      h("h2", { id: "nearby" }, "In the middle"), nearby)));
  try {
    view.scatter = new Scatter(canvas);
  } catch {
    frame.replaceChildren(notice("This browser draws no WebGL; the list finds every title."));
    return view.list();
  }
  view.scatter.set("position", view.points);
  view.scatter.whole();
  paint(view);
  view.list();
  view.watch = new ResizeObserver(() => view.scatter.draw());
  view.watch.observe(canvas);
  wander(canvas, tip, view);
}

const colourOf = (view, i) => COLOURS[view.kinds.indexOf(view.found.kinds[i])] ?? OTHER;

/** Colours and sizes of the points: of all kinds, or of the one that was chosen. */
function paint(view) {
  if (!view.scatter) return;
  const { found, only, aimed } = view;
  const shown = (i) => only === null || found.kinds[i] === only;
  const all = found.ids.map((_, i) => i);
  view.scatter.set("colour", Float32Array.from(all.flatMap((i) => rgb(shown(i) ? colourOf(view, i) : OTHER))));
  view.scatter.set("size", Float32Array.from(all, (i) => (i === aimed ? 15 : only === null ? 5.5 : shown(i) ? 8 : 3)));
}

function swatch(colour) {
  const made = h("span", { class: "swatch" });
  made.style.background = colour;
  return made;
}

/** A button a kind: only that kind, or all again. */
function legend(view) {
  const list = h("ul", { class: "kinds-legend", "aria-label": "Show one kind" });
  list.append(...view.kinds.map((kind, place) => h("li", {}, h("button", { type: "button", "aria-pressed": "false", onclick: (event) => {
    view.only = view.only === kind ? null : kind;
    for (const button of list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button === event.currentTarget && view.only !== null));
    }
    paint(view);
  } }, swatch(COLOURS[place]), kind))));
  return list;
}

/** The items in the middle of what is seen, or those whose titles have some words. */
function listed(view, nearby, words) {
  const { found, scatter } = view;
  const all = found.ids.map((_, i) => i);
  const named = (i) => (found.titles[i] ?? found.ids[i]).toLowerCase().includes(words);
  const middle = () => (scatter ? scatter.near([scatter.camera.x, scatter.camera.y], LISTED).map(([i]) => i) : all);
  const rows = (words ? all.filter(named) : middle()).slice(0, LISTED);
  const show = (i) => {
    view.aim(i);
    if (words) scatter?.look(view.points[2 * i], view.points[2 * i + 1]); // it may be out of sight
  };
  nearby.replaceChildren(...rows.map((i) => h("li", {}, h("button", {
    type: "button", onclick: () => showItem(found.ids[i]), onfocus: () => show(i), onmouseenter: () => show(i),
  }, swatch(colourOf(view, i)), titleOf(null, { id: found.ids[i], title: found.titles[i] })))));
  document.getElementById("nearby").textContent = !words ? "In the middle" : rows.length ? "Found" : "Nothing by that title";
  if (words) say(`${plural(rows.length, "title")} found.`);
}
