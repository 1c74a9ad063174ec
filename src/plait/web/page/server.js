// The server as the page sees it: what it serves, and its answers.

const TRIES = 8;

export class Problem extends Error {}      // the request can't be answered; the message says why
export class Gone extends Error {}         // the server does not answer
export class KeyNeeded extends Error {}

export function rememberKey(key) {
  sessionStorage.setItem("plait-key", key);
}

function headers() {
  const key = sessionStorage.getItem("plait-key");
  return key ? {"X-API-Key": key} : {};
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {...options, headers: headers()});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone();
  }
  if (response.status === 401) throw new KeyNeeded();
  return response;
}

export async function models() {
  const response = await call("/models");
  if (!response.ok) throw new Problem(await said(response));
  return response.json();
}

export async function isThere() {
  try {
    return (await fetch("/health")).ok;
  } catch {
    return false;
  }
}

// Parts are [path, value] as in a form; busy() is called while the server has too much to do.
export async function predict(model, parts, {signal, busy} = {}) {
  for (let attempt = 1; ; attempt++) {
    const form = new FormData();
    for (const [path, value] of parts) form.append(path, value);
    const response = await call(`/models/${model}/predict`, {method: "POST", body: form, signal});
    if (response.ok) return (await response.json()).answers;
    const crowded = response.status === 429 || response.status === 503;
    if (!crowded || attempt === TRIES) throw new Problem(await said(response));
    busy?.();
    await pause(1000 * (Number(response.headers.get("Retry-After")) || 1), signal);
  }
}

async function said(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the server answered ${response.status}`;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    });
  });
}
