// Choose a user: a field that suggests as one types (the combobox pattern of ARIA), and somebody at random.

import { ask } from "./api.js";
import { h, plural, say } from "./dom.js";

const SUGGESTED = 8;

export function picker(user) {
  const list = h("ul", { id: "suggested", role: "listbox", "aria-label": "Users", hidden: true });
  const field = h("input", {
    id: "picker", type: "search", role: "combobox", autocomplete: "off", spellcheck: "false", value: user ?? "",
    "aria-expanded": "false", "aria-controls": "suggested", "aria-autocomplete": "list",
  });
  let chosen = -1;
  let last = 0;

  const close = () => {
    list.hidden = true;
    chosen = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const go = (id) => {
    close();
    if (id) location.hash = `#/user/${encodeURIComponent(id)}`;
  };
  const suggest = async () => {
    const mine = ++last;
    const { users } = await ask("/users", { search: field.value.trim(), k: SUGGESTED }).catch(() => ({ users: [] }));
    if (mine !== last || document.activeElement !== field) return;
    chosen = -1;
    list.replaceChildren(...users.map(({ id, interactions }, place) =>
      h("li", { id: `suggested-${place}`, role: "option", "aria-selected": "false", "data-id": id,
        onmousedown: (event) => (event.preventDefault(), go(id)) },
        h("span", {}, id), h("small", {}, plural(interactions, "item")))));
    if (!users.length) list.replaceChildren(h("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, "Nobody by that id"));
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    say(`${plural(users.length, "user")} suggested.`);
  };
  const move = (step) => {
    const options = [...list.querySelectorAll("[data-id]")];
    if (!options.length) return;
    chosen = (chosen + step + options.length) % options.length;
    options.forEach((option, place) => option.setAttribute("aria-selected", String(place === chosen)));
    field.setAttribute("aria-activedescendant", options[chosen].id);
    options[chosen].scrollIntoView({ block: "nearest" });
  };
  field.addEventListener("input", suggest);
  field.addEventListener("focus", () => (field.select(), suggest()));
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    if (list.hidden) suggest();
    else move(event.key === "ArrowDown" ? 1 : -1);
  });

  const submit = (event) => {
    event.preventDefault();
    go(list.children[chosen]?.dataset.id ?? field.value.trim());
  };
  const anybody = async () => {
    try {
      const { users } = await ask("/users", { search: String(Math.floor(10 * Math.random())), k: 100 });
      const some = users.length ? users : (await ask("/users", { k: 100 })).users;
      go(some[Math.floor(some.length * Math.random())]?.id);
    } catch (error) {
      say(error.message);
    }
  };
  return h("form", { class: "picker", role: "search", onsubmit: submit },
    h("label", { for: "picker" }, "User"),
    h("div", { class: "combobox" }, field, list),
    h("button", { class: "main" }, "Show"),
    h("button", { type: "button", onclick: anybody }, "Anybody"));
}
