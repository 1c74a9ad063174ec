// Answers as people see them: the value, how confident the model is, its alternatives, and where it
// looked for each word.

import {make, percent, shown} from "./make.js";

const DARKEST = 0.35; // of the photo's light, where the model did not look
const SIDE = 320; // of the veil, which the browser stretches over the photo
const MOST = 8; // words or probabilities that are listed
const UNSURE = "The model is not sure: this may show something that it has not learned.";
const HINT = "Hover over a word, or move to it with Tab, to see where the model looked.";

// Draw all outputs' answers; previous: the answers before the last change.
export function draw(target, answers, previous) {
  target.replaceChildren(...Object.entries(answers).map(([name, answer]) =>
    make("article", {class: "output", "aria-label": name},
      make("h2", {}, name), ...parts(answer, previous?.[name]))));
}

function parts(answer, previous) {
  const {looked, interval, alternatives} = answer;
  const spelled = looked && looked.words.join(" ") === answer.value; // the words are the answer
  return [
    spelled ? null : make("p", {class: "value"}, shown(answer.value)),
    looked ? new Looked(looked, spelled).element : null,
    confidence(answer, previous),
    interval ? make("p", {}, `between ${shown(interval[0])} and ${shown(interval[1])}`) : null,
    section("Alternatives", alternatives.length && make("ul", {},
      ...alternatives.map((other) => make("li", {}, shown(other.value))))),
    section("Probabilities", bars(largest(answer.probabilities))),
    section("Contribution of each input", contributions(Object.entries(answer.shares))),
    ...Object.entries(answer.clues ?? {}).map(([title, words]) =>
      section(title[0].toUpperCase() + title.slice(1), listed(words.slice(0, MOST)))),
  ].filter(Boolean);
}

function listed(words) {
  return words.length && make("p", {class: "quiet"},
    words.map(([word, p]) => `${word} ${percent(p)}`).join(", "));
}

function section(title, content) {
  return content ? make("section", {}, make("h3", {}, title), content) : null;
}

// The largest first: an object whose keys are numbers has them in the numbers' order.
function largest(shares) {
  return Object.entries(shares).sort(([, a], [, b]) => b - a).slice(0, MOST);
}

function confidence(answer, previous) {
  if (answer.confidence == null) return null;
  const number = make("span", {class: "number", "data-confidence": answer.confidence},
    percent(answer.confidence));
  const label = answer.calibrated ? "Likely right" : "Confidence";
  return make("div", {}, make("div", {class: "bars"}, make("span", {}, label),
    meter(answer.confidence, label), number),
    answer.doubtful ? make("p", {class: "quiet"}, UNSURE) : null,
    previous ? change(answer, previous) : null);
}

function change(answer, previous) {
  const same = JSON.stringify(answer.value) === JSON.stringify(previous.value);
  const confidence = previous.confidence == null ? "" : `, ${percent(previous.confidence)}`;
  const text = `Previously: ${same ? "the same" : `“${shown(previous.value)}”`}${confidence}`;
  return make("p", {class: "change"}, text);
}

function meter(share, label) {
  return make("meter", {min: 0, max: 1, value: share, "aria-label": label}, percent(share));
}

function bars(rows) {
  return rows.length && make("div", {class: "bars"}, ...rows.flatMap(([name, share]) => [
    make("span", {class: "name"}, name), meter(share, name),
    make("span", {class: "number"}, percent(share))]));
}

// They may be negative: an input can speak against the answer.
function contributions(rows) {
  if (rows.length < 2) return null;
  const most = Math.max(...rows.map(([, share]) => Math.abs(share)), 1e-9);
  return make("div", {class: "bars"}, ...rows.flatMap(([name, share]) => {
    const bar = meter(Math.abs(share) / most, name);
    bar.classList.toggle("against", share < 0);
    return [make("span", {class: "name"}, name), bar,
      make("span", {class: "number"}, share.toFixed(2))];
  }));
}

class Looked {
  constructor(looked, large) {
    const [[left, right], [top, bottom]] = looked.view;
    this.view = {left, top, width: right - left, height: bottom - top};
    this.canvas = make("canvas", {width: SIDE, height: SIDE, "aria-hidden": "true"});
    this.note = make("p", {class: "quiet", "aria-live": "polite"}, HINT);
    this.buttons = looked.words.map((word, at) => this.button(word, looked.maps[at]));
    this.element = make("div", {onmouseleave: () => this.clear()},
      make("div", {class: large ? "words" : "words small", role: "group",
        "aria-label": "The words of the answer"}, ...this.buttons),
      make("div", {class: "looked"},
        make("img", {src: looked.picture, alt: "The picture", onload: ({target}) =>
          target.style.setProperty("--shape", target.naturalWidth / target.naturalHeight),
        }), this.canvas),
      this.note);
  }

  button(word, map) {
    const show = () => {
      this.buttons.forEach((button) => button.classList.toggle("lit", button === own));
      veil(this.canvas, map, this.view);
      this.note.textContent = `For “${word}” the model looked ${place(map, this.view)}.`;
    };
    const own = make("button", {
      type: "button", onmouseenter: show, onfocus: show, onclick: show, onblur: () => this.clear(),
    }, word);
    return own;
  }

  clear() {
    this.buttons.forEach((button) => button.classList.remove("lit"));
    this.note.textContent = HINT;
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }
}

// Darken what the model did not look at: the map as a small picture, scaled up smoothly to the part
// of the photo that the model saw.
function veil(canvas, map, {left, top, width, height}) {
  const [rows, columns, values] = [map.length, map[0].length, map.flat()];
  const most = Math.max(...values, 1e-9);
  const small = make("canvas", {width: columns, height: rows});
  const image = new ImageData(columns, rows);
  values.forEach((value, at) => {
    image.data[4 * at + 3] = 255 * (1 - DARKEST) * (1 - Math.max(0, value) / most);
  });
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  const seen = [left * SIDE, top * SIDE, width * SIDE, height * SIDE];
  context.clearRect(0, 0, SIDE, SIDE);
  context.fillStyle = `rgb(0 0 0 / ${1 - DARKEST})`;
  context.fillRect(0, 0, SIDE, SIDE);
  context.clearRect(...seen);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, ...seen);
}

// Where on the photo a map's centre of gravity is, in words.
export function place(map, {left, top, width, height}) {
  const total = map.flat().reduce((sum, value) => sum + value, 0) || 1;
  let [down, across] = [0, 0];
  map.forEach((row, y) => row.forEach((value, x) => {
    down += value * (top + height * (y + 0.5) / map.length) / total;
    across += value * (left + width * (x + 0.5) / row.length) / total;
  }));
  const name = (at, names) => names[at < 0.4 ? 0 : at > 0.6 ? 2 : 1];
  const vertical = name(down, ["top", "", "bottom"]);
  const horizontal = name(across, ["left", "", "right"]);
  if (!vertical && !horizontal) return "in the middle";
  if (!vertical) return `on the ${horizontal}`;
  return `at the ${vertical} ${horizontal}`.trim();
}
