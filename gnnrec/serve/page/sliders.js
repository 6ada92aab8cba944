// What counts besides the run's own score. Nothing is asked again: see rerank.js.

import { h, say } from "./dom.js";
import { NEUTRAL } from "./rerank.js";

const NAMES = { text: "Text", image: "Picture", audio: "Sound" };
export const nameOf = (modality) => NAMES[modality] ?? modality.replaceAll("_", " ");

function slider(name, label, { min, max, low, high, off }, changed) {
  const id = `slider-${name}`;
  const shown = h("output", { for: id }, "0");
  const range = h("input", { id, type: "range", min, max, step: 0.1, value: 0, disabled: Boolean(off) });
  range.addEventListener("input", () => {
    const value = Number(range.value);
    shown.textContent = (value > 0 && min < 0 ? "+" : "") + value.toFixed(1).replace(/\.0$/, "");
    changed(value);
  });
  return h("div", { class: "slider" },
    h("div", { class: "slider-head" }, h("label", { for: id }, label), shown),
    range,
    h("p", { class: "ends", "aria-hidden": "true" }, h("span", {}, low), h("span", {}, high)),
    off && h("p", { class: "off" }, off));
}

/** A switch for the language model's order; what it says of it stands below. byWords(on): that line, if there is any. */
function wordsSwitch(byWords) {
  const told = h("p", { class: "off", id: "told" });
  const tell = (text) => ((told.textContent = text), text && say(text));
  const box = h("input", { type: "checkbox", id: "words", "aria-describedby": "told", onchange: async () => {
    box.disabled = true;
    tell(box.checked ? "The language model reads…" : "");
    try {
      tell((await byWords(box.checked)) ?? "");
    } catch (error) {
      box.checked = false;
      if (error.name !== "AbortError") tell(error.message);
    }
    box.disabled = false;
  } });
  return h("div", {}, h("label", { class: "check" }, box, "Reordered by a language model"), told);
}

/** found: what /candidates said; changed(weights) is called at each move; compare(on), where there is a second run;
 *  byWords(on), where the service has a language model. */
export function sliders(found, changed, { compare, byWords }) {
  const weights = structuredClone(NEUTRAL);
  const tell = () => changed(structuredClone(weights));
  const panel = h("form", { class: "sliders" });
  panel.append(...[
    h("h2", {}, "What counts"),
    h("p", { class: "hint" }, "Beside the model’s own score; the list follows at once."),
    ...found.modalities.map((modality) =>
      slider(`content-${modality}`, `${nameOf(modality)} like the history`, { min: -2, max: 2, low: "unlike", high: "alike" }, (value) => {
        weights.content[modality] = value;
        tell();
      })),
    slider("Popularity", "Popularity", { min: -2, max: 2, low: "little known", high: "well known" }, (value) => {
      weights.popularity = value;
      tell();
    }),
    slider("Diversity", "Diversity", { min: 0, max: 0.9, low: "as it is", high: "all different",
      off: found.alike ? null : "This model has no embeddings to tell it by." }, (value) => {
      weights.diversity = value;
      tell();
    }),
    h("button", { type: "button", class: "wide", onclick: reset }, "The model’s order"),
    byWords && wordsSwitch(byWords),
    compare && h("label", { class: "check" },
      h("input", { type: "checkbox", id: "compare", onchange: (event) => compare(event.target.checked) }),
      "Two runs side by side"),
  ].filter(Boolean));
  function reset() {
    Object.assign(weights, structuredClone(NEUTRAL));
    panel.querySelectorAll("input[type=range]").forEach((range) => (range.value = 0));
    panel.querySelectorAll("output").forEach((shown) => (shown.textContent = "0"));
    tell();
  }
  return h("details", { open: matchMedia("(min-width: 900px)").matches }, h("summary", {}, "What counts"), panel);
}
