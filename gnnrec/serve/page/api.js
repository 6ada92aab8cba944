// What the page asks the service. A key, where one is needed, is kept for this tab only.

import { closeDialog, h, openDialog } from "./dom.js";

const KEY = "gnnrec-key";
const known = new Map(); // item id -> what /items said, null for what it does not know

const key = () => sessionStorage.getItem(KEY);

const allowed = () => (key() ? { authorization: `Bearer ${key()}` } : {});

/** An error that may be over by now, if trying again is worth it: nobody answered, too many asked, or the service failed. */
function problem(message, status) {
  return Object.assign(new Error(message), { passing: !status || status === 429 || status >= 500 });
}

/** The answer as JSON; an Error with the service's own line where there is none. */
export async function ask(path, query = {}, options = {}) {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) [value].flat().forEach((part) => wanted.append(name, part));
  let response;
  try {
    response = await fetch(`${path}?${wanted}`, { ...options, headers: allowed() });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw problem("The service does not answer.");
  }
  if (response.status === 401) {
    askForKey();
    throw Object.assign(problem("This service needs a key.", 401), { mend: ["Enter a key", askForKey] });
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || !body) throw problem(body?.error ?? "The answer cannot be read.", body ? response.status : 0);
  return body;
}

/** What is known about items: id -> {title, fields, media, interactions}; asked once each, and again after a failure. */
export async function itemsOf(ids) {
  const wanted = [...new Set(ids)].filter((id) => !known.has(id));
  for (let start = 0; start < wanted.length; start += 100) {
    const part = wanted.slice(start, start + 100);
    const { items } = await ask("/items", { id: part });
    part.forEach((id) => known.set(id, null)); // of those that the run does not have
    for (const item of items) known.set(item.id, item);
  }
  return known;
}

/** As much of it as can be had now. */
export const itemsAtHand = (ids) => itemsOf(ids).catch(() => known);

/** Give a picture or sound its source, when it comes into view. With a key it has to be fetched by hand. */
export function load(element, id, kind) {
  const path = `/items/${encodeURIComponent(id)}/${kind}`;
  if (!key()) {
    element.src = path;
    return;
  }
  const watch = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting) return;
    watch.disconnect();
    const response = await fetch(path, { headers: allowed() }).catch(() => null);
    if (response?.ok) element.src = URL.createObjectURL(await response.blob());
    else element.dispatchEvent(new Event("error"));
  });
  watch.observe(element);
}

function askForKey() {
  const field = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const keep = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, field.value.trim());
    closeDialog();
    location.reload();
  };
  openDialog(key() ? "The key is none of this service" : "This service needs a key",
    h("form", { class: "key", onsubmit: keep },
      h("label", { for: "key" }, "Key"), field, h("button", { class: "main" }, "Go on")));
}
