// Requests to the service. Imports no other part of the page.

const TOKEN = "reid-token";
const PATIENCE_S = 5; // how long a busy service may ask us to wait before we give up on our own

/** An error of the service (RFC 9457), or of the way to it (status 0). */
export class Problem extends Error {
  constructor({ status = 0, title = "", detail = "", retryAfter = null }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, retryAfter });
  }
}

let askToken = async () => null;
let asking = null;

/** Who asks the user for a token: a function of a reason that returns the token or null. */
export function onTokenNeeded(ask) {
  askToken = ask;
}

let memory = null;

function storedToken() {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    // A browser without storage: the token lasts until the page is closed.
    return memory;
  }
}

function keepToken(token) {
  memory = token;
  try {
    sessionStorage.setItem(TOKEN, token);
  } catch {
    // As in storedToken.
  }
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not every proxy answers with a problem document.
  }
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After"));
  const detail = typeof body.detail === "string" ? body.detail : "";
  return new Problem({ status: response.status, title: body.title || response.statusText, detail, retryAfter: Number.isFinite(retryAfter) ? retryAfter : null });
}

const wait = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

/** Ask for a token once, however many requests were refused at the same time. */
async function tokenAfter(used) {
  if (storedToken() && storedToken() !== used) return storedToken();
  asking ??= askToken(used ? "The service does not accept this token." : "").finally(() => {
    asking = null;
  });
  const token = await asking;
  if (token) keepToken(token);
  return token;
}

async function send(path, { method = "GET", body, signal, busyTries = 1 } = {}) {
  for (let tries = 0; ; tries += 1) {
    const token = storedToken();
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    if (typeof body === "string") headers["Content-Type"] = "application/json";
    let response;
    try {
      // no-store: pictures of people stay out of the browser's cache on the disk
      response = await fetch(path, { method, body, signal, headers, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ title: "The service cannot be reached", detail: "Check that it is running, then try again." });
    }
    if (response.ok) return response;
    if (response.status === 401) {
      if (await tokenAfter(token)) continue;
      throw new Problem({ status: 401, title: "The service needs a token", detail: "Whoever started it has the token." });
    }
    const problem = await problemOf(response);
    if (response.status !== 503 || tries >= busyTries || (problem.retryAfter ?? 1) > PATIENCE_S) throw problem;
    await wait(problem.retryAfter ?? 1, signal);
  }
}

const json = async (path, options) => (await send(path, options)).json();

function query(parameters) {
  const pairs = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(pairs.flatMap(([name, value]) => [value].flat().map((item) => [name, item]))).toString();
}

export const info = () => json("/v1/info");
export const search = (form, signal) => json("/v1/search", { method: "POST", body: form, signal });
export const rows = (parameters, signal) => json(`/v1/rows?${query(parameters)}`, { signal });
export const rename = (id, person) => json(`/v1/rows/${id}`, { method: "PATCH", body: JSON.stringify({ person }) });
export const remove = (id) => json(`/v1/rows/${id}`, { method: "DELETE" });
export const removePerson = (person) => json("/v1/delete", { method: "POST", body: JSON.stringify({ person }) });
export const thumbnail = async (id) => (await send(`/v1/rows/${id}/thumbnail`, { busyTries: 3 })).blob();
