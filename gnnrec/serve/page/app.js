// The page: which view is shown, light or dark, and what is dropped on it.

import { ask } from "./api.js";
import { showAsk } from "./ask.js";
import { failure, h } from "./dom.js";
import { showMap } from "./map.js";
import { showTraining } from "./training.js";
import { showUser } from "./user.js";

const VIEWS = { user: showUser, ask: showAsk, map: showMap, training: showTraining };
const THEME = "gnnrec-theme";
const main = document.getElementById("main");
let leave = null; // what the view that is shown has to stop
let state = null; // what /ready says

async function show() {
  const [, name = "user", ...rest] = location.hash.split("/");
  const view = VIEWS[name] ? name : "user";
  leave?.();
  leave = null;
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.getAttribute("href") === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  try {
    state = await ask("/ready"); // the run may be another one by now
    document.getElementById("run").textContent = state.compared ? `${state.run} · ${state.compared}` : state.run;
    document.body.dataset.view = view;
    leave = VIEWS[view](main, state, rest.map(decodeURIComponent).join("/")) ?? null;
    const title = main.querySelector("h1")?.textContent;
    document.title = title ? `${title} – gnnrec` : "gnnrec";
  } catch (error) {
    main.replaceChildren(h("h1", {}, "Not now"), failure(error, show));
  }
}

function dark() {
  const chosen = localStorage.getItem(THEME);
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function paint() {
  document.documentElement.dataset.theme = dark() ? "dark" : "light";
  const button = document.getElementById("theme");
  button.textContent = dark() ? "☀" : "☾";
  button.setAttribute("aria-label", dark() ? "Light colours" : "Dark colours");
  button.title = button.getAttribute("aria-label");
}

document.getElementById("theme").addEventListener("click", () => {
  localStorage.setItem(THEME, dark() ? "light" : "dark");
  paint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  if (!event.dataTransfer.files.length) return;
  VIEWS.ask.dropped(event.dataTransfer.files);
  if (location.hash !== "#/ask") location.hash = "#/ask";
});
paint();
show();
