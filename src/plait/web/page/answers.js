// Answers as people see them: the value, how sure the model is, what else it thought of, and where
// it looked for each word.

import {make, percent, shown} from "./make.js";

const DARKEST = 0.35; // of the photo's light, where nothing was looked for
const MOST = 8; // probabilities
const HINT = "Point at a word, or go to it with Tab, to see where it was looked for.";

// Draws all outputs' answers; before: what they were before, to tell what changed.
export function draw(place, answers, before) {
  place.replaceChildren(...Object.entries(answers).map(([name, answer]) =>
    make("article", {class: "output", "aria-label": name},
      make("h2", {}, name), ...parts(answer, before?.[name]))));
}

function parts(answer, before) {
  const {looked} = answer;
  const said = looked && looked.words.join(" ") === answer.value;
  return [
    said ? null : make("p", {class: "value"}, shown(answer.value)),
    looked ? new Looked(looked, said).element : null,
    confidence(answer, before),
    answer.interval
      ? make("p", {}, `between ${shown(answer.interval[0])} and ${shown(answer.interval[1])}`) : null,
    list("It might also have said", answer.alternatives.map((other) => shown(other.value))),
    bars("Probabilities", largest(answer.probabilities)),
    shares(answer.shares),
    detected(largest(answer.detected)),
  ].filter(Boolean);
}

// The most probable first: an object whose names are numbers has them in the numbers' order.
function largest(shares) {
  return Object.entries(shares).sort(([, a], [, b]) => b - a).slice(0, MOST);
}

function confidence(answer, before) {
  if (answer.confidence == null) return null;
  const bar = meter(answer.confidence, "Confidence");
  const row = make("div", {class: "bars"}, make("span", {}, "Confidence"), bar,
    make("span", {class: "number", "data-confidence": answer.confidence}, percent(answer.confidence)));
  return make("div", {}, row, before ? make("p", {class: "change"}, change(answer, before)) : null);
}

function change(answer, before) {
  const was = before.confidence == null ? "" : `, ${percent(before.confidence)}`;
  const same = JSON.stringify(answer.value) === JSON.stringify(before.value);
  return `Before: ${same ? "the same" : `“${shown(before.value)}”`}${was}`;
}

function meter(share, label) {
  return make("meter", {min: 0, max: 1, value: share, "aria-label": label}, percent(share));
}

function bars(title, rows) {
  if (!rows.length) return null;
  return make("section", {}, make("h3", {}, title), make("div", {class: "bars"},
    ...rows.flatMap(([name, share]) => [make("span", {class: "name"}, name), meter(share, name),
      make("span", {class: "number"}, percent(share))])));
}

// Shares may be negative: an input can speak against the answer.
function shares(found) {
  const rows = Object.entries(found);
  if (rows.length < 2) return null;
  const most = Math.max(...rows.map(([, share]) => Math.abs(share)), 1e-9);
  return make("section", {}, make("h3", {}, "What each input adds to the answer"),
    make("div", {class: "bars"}, ...rows.flatMap(([name, share]) => [
      make("span", {class: "name"}, name), opposed(meter(Math.abs(share) / most, name), share < 0),
      make("span", {class: "number"}, share.toFixed(2))])));
}

function opposed(bar, against) {
  bar.classList.toggle("against", against);
  return bar;
}

function list(title, lines) {
  if (!lines.length) return null;
  return make("section", {}, make("h3", {}, title),
    make("ul", {}, ...lines.map((line) => make("li", {}, line))));
}

function detected(found) {
  if (!found.length) return null;
  const words = found.map(([word, share]) => `${word} ${percent(share)}`);
  return make("section", {}, make("h3", {}, "Words that were expected before the first was said"),
    make("p", {class: "quiet"}, words.join(", ")));
}

class Looked {
  constructor(looked, large) {
    this.canvas = make("canvas", {width: 224, height: 224, "aria-hidden": "true"});
    const picture = make("img", {src: looked.picture, alt: "What the model saw"});
    this.note = make("p", {class: "quiet", "aria-live": "polite"}, HINT);
    this.buttons = looked.words.map((word, at) => this.word(word, looked.maps[at]));
    this.element = make("div", {},
      make("div", {class: large ? "words" : "words small", role: "group", "aria-label": "The answer's words"},
        ...this.buttons),
      make("div", {class: "looked"}, picture, this.canvas), this.note);
    this.element.addEventListener("mouseleave", () => this.clear());
  }

  word(word, map) {
    const light = () => {
      this.buttons.forEach((button) => button.classList.toggle("lit", button === own));
      veil(this.canvas, map);
      this.note.textContent = `“${word}” was looked for ${place(map)}.`;
    };
    const own = make("button", {
      type: "button", onmouseenter: light, onfocus: light, onclick: light, onblur: () => this.clear(),
    }, word);
    return own;
  }

  clear() {
    this.buttons.forEach((button) => button.classList.remove("lit"));
    this.note.textContent = HINT;
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }
}

// Darkness over what was not looked at: the map as a small picture, drawn large and smooth.
function veil(canvas, map) {
  const [rows, columns] = [map.length, map[0].length];
  const most = Math.max(...map.flat(), 1e-9);
  const small = make("canvas", {width: columns, height: rows});
  const image = new ImageData(columns, rows);
  map.flat().forEach((value, at) => {
    image.data[4 * at + 3] = 255 * (1 - DARKEST) * (1 - Math.max(0, value) / most);
  });
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

// Where a map's middle of weight is, in words.
export function place(map) {
  const total = map.flat().reduce((sum, value) => sum + value, 0) || 1;
  let [down, across] = [0, 0];
  map.forEach((row, y) => row.forEach((value, x) => {
    down += value * (y + 0.5) / map.length / total;
    across += value * (x + 0.5) / row.length / total;
  }));
  const name = (at, names) => names[at < 0.4 ? 0 : at > 0.6 ? 2 : 1];
  const [vertical, horizontal] = [name(down, ["top", "", "bottom"]), name(across, ["left", "", "right"])];
  if (!vertical && !horizontal) return "in the middle";
  if (!vertical) return `on the ${horizontal}`;
  return `at the ${vertical} ${horizontal}`.trim();
}
