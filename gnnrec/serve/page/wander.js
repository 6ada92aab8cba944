// Moving about on the map: pointer, wheel, fingers and keys; what is under the pointer shows itself.

import { itemsAtHand } from "./api.js";
import { cover, titleOf, wordsOf } from "./cards.js";
import { h } from "./dom.js";
import { showItem } from "./why.js";

const [STEP, ZOOM, CLICK, HIT] = [0.15, 1.3, 5, 14]; // of the view; a factor; CSS pixels
const PAUSE = 160; // milliseconds after a movement until the list follows

/** Pointer, wheel and keys. */
export function wander(canvas, tip, view) {
  const { scatter, found } = view;
  const held = new Map(); // fingers or the mouse
  let moved = 0;
  let settle;
  const later = () => (clearTimeout(settle), (settle = setTimeout(() => !view.stopped && view.list(), PAUSE)));
  const under = (event) => {
    const [[i, away] = [-1, Infinity]] = scatter.near(scatter.toMap(event.offsetX, event.offsetY), 1);
    return away <= HIT ? i : -1;
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    scatter.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    later();
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (held.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = held.get(event.pointerId);
    if (!last) return hover(tip, view, under(event));
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (other) {
      const spread = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
      scatter.zoom(spread([event.offsetX, event.offsetY]) / spread(last), ...other);
    } else {
      const [from, to] = [scatter.toMap(...last), scatter.toMap(event.offsetX, event.offsetY)];
      scatter.move(from[0] - to[0], from[1] - to[1]);
    }
    moved += Math.hypot(event.offsetX - last[0], event.offsetY - last[1]);
    held.set(event.pointerId, [event.offsetX, event.offsetY]);
    tip.hidden = true;
    later();
  });
  const release = (event) => {
    if (event.type === "pointerup" && held.size === 1 && moved < CLICK && under(event) >= 0) showItem(found.ids[under(event)]);
    held.delete(event.pointerId);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  canvas.addEventListener("keydown", (event) => {
    if (!pressed(event.key, scatter, found)) return;
    event.preventDefault();
    later();
  });
}

async function hover(tip, view, i) {
  const { found } = view;
  view.hovered = i;
  tip.hidden = i < 0;
  if (i < 0 || tip.dataset.of === String(i)) return;
  view.aim(i);
  const item = (await itemsAtHand([found.ids[i]])).get(found.ids[i]);
  if (view.hovered !== i) return;
  tip.dataset.of = String(i);
  tip.replaceChildren(cover(item, found.ids[i]), h("strong", {}, titleOf(item, { id: found.ids[i] })), h("span", {}, wordsOf(item).kinds));
  const [x, y] = view.scatter.toCanvas(view.points[2 * i], view.points[2 * i + 1]);
  const frame = tip.parentElement;
  tip.style.left = `${Math.max(8, Math.min(x + 14, frame.clientWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(y + 14, frame.clientHeight - tip.offsetHeight - 8))}px`;
}

/** Do what a key stands for; whether it stands for anything. */
function pressed(key, scatter, found) {
  const step = STEP / scatter.camera.zoom;
  const acts = {
    ArrowLeft: () => scatter.move(-step, 0),
    ArrowRight: () => scatter.move(step, 0),
    ArrowUp: () => scatter.move(0, step),
    ArrowDown: () => scatter.move(0, -step),
    "+": () => scatter.zoom(ZOOM),
    "=": () => scatter.zoom(ZOOM),
    "-": () => scatter.zoom(1 / ZOOM),
    0: () => scatter.whole(),
    Enter: () => showItem(found.ids[scatter.near([scatter.camera.x, scatter.camera.y], 1)[0][0]]),
  };
  acts[key]?.();
  return key in acts;
}
