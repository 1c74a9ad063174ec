"""How a report looks, and the little that it does: records behind a point or a number."""

from __future__ import annotations

from plait.render.charts import CHART_STYLE

STYLE = (
    CHART_STYLE
    + """
h3 { margin: 0 0 .6rem; font-size: 1rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.2rem, 1fr)); gap: .6rem;
  margin: 0; }
.score, .panel { padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .8rem; break-inside: avoid; margin: 0; }
dt { font-size: .82rem; color: var(--soft); }
dd { margin: 0; font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.score span { display: block; font-size: .78rem; min-height: 1.5em; color: var(--soft); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1rem; }
.map .chart { max-width: 56rem; margin: 0 auto; }
.broad { grid-column: 1 / -1; }
.note { margin: .7rem 0 0; color: var(--soft); font-size: .88rem; max-width: 46rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .8rem; padding: .6rem .8rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
.plain { width: 100%; } .plain th, .plain td { padding: .35rem .6rem; text-align: right; }
.plain th:first-child { text-align: left; } .plain tr + tr { border-top: 1px solid var(--line); }
.plain th { font-weight: 600; } .plain small { display: block; color: var(--soft); }
.confusion td { padding: 1px; } .confusion td:empty { min-width: 2.4rem; }
.confusion th { font-weight: 400; font-size: .85rem; text-align: right; padding: .2rem .5rem;
  color: var(--soft); max-width: 11rem; overflow-wrap: break-word; }
.scroll th:first-child { position: sticky; left: 0; background: var(--card); min-width: 5rem; }
.plain small { white-space: nowrap; }
.confusion tr:first-child th { vertical-align: bottom; text-align: left; padding: .3rem .25rem; }
.confusion tr:first-child span { writing-mode: vertical-rl; transform: rotate(180deg);
  max-height: 9rem; }
.confusion button { width: 100%; min-width: 2.4rem; padding: .4rem; border: 0; font: inherit;
  color: inherit; border-radius: .3rem; cursor: pointer;
  background: color-mix(in srgb, var(--tone) var(--how), transparent); }
.broad .confusion th { max-width: 8rem; } .broad .confusion td:empty, .broad .confusion button {
  min-width: 1.75rem; padding: .35rem 0; }
.confusion .for { --tone: var(--for); } .confusion .against { --tone: var(--against); }
.confusion button[aria-pressed=true] { outline: 2px solid var(--ink); }
.near, .behind { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 9.5rem),
  1fr)); gap: .8rem; align-items: start; }
.near { grid-template-columns: repeat(auto-fit, minmax(min(46%, 9.5rem), 1fr)); }
.behind:not(:empty) { margin-top: .8rem; }
.near img, .behind img { width: 100%; height: 7.5rem; object-fit: contain;
  background: var(--shade); display: block; }
figcaption { padding: .6rem .8rem .7rem; font-size: .88rem; overflow-wrap: anywhere; }
figcaption strong, figcaption span, figcaption small { display: block; }
figcaption p { margin: .2rem 0; } figcaption span, figcaption small { color: var(--soft); }
figcaption small { font-size: .78rem; }
.chart circle[data-record] { cursor: pointer; stroke: var(--card); stroke-width: .7; }
.chart circle[data-record]:hover, .chart circle.at { stroke: var(--ink); stroke-width: 2; }
#tip { position: fixed; z-index: 2; width: 11rem; pointer-events: none;
  box-shadow: 0 .4rem 1.4rem #0006; }
#tip img { width: 100%; height: 7.5rem; object-fit: contain; background: var(--shade);
  display: block; }
@media print { #tip, .behind { display: none; } .scroll { overflow: visible; padding: .3rem; }
  .confusion { font-size: .62rem; table-layout: fixed; width: 100%; }
  .confusion tr:first-child th:first-child { width: 13%; }
  .confusion th { font-size: .62rem; padding: .1rem; } .scroll th:first-child { min-width: 3rem; }
  .confusion td:empty, .confusion button { min-width: 0; padding: .15rem 0; }
  .near { grid-template-columns: repeat(6, 1fr); } }
"""
)
SCRIPT = """
"use strict";
(() => {
  const stores = new Map();
  const recordsOf = (element) => {
    const name = element.closest("[data-records]").dataset.records;
    if (!stores.has(name)) {
      stores.set(name, JSON.parse(document.getElementById(name).textContent));
    }
    return stores.get(name);
  };
  const add = (parent, tag, text) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };
  const card = (record) => {
    const figure = document.createElement("figure");
    if (record.picture) {
      const picture = add(figure, "img");
      picture.src = record.picture;
      picture.alt = "";
    }
    const caption = add(figure, "figcaption");
    add(caption, "strong", record.answer);
    add(caption, "span", "right: " + record.right);
    if (record.text) add(caption, "p", record.text);
    add(caption, "small", record.name + ", " + record.score);
    return figure;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-behind]");
    if (!button) return;
    const section = button.closest("section"), place = section.querySelector(".behind");
    const open = button.getAttribute("aria-pressed") === "true";
    section.querySelectorAll("button").forEach((b) => b.removeAttribute("aria-pressed"));
    place.replaceChildren();
    if (open) return;
    button.setAttribute("aria-pressed", "true");
    const records = recordsOf(button);
    button.dataset.behind.split(",").forEach((n) => place.append(card(records[n])));
  });
  let tip = null, at = null;
  const hide = () => {
    if (tip) tip.remove();
    if (at) at.classList.remove("at");
    tip = at = null;
  };
  document.addEventListener("pointerover", (event) => {
    const point = event.target.closest("circle[data-record]");
    if (!point) return hide();
    hide();
    at = point;
    at.classList.add("at");
    tip = card(recordsOf(point)[point.dataset.record]);
    tip.id = "tip";
    document.body.append(tip);
    const box = point.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.x - tip.offsetWidth / 2),
      innerWidth - tip.offsetWidth - 8);
    const above = box.y - tip.offsetHeight - 10;
    tip.style.left = left + "px";
    tip.style.top = (above > 8 ? above : box.y + 18) + "px";
  });
  document.addEventListener("scroll", hide, true);
})();
"""
