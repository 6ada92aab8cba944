// How the training went: a curve for each thing that was logged, and what came out.

import { ask } from "./api.js";
import { failure, h, notice, s } from "./dom.js";

const [HEIGHT, BOTTOM] = [230, 32];
const LETTER = 7.5; // pixels that a figure is wide, at most
const [NARROWEST, WIDEST, FRAME] = [240, 560, 34]; // pixels; what stands around a chart

export function showTraining(main, state) {
  const place = h("div", { "aria-busy": "true" }, h("p", { class: "waiting" }, "Reading the log…"));
  main.replaceChildren(h("h1", {}, "Training"), place);
  fill(place, state);
}

async function fill(place, state) {
  try {
    const runs = [await ask("/training")];
    if (state.compared) runs.push(await ask("/training", { compared: true }));
    const keys = [...new Set(runs.flatMap(({ epochs }) => epochs.flatMap(Object.keys)))].filter((key) => key !== "epoch" && key !== "seconds");
    const untrained = runs.filter(({ epochs }) => !epochs.length);
    const width = Math.max(NARROWEST, Math.min(WIDEST, place.clientWidth - FRAME));
    place.replaceChildren(
      h("div", { class: "charts" }, keys.map((key) => chart(key, width, runs.map(({ run, epochs }) =>
        ({ run, points: epochs.filter((row) => key in row).map((row) => [row.epoch, row[key]]) }))))),
      ...untrained.map(({ run }) => notice(`${run} was computed at once; there is no curve of it.`)),
      measured(runs));
  } catch (error) {
    place.replaceChildren(failure(error, () => fill(place, state)));
  }
  place.removeAttribute("aria-busy");
}

/** Round steps that cut a range into about four; a single value is its own step. */
function ticks(low, high) {
  if (low === high) return [low];
  const raw = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}

const short = (value) => String(Number(value.toPrecision(4)));

/** The numbers along an axis, as short as they can be told apart. */
function written(values) {
  const most = Math.max(...values.map(Math.abs));
  const power = (value) => Math.floor(Math.log10(value) + 1e-9);
  if (values.length < 2) return values.map(short);
  const step = values[1] - values[0];
  if (most >= 1e6 || most < 1e-3) return values.map((value) => value && value.toExponential(Math.max(0, power(most) - power(step))));
  return values.map((value) => value.toFixed(Math.max(0, -power(step))));
}

function chart(key, width, lines) {
  const points = lines.flatMap((line) => line.points);
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  const marks = ticks(y0, y1);
  const names = written(marks).map(String);
  const left = 16 + LETTER * Math.max(4, ...names.map((name) => name.length));
  const x = (value) => left + ((value - x0) / (x1 - x0 || 1)) * (width - left - 12);
  const y = (value) => 12 + (1 - (value - y0) / (y1 - y0 || 1)) * (HEIGHT - BOTTOM - 20);
  const steps = ticks(x0, x1).filter(Number.isInteger);
  const drawn = lines.filter((line) => line.points.length);
  const told = drawn.map(({ run, points: [...row] }) =>
    `${run}: from ${short(row[0][1])} at epoch ${row[0][0]} to ${short(row.at(-1)[1])} at epoch ${row.at(-1)[0]}`).join("; ");
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("h2", {}, key), h("p", { class: "legend" }, drawn.map(({ run }, place) =>
      h("span", { class: `line-${place}` }, run)))),
    s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${key} by epoch. ${told}` },
      marks.map((value, place) => [
        s("line", { class: "grid", x1: left, x2: width - 12, y1: y(value), y2: y(value) }),
        s("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, names[place])]).flat(),
      steps.map((value) => s("text", { x: x(value), y: HEIGHT - 12, "text-anchor": "middle" }, String(value))),
      drawn.map(({ points: row }, place) => [
        s("polyline", { class: `curve line-${place}`, points: row.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }),
        row.length <= 40 ? row.map(([a, b]) => s("circle", { class: `dot line-${place}`, cx: x(a), cy: y(b), r: 3 })) : []]).flat(2)));
}

function measured(runs) {
  const names = Object.keys(runs[0].metrics);
  if (!names.length) return notice("Nothing was measured on validation.");
  return h("section", { "aria-labelledby": "measured" },
    h("h2", { id: "measured" }, "Measured on validation"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "measured" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Metric"), runs.map(({ run }) => h("th", { scope: "col", class: "number" }, run)))),
      h("tbody", {}, names.map((name) => h("tr", {}, h("th", { scope: "row" }, name),
        runs.map(({ metrics }) => h("td", { class: "number" }, name in metrics ? metrics[name].toFixed(4) : "–"))))))));
}
