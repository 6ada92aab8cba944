// Ask with a sentence in any language, a picture, a sound, or some of them together.

import { ask, itemsOf } from "./api.js";
import { card, skeleton } from "./cards.js";
import { failure, h, notice, plural, say } from "./dom.js";
import { nameOf } from "./sliders.js";
import { showItem, showSimilar } from "./why.js";

const KINDS = ["image", "audio"];
const HINTS = { image: "a picture", audio: "a sound" };
const query = { text: "", image: null, audio: null, toUsers: false }; // stays when one looks elsewhere
let changed = null; // tells the view, where it is shown, that something was dropped
let refusal = ""; // of what was dropped
let able = ["text", ...KINDS]; // what the run can take; all of it, as long as that is not known

export function showAsk(main, state) {
  if (state.asks) able = state.asks;
  for (const kind of KINDS.filter((name) => query[name] && !able.includes(name))) {
    refuse(query[kind].name, kind); // dropped before it was known what the run can take
    query[kind] = null;
  }
  if (!able.length) {
    main.replaceChildren(h("h1", {}, "Ask"),
      notice("This run cannot be asked by content: it has no encoder for any, or its model places nothing new."));
    return null;
  }
  const results = h("section", { "aria-label": "Answers", class: "found" });
  const chosen = h("div", { class: "chosen" });
  const refused = h("p", { class: "off" });
  const text = h("textarea", { id: "sentence", rows: 2, maxlength: 10000,
    placeholder: "What are you looking for?  ·  你想找什么？" });
  text.value = query.text;
  text.addEventListener("input", () => (query.text = text.value));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) event.preventDefault(), form.requestSubmit();
  });
  const whom = h("input", { type: "checkbox", id: "whom", onchange: () => (query.toUsers = whom.checked) });
  whom.checked = query.toUsers;
  const form = h("form", { class: "ask", onsubmit: (event) => (event.preventDefault(), find(results)) },
    able.includes("text") && [h("label", { for: "sentence" }, "A sentence"), text],
    h("div", { class: "files" }, KINDS.filter((kind) => able.includes(kind)).map((kind) =>
      h("label", { class: "drop" },
        h("span", {}, h("strong", {}, nameOf(kind)), " choose, or drop it anywhere"),
        h("input", { type: "file", id: `file-${kind}`, accept: `${kind}/*`, onchange: (event) => take(event.target.files) })))),
    chosen, refused,
    h("div", { class: "row" },
      h("button", { class: "main" }, "Find"),
      h("label", { class: "check" }, whom, "Whom would it be for?")));
  changed = () => (drawChosen(chosen), (refused.textContent = refusal));
  main.replaceChildren(h("h1", {}, "Ask"), form, results);
  changed();
  return () => (changed = null);
}

showAsk.dropped = (files) => take(files);

function take(files) {
  refusal = "";
  for (const file of files) {
    const kind = file.type.split("/")[0];
    if (KINDS.includes(kind) && able.includes(kind)) query[kind] = file, say(`${nameOf(kind)} ${file.name} is taken.`);
    else refuse(file.name, kind);
  }
  changed?.();
}

function refuse(name, kind) {
  refusal = KINDS.includes(kind) ? `This run cannot read ${HINTS[kind]}: ${name} is left out.`
    : `${name} is neither a picture nor a sound.`;
  say(refusal);
}

function drawChosen(chosen) {
  chosen.querySelectorAll("img, audio").forEach((element) => URL.revokeObjectURL(element.src));
  chosen.replaceChildren(...KINDS.filter((kind) => query[kind]).map((kind) => {
    const source = URL.createObjectURL(query[kind]);
    const preview = kind === "image" ? h("img", { alt: "The picture you chose", src: source })
      : h("audio", { controls: true, src: source, "aria-label": "The sound you chose" });
    const remove = () => {
      query[kind] = null;
      document.getElementById(`file-${kind}`).value = "";
      drawChosen(chosen);
    };
    return h("figure", {}, preview, h("figcaption", {}, query[kind].name,
      h("button", { type: "button", class: "quiet", "aria-label": `Remove ${query[kind].name}`, onclick: remove }, "✕")));
  }));
}

async function find(results) {
  const body = new FormData();
  if (able.includes("text") && query.text.trim()) body.set("text", query.text.trim());
  for (const kind of KINDS) if (query[kind]) body.set(kind, query[kind]);
  if (![...body.keys()].length) {
    results.replaceChildren(h("p", { class: "notice", role: "alert" }, wanted()));
    document.querySelector(".ask textarea, .ask input").focus();
    return;
  }
  body.set("k", "12");
  body.set("to_users", String(query.toUsers));
  results.setAttribute("aria-busy", "true");
  results.replaceChildren(h("h2", {}, "Looking…"), skeleton(6));
  try {
    const found = await ask("/recommend", {}, { method: "POST", body });
    results.replaceChildren(h("h2", {}, found.users ? "Whom to tell" : "Found"), await listed(found));
    say(`${plural((found.items ?? found.users).length, "answer")}.`);
  } catch (error) {
    results.replaceChildren(failure(error, () => find(results)));
  }
  results.removeAttribute("aria-busy");
}

/** What to give, as the run can take it: type something, or choose a picture or a sound. */
function wanted() {
  const files = KINDS.filter((kind) => able.includes(kind)).map((kind) => HINTS[kind]).join(" or ");
  const ways = [able.includes("text") && "type something", files && `choose ${files}`].filter(Boolean).join(", or ");
  return `${ways[0].toUpperCase()}${ways.slice(1)}.`;
}

async function listed({ items, users }) {
  if (!(items ?? users).length) return notice("Nothing is near to that.");
  if (users) {
    return h("ol", { class: "people" }, users.map(({ id }) =>
      h("li", {}, h("a", { href: `#/user/${encodeURIComponent(id)}` }, `User ${id}`))));
  }
  const known = await itemsOf(items.map((place) => place.id));
  return h("ul", { class: "cards" }, items.map((place) => card(known.get(place.id), place, {
    actions: [["Details", () => showItem(place.id)], ["Similar", () => showSimilar(place.id)]] })));
}
