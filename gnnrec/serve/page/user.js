// The first view: what a user gets, what she had, and how the list changes when other things count.

import { ask, itemsAtHand, itemsOf } from "./api.js";
import { card, skeleton, titleOf } from "./cards.js";
import { failure, h, notice, plural, say, still } from "./dom.js";
import { picker } from "./picker.js";
import { NEUTRAL, reorder } from "./rerank.js";
import { sliders } from "./sliders.js";
import { showItem, showSimilar } from "./why.js";

const SHOWN = 10;
const HISTORY = 20;
const WAIT = 3000; // milliseconds until pictures and words that could not be had are asked for again

export function showUser(main, state, user) {
  const stop = new AbortController();
  const lists = h("div", { class: "lists" });
  const had = h("section", { "aria-label": "History" }); // empty for a user whom nobody knows
  const tune = h("aside", { class: "tune", "aria-label": "What counts" });
  const heading = h("h1", { id: "best" }, user ? `For user ${user}` : "Recommendations");
  main.replaceChildren(
    h("div", { class: "bar" }, heading, picker(user)),
    h("div", { class: "with-side" }, h("section", { "aria-labelledby": "best" }, lists), tune),
    had);
  if (user) showLists(lists, tune, state, user, stop.signal).then((shown) => shown && showHistory(had, user, stop.signal));
  else first(lists, stop.signal);
  return () => stop.abort();
}

/** Without a user in the address: the first one there is. */
async function first(lists, signal) {
  lists.replaceChildren(skeleton(SHOWN));
  try {
    const [user] = (await ask("/users", { k: 1 }, { signal })).users;
    if (user) location.replace(`#/user/${encodeURIComponent(user.id)}`);
    else lists.replaceChildren(notice("This run knows nobody."));
  } catch (error) {
    if (error.name !== "AbortError") lists.replaceChildren(failure(error, () => first(lists, signal)));
  }
}

async function showLists(lists, tune, state, user, signal) {
  lists.replaceChildren(skeleton(SHOWN));
  lists.setAttribute("aria-busy", "true");
  try {
    const mine = await ask("/candidates", { user }, { signal });
    await itemsAtHand(mine.items.slice(0, 3 * SHOWN).map((place) => place.id));
    const columns = [{ name: state.run, compared: false, found: mine, order: [], list: h("ul", { class: "cards" }) }];
    const own = mine.items.map((place) => place.score); // the best first
    let weights = NEUTRAL;
    let later;
    const draw = async (spoken) => {
      clearTimeout(later);
      for (const column of columns) column.order = reorder(column.found, weights).slice(0, SHOWN);
      const shown = columns.flatMap(({ found, order }) => order.map((place) => found.items[place].id));
      const items = await itemsAtHand(shown);
      if (signal.aborted) return;
      columns.forEach((column) => arrange(column, columns, items, user));
      if (!shown.every((id) => items.has(id))) later = setTimeout(() => signal.aborted || draw(false), WAIT);
      const [top] = columns[0].order;
      if (spoken && top !== undefined) say(`New order. First is ${titleOf(null, mine.items[top])}.`);
    };
    const compare = async (on) => {
      columns.length = 1;
      if (on) columns.push(await second(state, user, signal));
      lists.classList.toggle("two", on);
      lists.replaceChildren(...columns.map((column) => framed(column, on)));
      await draw(false);
      if (on) say(`${state.run} and ${state.compared} side by side.`);
    };
    const byWords = async (on) => {
      const told = await inWords(mine, own, user, on, signal);
      await draw(on && !told);
      return told;
    };
    const more = { compare: state.compared && compare, byWords: state.rerank && byWords };
    tune.replaceChildren(sliders(mine, (changed) => ((weights = changed), draw(true)), more));
    await compare(false);
    if (!mine.items.length) lists.replaceChildren(notice("Nothing is left to recommend to this user."));
    say(`${plural(Math.min(SHOWN, mine.items.length), "recommendation")} for user ${user}.`);
    return true;
  } catch (error) {
    if (error.name !== "AbortError") lists.replaceChildren(failure(error, () => showLists(lists, tune, state, user, signal)));
    return false;
  } finally {
    lists.removeAttribute("aria-busy");
  }
}

/** Give the candidates, in the order of the language model, the run's scores in their order: what the sliders add to.
 *  Says why, where the model had no say. */
async function inWords(mine, own, user, on, signal) {
  const wanted = { user, k: Math.max(own.length, 1), rerank: true };
  const { items, rerank } = on ? await ask("/recommend", wanted, { signal }) : { items: mine.items, rerank: null };
  const score = new Map(items.map((place, row) => [place.id, own[row]]));
  mine.items.forEach((place, row) => (place.score = (on && score.get(place.id)) ?? own[row]));
  return rerank && !rerank.applied ? `The graph’s own order: ${rerank.reason}.` : null;
}

async function second(state, user, signal) {
  const column = { name: state.compared, compared: true, order: [], list: h("ul", { class: "cards" }) };
  try {
    column.found = await ask("/candidates", { user, compared: true }, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    column.found = { items: [], alike: null };
    column.error = error;
  }
  return column;
}

const framed = ({ name, list, error }, named) =>
  h("div", { class: "column" }, h("h2", { class: named ? null : "unseen" }, name), error ? failure(error) : list);

/** Put the cards of a column in their order; those that stay move there. */
function arrange({ name, compared, found, order, list }, columns, items, user) {
  const before = new Map([...list.children].map((child) => [child.dataset.id, child.getBoundingClientRect()]));
  const other = columns.find((column) => column.list !== list);
  const cards = order.map((place, row) => {
    const candidate = found.items[place];
    const by = { compared, run: other && name, title: candidate.title };
    const there = other && other.order.findIndex((theirs) => other.found.items[theirs].id === candidate.id) + 1;
    return card(items.get(candidate.id), { ...candidate, rank: row + 1 }, {
      was: candidate.rank,
      note: other && (there ? `${other.name}: rank ${there}` : `not in the list of ${other.name}`),
      actions: [["Why", () => showItem(candidate.id, user, by)], ["Similar", () => showSimilar(candidate.id, by)]],
    });
  });
  list.replaceChildren(...cards);
  if (still()) return;
  for (const element of cards) {
    const from = before.get(element.dataset.id);
    const to = element.getBoundingClientRect();
    if (!from || (from.x === to.x && from.y === to.y)) continue;
    const frames = [{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)` }, { transform: "none" }];
    element.animate(frames, { duration: 260, easing: "ease-out" });
  }
}

async function showHistory(had, user, signal) {
  had.replaceChildren(h("h2", {}, "History"), skeleton(5));
  try {
    const { items } = await ask("/history", { user, k: HISTORY }, { signal });
    const known = await itemsOf(items.map((item) => item.id));
    const cards = items.map((item) =>
      card(known.get(item.id), item, {
        note: item.rating === null ? null : `rated ${item.rating}`,
        actions: [["Similar", () => showSimilar(item.id)]],
      }));
    had.replaceChildren(
      h("h2", {}, items.length < HISTORY ? "History" : `History: the last ${HISTORY}`),
      items.length
        ? h("ul", { class: "cards strip" }, cards)
        : notice("Nothing is known of what this user had; the list is what most people like."));
  } catch (error) {
    if (error.name !== "AbortError") had.replaceChildren(failure(error, () => showHistory(had, user, signal)));
  }
}
