// One item: what it is, why a user gets it, and what is like it.

import { ask, itemsAtHand } from "./api.js";
import { card, cover, player, titleOf } from "./cards.js";
import { failure, h, notice, openDialog, plural, s, say } from "./dom.js";
import { nameOf } from "./sliders.js";

const PATHS = 5; // pieces of evidence that are drawn
const ONE = { compared: false, run: null, title: null };

/** What is asked of a run: of two that are shown, `by` has whether it is the second one, its name, and its title of the item. */
const asked = ({ compared }, query) => (compared ? { ...query, compared } : query);
const named = ({ run }) => (run ? ` from ${run}` : "");

/** The dialog of an item; with a user also why she gets it, by one of the runs. */
export async function showItem(id, user, by = ONE) {
  const item = (await itemsAtHand([id])).get(id);
  const title = titleOf(item, { id, title: by.title });
  const reasons = h("section", { class: "reasons", "aria-label": "Why", "aria-live": "polite" });
  openDialog(title, h("div", { class: "item" },
    cover(item, id),
    h("dl", {},
      Object.entries(item?.fields ?? {}).slice(1).filter(([, text]) => text).flatMap(([name, text]) =>
        [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, text.split(/\s*\|\s*/).join(", "))]),
      item && [h("dt", {}, "in the log"), h("dd", {}, plural(item.interactions, "time"))]),
    player(item, id, title)),
    user && reasons,
    h("div", { class: "actions" },
      h("button", { type: "button", onclick: () => showSimilar(id, by) }, "What is like it")));
  if (user) fill(reasons, id, user, by);
}

async function fill(reasons, id, user, by) {
  reasons.replaceChildren(h("p", { class: "waiting" }, "Taking the evidence out of the graph, piece by piece…"));
  try {
    const found = await ask("/explain", asked(by, { user, item: id }));
    const pieces = found.evidence.filter((piece) => piece.drop > 0).slice(0, PATHS);
    reasons.replaceChildren(
      h("h3", {}, `Why user ${user} gets it${named(by)}`),
      found.had ? notice("This user has had it; here is what else speaks for it.") : "",
      found.explanation.length
        ? h("ul", { class: "sentences" }, found.explanation.map(({ text }) => h("li", {}, text)))
        : notice("Nothing that can be shown in the graph speaks for it."),
      pieces.length ? evidenceGraph(pieces, user, found.title, reasons.clientWidth) : "",
      ways(found.paths),
      shares(found.modalities),
      table(found.evidence));
  } catch (error) {
    reasons.replaceChildren(failure(error, () => fill(reasons, id, user, by)));
  }
}

/** How a piece of evidence reaches the item. */
function link(piece) {
  if (piece.kind === "content") return "its own content";
  if (piece.kind === "friend") return "a friend who had it";
  const parts = Object.entries(piece.alike ?? {}).map(([modality, cosine]) => `${nameOf(modality).toLowerCase()} alike, ${cosine.toFixed(2)}`);
  if (piece.users_with_both) parts.unshift(`${plural(piece.users_with_both, "user")} had both`);
  return parts.join("; ") || "by way of others";
}

const nameOfPiece = (piece) =>
  piece.title ?? (piece.kind === "content" ? `Its ${nameOf(piece.id).toLowerCase()}` : piece.id.replace(":", " "));

const ruler = document.createElement("canvas").getContext("2d");

/** As much of a text as fits into so many pixels. */
function fit(text, space, size) {
  ruler.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  const wide = (length) => ruler.measureText(`${text.slice(0, length).trimEnd()}…`).width > space;
  if (ruler.measureText(text).width <= space) return text;
  let length = text.length - 1;
  while (length > 1 && wide(length)) length--;
  return `${text.slice(0, length).trimEnd()}…`;
}

