// Items as cards: picture or a tile of its own, sound, words, and what can be done with it.

import { load } from "./api.js";
import { h, hash, s } from "./dom.js";

const AGAIN = [3000, 15000]; // milliseconds after which a picture that did not come is asked for again
const HUES = [172, 28, 262, 338, 205, 96, 48, 300];

export const titleOf = (item, place) => item?.title ?? place?.title ?? `Item ${item?.id ?? place?.id}`;

/** The words of an item: kinds such as genres, and the rest. */
export function wordsOf(item) {
  const [, kinds, ...rest] = Object.values(item?.fields ?? {});
  const clean = (text) => [...new Set((text ?? "").split(/\s*\|\s*/).filter(Boolean))];
  return { kinds: clean(kinds).slice(0, 4).join(" · "), rest: rest.map((text) => clean(text).join(", ")).filter(Boolean) };
}

/** A small constellation in place of a picture, the same for the same item; its colour is that of its kind. */
function tile(item, id) {
  const hue = HUES[hash(wordsOf(item).kinds.split(" · ")[0] || "") % HUES.length];
  let seed = hash(id);
  const next = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const nodes = Array.from({ length: 7 }, () => [12 + 76 * next(), 12 + 76 * next(), 2 + 5 * next()]);
  const lines = nodes.slice(1).map(([x, y], place) => s("line", { x1: nodes[place][0], y1: nodes[place][1], x2: x, y2: y }));
  const art = s("svg", { class: "tile", viewBox: "0 0 100 100", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    lines, nodes.map(([cx, cy, r]) => s("circle", { cx, cy, r })));
  art.style.setProperty("--hue", hue);
  return art;
}

/** The picture of an item, on itself blurred; a tile where there is none or it cannot be shown. */
export function cover(item, id) {
  const frame = h("div", { class: "cover" });
  if (item?.media.includes("image")) picture(frame, item, id, AGAIN);
  else frame.append(tile(item, id));
  return frame;
}

function picture(frame, item, id, [wait, ...later]) {
  let failed = false; // both layers tell of it
  const fallBack = () => {
    if (failed) return;
    failed = true;
    frame.replaceChildren(tile(item, id));
    if (wait) setTimeout(() => frame.isConnected && picture(frame, item, id, later), wait);
  };
  frame.replaceChildren(...["back", "front"].map((layer) => {
    const image = h("img", { class: layer, alt: "", loading: "lazy", decoding: "async", onerror: fallBack });
    load(image, id, "image");
    return image;
  }));
}

export function player(item, id, title) {
  if (!item?.media.includes("audio")) return null;
  const sound = h("audio", { controls: true, preload: "none", "aria-label": `Listen to ${title}` });
  sound.addEventListener("play", () => {
    document.querySelectorAll("audio").forEach((other) => other !== sound && other.pause());
  });
  load(sound, id, "audio");
  return sound;
}

/** place: {id, rank, title}; extras: {note, was, actions: [[label, function]…]}. */
export function card(item, place, { note, was, actions = [] } = {}) {
  const title = titleOf(item, place);
  const { kinds, rest } = wordsOf(item);
  const moved = was && was !== place.rank;
  return h("li", { class: "card", "data-id": place.id },
    cover(item, place.id),
    place.rank && h("p", { class: "rank" },
      h("span", { class: "unseen" }, "Rank "), String(place.rank),
      moved && h("span", { class: was > place.rank ? "up" : "down", title: `was ${was}` },
        h("span", { "aria-hidden": "true" }, was > place.rank ? ` ▲${was - place.rank}` : ` ▼${place.rank - was}`),
        h("span", { class: "unseen" }, `, was ${was}`))),
    h("div", { class: "words" },
      h("h3", { title }, title),
      kinds && h("p", { class: "kinds" }, kinds),
      rest.length > 0 && h("p", { class: "rest" }, rest.join(" · ")),
      note && h("p", { class: "note" }, note)),
    player(item, place.id, title),
    actions.length > 0 && h("div", { class: "actions" },
      actions.map(([label, act]) => h("button", { type: "button", "aria-label": `${label}: ${title}`, onclick: act }, label))));
}

/** Cards that are still to come. */
export const skeleton = (count) =>
  h("ul", { class: "cards", "aria-hidden": "true" }, Array.from({ length: count }, () => h("li", { class: "card empty" })));
