// The server as the page sees it: the models that it serves, and their answers.

import {pause} from "./make.js";

const TRIES = 8;
const RETRY = 1500; // milliseconds between two attempts to reach a server that is gone

export class Problem extends Error {}      // the request can't be answered; the message says why
export class Gone extends Error {}         // the server is not responding
export class KeyNeeded extends Error {}

export function rememberKey(key) {
  sessionStorage.setItem("plait-key", key);
}

async function call(path, options = {}) {
  const key = sessionStorage.getItem("plait-key");
  let response;
  try {
    response = await fetch(path, {...options, headers: key ? {"X-API-Key": key} : {}});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone();
  }
  if (response.status === 401) throw new KeyNeeded();
  return response;
}

export async function models() {
  const response = await call("/models");
  if (!response.ok) throw await problem(response);
  return response.json();
}

// Resolves once the server responds again.
export async function back(signal) {
  while (!signal?.aborted) {
    await pause(RETRY);
    if (await fetch("/health").then((response) => response.ok, () => false)) return;
  }
}

// Parts are [path, value] as in a form; busy() is called when the server has too much to do.
export async function predict(model, parts, {signal, busy} = {}) {
  for (let attempt = 1; ; attempt++) {
    const form = new FormData();
    for (const [path, value] of parts) form.append(path, value);
    const response = await call(`/models/${model}/predict`, {method: "POST", body: form, signal});
    if (response.ok) return (await response.json()).answers;
    const crowded = response.status === 429 || response.status === 503;
    if (!crowded || attempt === TRIES) throw await problem(response);
    busy?.();
    await pause(1000 * (Number(response.headers.get("Retry-After")) || 1));
    signal?.throwIfAborted();
  }
}

async function problem(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem(body.error ?? `the server answered with status ${response.status}`);
}