/** User -> pieces -> item; a line is as thick as the score falls without its piece. */
function evidenceGraph(pieces, user, title, space) {
  const width = Math.max(Math.min(space || 600, 740), 270);
  const row = 62;
  const height = row * pieces.length + 16;
  const narrow = width < 420;
  const [side, gap] = narrow ? [46, 16] : [width < 600 ? 110 : 160, 40];
  const box = width - 2 * side - 2 * gap;
  const most = Math.max(...pieces.map((piece) => piece.drop));
  const [left, right, middle] = [side, width - side, height / 2];
  const line = (x1, y1, x2, y2, piece) => s("path", {
    d: `M${x1} ${y1} C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`,
    class: `edge ${piece.kind}`, "stroke-width": (1.2 + (5 * piece.drop) / most).toFixed(1),
  });
  const lines = [];
  const boxes = pieces.map((piece, place) => {
    const y = 8 + row * (place + 0.5);
    if (piece.kind !== "content") lines.push(line(left, middle, left + gap, y, piece));
    lines.push(line(left + gap + box, y, right, middle, piece));
    return s("g", { class: `node ${piece.kind}` },
      s("rect", { x: left + gap, y: y - 24, width: box, height: 48, rx: 10 }),
      s("text", { x: left + gap + 10, y: y - 4 }, fit(nameOfPiece(piece), box - 20, 13)),
      s("text", { x: left + gap + 10, y: y + 13, class: "small" }, fit(link(piece), box - 20, 11.5)));
  });
  const end = (x, text, kind) => s("g", { class: `node ${kind}` },
    s("rect", { x, y: middle - 22, width: side, height: 44, rx: 22 }),
    s("text", { x: x + side / 2, y: middle + 4, "text-anchor": "middle" }, fit(text, side - 14, 14)));
  const told = `User ${user}, then ${pieces.map(nameOfPiece).join(", ")}, then ${title}. The table below says the same.`;
  return s("svg", { class: "evidence", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": told },
    lines, boxes, end(0, narrow ? user : `User ${user}`, "end"), end(right, narrow ? "it" : title, "end"));
}

function bar(label, share, said) {
  const filling = h("span", { class: "filling" });
  filling.style.width = `${Math.round(100 * share)}%`;
  return h("div", { class: "bar-row" }, h("span", {}, label), h("span", { class: "track" }, filling), h("span", { class: "value" }, said));
}

/** How far the score falls without all paths of a kind, beside the kind that counts most. */
function ways(paths) {
  const most = Math.max(0, ...paths.map(({ drop }) => drop));
  if (!most) return "";
  return h("div", { class: "shares" }, h("h3", {}, "Which ways lead to it"),
    h("div", { class: "share" }, paths.map(({ path, drop }) => bar(way(path), Math.max(drop, 0) / most, drop.toFixed(2)))));
}

function way(path) {
  if (path[1] === "user") return "friends who had it";
  const last = path.at(-2);
  if (last === "user") return "others who had it";
  return last === "item" ? "had together with it" : `alike in ${nameOf(last).toLowerCase()}`;
}

/** Of each modality its weight in the fusion, and its share of what content adds to this score; none where none counts. */
function shares(modalities) {
  const counts = ({ attention, drop_share }) => attention !== undefined || drop_share > 0;
  const names = Object.keys(modalities).filter(() => Object.values(modalities).some(counts));
  if (!names.length) return "";
  const part = (label, share) => bar(label, share, `${Math.round(100 * share)} %`);
  return h("div", { class: "shares" }, h("h3", {}, "How much its content counts"),
    names.map((name) => h("div", { class: "share" }, h("h4", {}, nameOf(name)),
      modalities[name].attention !== undefined && part("weight in the item", modalities[name].attention),
      part("of what content adds here", modalities[name].drop_share))));
}

function table(evidence) {
  return h("details", {}, h("summary", {}, `All evidence (${evidence.length})`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "All evidence" },
      h("table", {},
        h("thead", {}, h("tr", {}, ["Piece", "How it reaches the item"].map((name) => h("th", { scope: "col" }, name)),
          h("th", { scope: "col", class: "number" }, "Score falls by"))),
        h("tbody", {}, evidence.map((piece) =>
          h("tr", {}, h("td", {}, nameOfPiece(piece)), h("td", {}, link(piece)), h("td", { class: "number" }, piece.drop.toFixed(3))))))));
}

export async function showSimilar(id, by = ONE) {
  const title = titleOf((await itemsAtHand([id])).get(id), { id, title: by.title });
  const list = h("div", { "aria-live": "polite" }, h("p", { class: "waiting" }, "Looking around…"));
  openDialog(`Like ${title}${by.run ? `, by ${by.run}` : ""}`, list);
  try {
    const { items } = await ask("/similar", asked(by, { item: id, k: 12 }));
    const known = await itemsAtHand(items.map((item) => item.id));
    list.replaceChildren(h("ul", { class: "cards" }, items.map((place) =>
      card(known.get(place.id), place, { actions: [["Similar", () => showSimilar(place.id, { ...by, title: place.title })]] }))));
    say(`${plural(items.length, "item")} like ${title}.`);
  } catch (error) {
    list.replaceChildren(failure(error, () => showSimilar(id, by)));
  }
}
