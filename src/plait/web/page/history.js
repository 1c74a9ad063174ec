// Earlier answers, stored in this browser only and shared by all of its tabs.

import {byId, make} from "./make.js";

const KEY = "plait-history";
const MOST = 30;
const SIDE = 96; // pixels of a thumbnail
const TYPING = 8000; // milliseconds within which a changed text replaces the one before

function read() {
  try {
    const entries = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(entries) ? entries : [];
  } catch {
    return [];
  }
}

function write(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries));
  } catch { // no room: try without thumbnails
    const plain = entries.map(({picture, ...rest}) => rest);
    try { localStorage.setItem(KEY, JSON.stringify(plain)); } catch { /* then nothing is stored */ }
  }
}

export async function remember(entry, file) {
  const picture = file?.type.startsWith("image/") ? await thumbnail(file).catch(() => null) : null;
  const entries = read();
  const [last] = entries;
  const same = last && last.given === entry.given && last.model === entry.model;
  const typing = last && last.typed && entry.typed && Date.now() - last.when < TYPING;
  const older = same || typing ? entries.slice(1) : entries;
  write([{...entry, picture, when: Date.now()}, ...older].slice(0, MOST));
  show();
}

async function thumbnail(file) {
  const image = await createImageBitmap(file);
  const scale = SIDE / Math.max(image.width, image.height);
  const canvas = make("canvas", {width: Math.max(1, image.width * scale),
    height: Math.max(1, image.height * scale)});
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.7);
}

function show() {
  const entries = read();
  byId("clear-history").hidden = !entries.length;
  byId("history-list").replaceChildren(...entries.map((entry) =>
    make("li", {},
      entry.picture ? make("img", {src: entry.picture, alt: ""}) : null,
      make("div", {}, make("strong", {}, entry.answer), make("br"), entry.given,
        make("time", {datetime: new Date(entry.when).toISOString()},
          `${entry.model}, ${new Date(entry.when).toLocaleString()}`)))));
}

export function start() {
  byId("clear-history").addEventListener("click", () => { localStorage.removeItem(KEY); show(); });
  addEventListener("storage", (event) => event.key === KEY && show());
  show();
}
