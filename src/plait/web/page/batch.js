// Many files, a few at a time; the answers as a table and a CSV.

import {byId, make, percent, shown, summary} from "./make.js";
import {Gone, back, predict} from "./server.js";

const TOGETHER = 4;

export class Batch {
  // current(): {model, cards, options} as they are now.
  constructor(current) {
    this.current = current;
    byId("batch-files").addEventListener("change", (event) => {
      this.run([...event.target.files]);
      event.target.value = "";
    });
    byId("batch-stop").addEventListener("click", () => this.stopped?.abort());
    byId("batch-save").addEventListener("click", () => this.save());
  }

  describe() {
    const card = this.card();
    byId("batch").hidden = !card;
    byId("batch-about").textContent = card?.isFile
      ? `Each file is used as “${card.names.join("” and “")}”; other inputs and options stay as above.`
      : "Text files with one text on each line.";
  }

  card() {
    const {cards} = this.current();
    return cards.find((card) => card.isFile) ?? cards.find((card) => card.isText);
  }

  async run(files) {
    this.stopped?.abort();
    const stopped = this.stopped = new AbortController();
    const {model, cards, options} = this.current();
    const card = this.card();
    const todo = card.isFile ? files.map((file) => ({name: file.name, value: file}))
      : (await Promise.all(files.map(lines))).flat();
    const others = cards.filter((other) => other !== card).flatMap((other) => other.parts());
    this.rows = todo.map(({name}) => ({name, element: row(name)}));
    this.start();
    let next = 0;
    const work = async () => {
      while (next < todo.length && !stopped.signal.aborted) {
        const at = next++;
        const inputs = [...card.parts(todo[at].value), ...others];
        const parts = inputs.map(([path, value]) => [`inputs.${path}`, value]);
        this.rows[at].outcome = await outcome(model, [...parts, ...options.parts()], stopped.signal);
        if (!stopped.signal.aborted) this.advance(this.rows[at]);
      }
    };
    await Promise.all(Array.from({length: TOGETHER}, work));
    if (this.stopped === stopped) this.end(stopped.signal.aborted);
  }

  start() {
    this.done = 0;
    byId("batch-run").hidden = byId("batch-table").hidden = byId("batch-stop").hidden = false;
    byId("batch-save").hidden = true;
    byId("batch-table").tBodies[0].replaceChildren(...this.rows.map((one) => one.element));
    this.count();
  }

  advance(one) {
    const [, answer, confidence] = one.element.cells;
    const {answers = {}, problem} = one.outcome;
    answer.textContent = problem ?? summary(answers);
    confidence.textContent = Object.values(answers).filter((a) => a.confidence != null)
      .map((a) => percent(a.confidence) + (a.doubtful ? ", not sure" : "")).join("; ");
    this.done++;
    this.count();
  }

  count(end = "") {
    const [bar, total] = [byId("batch-progress"), this.rows.length];
    bar.max = Math.max(1, total);
    bar.value = this.done;
    byId("batch-count").textContent = `${this.done} of ${total} answered${end}`;
  }

  end(early) {
    this.count(early ? ", stopped" : "");
    byId("batch-stop").hidden = true;
    byId("batch-save").hidden = false;
  }

  save() {
    const done = this.rows.filter(({outcome}) => outcome?.answers || outcome?.problem);
    const outputs = [...new Set(done.flatMap(({outcome}) => Object.keys(outcome.answers ?? {})))];
    // Only a calibrated confidence can be doubtful.
    const judged = new Set(outputs.filter((output) =>
      done.some(({outcome}) => outcome.answers?.[output]?.calibrated)));
    const titles = outputs.flatMap((name) =>
      [name, `${name}_confidence`, ...(judged.has(name) ? [`${name}_doubtful`] : [])]);
    const table = [["file", ...titles, "error"]];
    for (const {name, outcome} of done) {
      const cells = outputs.flatMap((output) => {
        const answer = outcome.answers?.[output];
        const {confidence, calibrated, doubtful} = answer ?? {};
        return [answer ? shown(answer.value) : "", confidence ?? "",
          ...(judged.has(output) ? [calibrated ? doubtful : ""] : [])];
      });
      table.push([name, ...cells, outcome.problem ?? ""]);
    }
    const href = URL.createObjectURL(new Blob([toCsv(table)], {type: "text/csv"}));
    make("a", {download: "answers.csv", href}).click();
    setTimeout(() => URL.revokeObjectURL(href), 10000);
  }
}

function row(name) {
  return make("tr", {}, make("td", {}, name), make("td"), make("td", {class: "number"}));
}

async function lines(file) {
  const text = (await file.text()).split(/\r?\n/);
  return text.map((value, at) => ({name: `${file.name} ${at + 1}`, value}))
    .filter((item) => item.value.trim());
}

async function outcome(model, parts, signal) {
  for (;;) {
    try {
      return {answers: await predict(model, parts, {signal})};
    } catch (error) {
      if (error instanceof Gone && !signal.aborted) await back(signal);
      else return {problem: error.name === "AbortError" ? "" : error.message};
    }
  }
}

// Cells that a spreadsheet would take for a formula get an apostrophe in front.
export function toCsv(table) {
  const cell = (value) => {
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return table.map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";
}
