// Asks this page's own server for the health of the stack and draws it. Nothing is inserted as HTML.
const PERIOD_MS = 5000;
const DEADLINE_MS = 8000;
// The words of the services' readiness, in three shades.
const SHADES = { ready: "good", healthy: "good", degraded: "warn", draining: "warn" };

const byId = (id) => document.getElementById(id);
const shade = (word) => SHADES[word] ?? "bad";

function state(element, word) {
  element.className = "state";
  element.dataset.state = shade(word);
  if (element.textContent !== word) element.textContent = word;
}

function card(name, word) {
  const item = document.createElement("li");
  const title = document.createElement("h3");
  title.textContent = name;
  const line = document.createElement("p");
  state(line, word);
  item.append(title, line);
  return item;
}

function banner(text) {
  const element = byId("banner");
  element.hidden = !text;
  if (element.textContent !== text) element.textContent = text;
  document.body.classList.toggle("stale", Boolean(text));
}

function draw(health) {
  state(byId("overall"), health.status);
  const services = Object.entries(health.services);
  if (services.length > 0) byId("services").replaceChildren(...services.map(([name, word]) => card(name, word)));
  banner(health.gateway === "reachable" ? "" : `The gateway does not answer (${health.gateway}). Trying again.`);
  const now = new Date();
  byId("asked").dateTime = now.toISOString();
  byId("asked").textContent = now.toLocaleTimeString();
}

async function ask() {
  try {
    const answer = await fetch("/api/health", { cache: "no-store", signal: AbortSignal.timeout(DEADLINE_MS) });
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    draw(await answer.json());
  } catch (error) {
    state(byId("overall"), "unknown");
    banner(`This page's server does not answer (${error.message}). Trying again.`);
  }
}

async function run() {
  if (!document.hidden) await ask();
  setTimeout(run, PERIOD_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
run();
