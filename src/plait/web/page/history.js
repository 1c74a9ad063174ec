// Earlier answers, kept in this browser alone, and the same in all of its tabs.

import {byId, make} from "./make.js";

const KEY = "plait-history";
const MOST = 30;
const SIDE = 96; // pixels of a small picture
const SAME = 8000; // milliseconds within which a changed request replaces the one before

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

function write(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries));
  } catch { // no room: pictures are what takes it
    const plain = entries.map(({picture, ...rest}) => rest);
    try { localStorage.setItem(KEY, JSON.stringify(plain)); } catch { /* none is kept, then */ }
  }
}

export async function remember(entry, file) {
  const picture = file?.type.startsWith("image/") ? await small(file) : null;
  const kept = read();
  const [last] = kept;
  const again = last && last.given === entry.given && last.model === entry.model;
  const typing = last && last.typed && entry.typed && Date.now() - last.when < SAME;
  write([{...entry, picture, when: Date.now()}, ...(again || typing ? kept.slice(1) : kept)].slice(0, MOST));
  show();
}

async function small(file) {
  try {
    const image = await createImageBitmap(file);
    const scale = SIDE / Math.max(image.width, image.height);
    const canvas = make("canvas", {width: Math.max(1, image.width * scale),
      height: Math.max(1, image.height * scale)});
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/jpeg", 0.7);
  } catch {
    return null;
  }
}

export function show() {
  const entries = read();
  byId("forget").hidden = !entries.length;
  byId("history-list").replaceChildren(...entries.map((entry) =>
    make("li", {},
      entry.picture ? make("img", {src: entry.picture, alt: ""}) : null,
      make("div", {}, make("strong", {}, entry.answer), make("br"), entry.given,
        make("time", {datetime: new Date(entry.when).toISOString()},
          `${entry.model}, ${new Date(entry.when).toLocaleString()}`)))));
}

export function start() {
  byId("forget").addEventListener("click", () => { localStorage.removeItem(KEY); show(); });
  addEventListener("storage", (event) => event.key === KEY && show());
  show();
}
