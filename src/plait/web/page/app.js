// The page: what the user gives goes to the server as soon as it is there, and the answer is shown.

import {draw} from "./answers.js";
import {Batch} from "./batch.js";
import * as history from "./history.js";
import {cards as makeCards} from "./inputs.js";
import {byId, make, shown} from "./make.js";
import {Options} from "./options.js";
import {Gone, KeyNeeded, isThere, models, predict, rememberKey} from "./server.js";

const TYPING = 400; // milliseconds of rest before a text is sent
const RETRY = 1500; // milliseconds between two looks for a server that is gone

const page = {model: null, cards: [], options: null, before: null, timer: 0, asking: null};
const batch = new Batch(() => ({model: page.model.name, cards: page.cards, options: page.options}));

async function open() {
  let found;
  try {
    found = await models();
  } catch (error) {
    return trouble(error, open);
  }
  const choice = byId("model");
  choice.replaceChildren(...found.models.map((model) => new Option(model.name, model.name)));
  const named = () => found.models.find((model) => `#${model.name}` === location.hash);
  choice.onchange = () => { location.hash = choice.value; };
  onhashchange = () => {
    const model = named() ?? found.models[0];
    if (model === page.model) return;
    choice.value = model.name;
    use(model);
  };
  byId("model-choice").hidden = found.models.length < 2;
  page.model = null;
  onhashchange();
}

function use(model) {
  page.asking?.abort();
  page.cards.forEach((card) => card.widget.release?.());
  page.model = model;
  page.before = null;
  document.title = `${model.name} · plait`;
  byId("about").textContent = model.about ?? "";
  page.cards = makeCards(model.inputs, changed);
  page.options = new Options(model.options, changed);
  byId("inputs").replaceChildren(...page.cards.map((card) => card.element));
  byId("option-fields").replaceChildren(...page.options.elements);
  byId("options").hidden = !page.options.elements.length;
  byId("result").replaceChildren();
  say("The answer will stand here.");
  batch.describe();
}

function changed({now, fresh}) {
  clearTimeout(page.timer);
  if (fresh) page.before = null;
  page.timer = setTimeout(ask, now ? 0 : TYPING);
}

async function ask() {
  page.asking?.abort();
  const asking = page.asking = new AbortController();
  const given = page.cards.flatMap((card) => card.parts());
  if (!given.length) {
    byId("result").replaceChildren();
    const off = page.cards.some((card) => card.filled);
    return say(off ? "All that was given is switched off." : "The answer will stand here.");
  }
  say("Asking…");
  const parts = [
    ...given.map(([path, value]) => [`inputs.${path}`, value]), ...page.options.parts(),
    ["explain", "true"], ...(page.model.inputs.length > 1 ? [["shares", "true"]] : []),
  ];
  const start = performance.now();
  try {
    const answers = await predict(page.model.name, parts,
      {signal: asking.signal, busy: () => say("The server is busy; trying again…")});
    draw(byId("result"), answers, page.before);
    page.before = answers;
    const seconds = (performance.now() - start) / 1000;
    say(`Answered in ${seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`}`);
    byId("status").append(make("span", {class: "heard"}, `: ${inWords(answers)}`));
    keep(answers);
  } catch (error) {
    if (error.name !== "AbortError") trouble(error, ask);
  }
}

function keep(answers) {
  const used = page.cards.filter((card) => card.filled && card.used.size);
  const file = used.map((card) => card.widget.file).find(Boolean);
  history.remember({
    model: page.model.name,
    answer: inWords(answers),
    given: used.map((card) => card.widget.label).join(" · "),
    typed: !file,
  }, file);
}

function inWords(answers) {
  return Object.values(answers).map((answer) => shown(answer.value)).join("; ");
}

function say(text, problem = "") {
  byId("status").textContent = text;
  byId("problem").textContent = problem;
  byId("problem").hidden = !problem;
}

function trouble(error, again) {
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
    wait(again);
  } else {
    byId("result").replaceChildren();
    page.before = null;
    say("", error.message);
  }
}

function wait(again) {
  const gone = byId("gone");
  gone.textContent = "The server does not answer. What you gave is kept; it is asked again as soon as it is back.";
  gone.hidden = false;
  const look = async () => {
    if (!(await isThere())) return setTimeout(look, RETRY);
    gone.hidden = true;
    again();
  };
  setTimeout(look, RETRY);
}

// The link would take the model's place in the address.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("answer").focus();
});
byId("usual").addEventListener("click", () => { page.options.reset(); changed({now: true}); });
// A file that misses its card would replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (file) page.cards.find((card) => card.isFile)?.widget.take(file);
});
history.start();
open();
