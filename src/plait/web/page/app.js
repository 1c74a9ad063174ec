// The page: every change of an input goes to the server at once, and its answer is shown.

import {draw} from "./answers.js";
import {Batch} from "./batch.js";
import * as history from "./history.js";
import {cards as makeCards} from "./inputs.js";
import {byId, make, summary} from "./make.js";
import {Options} from "./options.js";
import {Gone, KeyNeeded, back, models, predict, rememberKey} from "./server.js";

const TYPING = 400; // milliseconds without a key press after which a text is sent
const EMPTY = "The answer will appear here.";

const page = {model: null, cards: [], options: null, previous: null, timer: 0, request: null};
const batch = new Batch(() => ({model: page.model.name, cards: page.cards, options: page.options}));

async function open() {
  let listing;
  try {
    listing = await models();
  } catch (error) {
    return fail(error, open);
  }
  const choice = byId("model");
  choice.replaceChildren(...listing.models.map((model) => new Option(model.name, model.name)));
  choice.onchange = () => { location.hash = choice.value; };
  onhashchange = () => {
    const named = listing.models.find((model) => `#${model.name}` === location.hash);
    const model = named ?? listing.models[0];
    if (model === page.model) return;
    choice.value = model.name;
    use(model);
  };
  byId("model-choice").hidden = listing.models.length < 2;
  page.model = null;
  onhashchange();
}

function use(model) {
  page.request?.abort();
  page.cards.forEach((card) => card.widget.release?.());
  page.model = model;
  page.previous = null;
  document.title = `${model.name} · plait`;
  byId("about").textContent = model.about ?? "";
  page.cards = makeCards(model.inputs, changed);
  page.options = new Options(model.options, changed);
  byId("inputs").replaceChildren(...page.cards.map((card) => card.element));
  byId("option-fields").replaceChildren(...page.options.elements);
  byId("options").hidden = !page.options.elements.length;
  byId("result").replaceChildren();
  say(EMPTY);
  batch.describe();
}

// now: don't wait for more typing; fresh: it is another record, not a change of this one.
function changed({now, fresh}) {
  clearTimeout(page.timer);
  if (fresh) page.previous = null;
  page.timer = setTimeout(ask, now ? 0 : TYPING);
}

async function ask() {
  page.request?.abort();
  const request = page.request = new AbortController();
  const inputs = page.cards.flatMap((card) => card.parts());
  if (!inputs.length) {
    byId("result").replaceChildren();
    return say(page.cards.some((card) => card.filled) ? "All inputs are switched off." : EMPTY);
  }
  say("Waiting for the answer…");
  const parts = [
    ...inputs.map(([path, value]) => [`inputs.${path}`, value]), ...page.options.parts(),
    ["explain", "true"], ...(page.model.inputs.length > 1 ? [["shares", "true"]] : []),
  ];
  const start = performance.now();
  try {
    const answers = await predict(page.model.name, parts,
      {signal: request.signal, busy: () => say("The server is busy; trying again…")});
    draw(byId("result"), answers, page.previous);
    page.previous = answers;
    const seconds = (performance.now() - start) / 1000;
    say(`Answered in ${seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`}`);
    byId("status").append(make("span", {class: "heard"}, `: ${summary(answers)}`));
    keep(answers);
  } catch (error) {
    if (error.name !== "AbortError") fail(error, ask);
  }
}

function keep(answers) {
  const used = page.cards.filter((card) => card.filled && card.used.size);
  const file = used.map((card) => card.widget.file).find(Boolean);
  history.remember({
    model: page.model.name, answer: summary(answers), typed: !file,
    given: used.map((card) => card.widget.label).join(" · "),
  }, file);
}

function say(text, problem = "") {
  byId("status").textContent = text;
  byId("problem").textContent = problem;
  byId("problem").hidden = !problem;
}

function fail(error, again) {
  if (error instanceof KeyNeeded) {
    say("");
    byId("key-form").hidden = false;
    byId("key").focus();
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      rememberKey(byId("key").value);
      byId("key-form").hidden = true;
      again();
    };
  } else if (error instanceof Gone) {
    say("");
    byId("gone").hidden = false;
    back().then(() => { byId("gone").hidden = true; again(); });
  } else {
    byId("result").replaceChildren();
    page.previous = null;
    say("", error.message);
  }
}

// Following the link would replace the model's name in the address.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("answer").focus();
});
byId("reset").addEventListener("click", () => { page.options.reset(); changed({now: true}); });
// A file that is dropped beside its card would replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (file) page.cards.find((card) => card.isFile)?.widget.take(file);
});
history.start();
open();
