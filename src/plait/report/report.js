"use strict";
// Shows the records behind a number or a point.
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
    add(caption, "span", "expected: " + record.expected);
    if (record.text) add(caption, "p", record.text);
    add(caption, "small", record.name + ", " + record.score);
    return figure;
  };
  const show = (element, names) => {
    const records = recordsOf(element);
    const behind = element.closest("section").querySelector(".behind");
    behind.replaceChildren(...names.map((name) => card(records[name])));
  };
  document.addEventListener("click", (event) => {
    const point = event.target.closest("circle[data-record]");
    if (point) {
      const name = point.dataset.record, near = recordsOf(point)[name].near;
      if (near) show(point, [name, ...near]);
      return;
    }
    const button = event.target.closest("button[data-behind]");
    if (!button) return;
    const open = button.getAttribute("aria-pressed") === "true";
    const buttons = button.closest("section").querySelectorAll("button");
    buttons.forEach((b) => b.removeAttribute("aria-pressed"));
    if (!open) button.setAttribute("aria-pressed", "true");
    show(button, open ? [] : button.dataset.behind.split(","));
  });
  let tip = null, at = null;
  const hide = () => {
    if (tip) tip.remove();
    if (at) at.classList.remove("at");
    tip = at = null;
  };
  document.addEventListener("pointerover", (event) => {
    hide();
    at = event.target.closest("circle[data-record]");
    if (!at) return;
    at.classList.add("at");
    tip = card(recordsOf(at)[at.dataset.record]);
    tip.id = "tip";
    document.body.append(tip);
    const box = at.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.x - tip.offsetWidth / 2),
      innerWidth - tip.offsetWidth - 8);
    const above = box.y - tip.offsetHeight - 10;
    tip.style.left = left + "px";
    tip.style.top = (above > 8 ? above : box.y + 18) + "px";
  });
  document.addEventListener("scroll", hide, true);
})();
