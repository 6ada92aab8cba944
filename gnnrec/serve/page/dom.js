// Elements, the service's one spoken line, and the dialog.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element: h("a", {href: "#"}, "text", otherElement). Text is never markup. */
export const h = (name, properties, ...children) => filled(document.createElement(name), properties, children);

/** The same in SVG. */
export const s = (name, properties, ...children) =>
  filled(document.createElementNS(SVG, name), properties, children);

/** Tell who listens to the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

export const plural = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;

export const notice = (text) => h("p", { class: "notice" }, text);

/** What went wrong, and what can be done: error.mend, or to try again where that can help: a refusal stays one. */
export function failure(error, again) {
  const [label, act] = error.mend ?? (again && error.passing ? ["Try again", again] : []);
  return h("div", { class: "notice wrong", role: "alert" },
    h("p", {}, error.message),
    label && h("button", { type: "button", onclick: act }, label));
}

/** Open the dialog; focus goes back to where it was when it closes. */
export function openDialog(title, ...content) {
  const dialog = document.getElementById("dialog");
  const close = () => dialog.close();
  dialog.replaceChildren(
    h("div", { class: "dialog-head" },
      h("h2", { id: "dialog-title" }, title),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: close }, "✕")),
    h("div", { class: "dialog-body" }, content));
  dialog.onclick = (event) => {
    if (event.target === dialog) close(); // on what is behind it
  };
  if (dialog.open) dialog.querySelector("button").focus();
  else dialog.showModal();
  dialog.scrollTo(0, 0);
  return dialog;
}

export const closeDialog = () => document.getElementById("dialog").close();

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A number that is the same for the same text. */
export function hash(text) {
  let value = 2166136261;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619) >>> 0;
  return value;
}
