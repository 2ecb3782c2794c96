"use strict";

const LEAST_MS = 250; // a choice sooner after the pictures appear is the second click of a double click
const LONGEST_MS = 3600000; // the server takes no longer time: the rater went away
const CHOSEN_MS = 180; // the chosen picture stays marked, so that one sees what one did
const FIRST_WAIT_MS = 500; // before trying again; doubled each time
const LONGEST_WAIT_MS = 5000;

const $ = (id) => document.getElementById(id);
const token = location.hash.slice(1);
const loaded = new Map(); // trial -> promise of its pictures
let state = null; // {consented, done, total, question, consent, reference}
let shownAt = null; // when the present pair became visible; null: no choice is taken

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

function show(id) {
  for (const section of ["wait", "consent", "trial", "end"]) $(section).hidden = section !== id;
  const heading = $(id).querySelector("h1");
  if (heading) heading.focus({ preventScroll: true });
}

function notice(text) {
  if ($("notice").textContent !== text) $("notice").textContent = text;
  $("notice").hidden = text === "";
}

function end(title, text) {
  $("end-title").textContent = title;
  $("end-text").textContent = text;
  notice("");
  show("end");
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/* Ask the server until it answers. A body may be sent again: the server keeps each vote once. */
async function ask(path, body) {
  const options = { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" };
  if (body) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    let answer = null;
    try {
      answer = await fetch(`api/${path}`, options);
      const content = answer.ok ? await (path.startsWith("picture/") ? answer.blob() : answer.json()) : null;
      if (answer.ok) {
        notice("");
        return content;
      }
    } catch {
      answer = null; // no connection, or it broke off
    }
    if (answer && answer.status < 500 && ![408, 429].includes(answer.status)) {
      const { problem } = await answer.json().catch(() => ({}));
      throw new Refused(answer.status, problem || "");
    }
    notice(body ? "Not saved yet: no connection. Trying again …" : "No connection. Trying again …");
    await pause(wait);
  }
}

async function decoded(trial, side) {
  const image = new Image();
  image.src = URL.createObjectURL(await ask(`picture/${trial}/${side}`));
  await image.decode();
  return image.src;
}

function pictures(trial) {
  if (!loaded.has(trial)) {
    const sides = ["left", "right", ...(state.reference ? ["reference"] : [])];
    const all = Promise.all(sides.map((side) => decoded(trial, side)));
    all.catch(() => loaded.delete(trial)); // asked for again when it is shown
    loaded.set(trial, all);
  }
  return loaded.get(trial);
}

async function showPair() {
  shownAt = null;
  const trial = state.done;
  const [left, right, reference] = await pictures(trial);
  $("left-picture").src = left;
  $("right-picture").src = right;
  if (reference) $("reference-picture").src = reference;
  $("reference").hidden = !reference;
  $("trial").classList.toggle("has-reference", Boolean(reference));
  $("question").textContent = state.question;
  $("bar").max = state.total;
  $("bar").value = trial;
  $("count").textContent = `${trial + 1} of ${state.total}`;
  $("left").classList.remove("chosen");
  $("right").classList.remove("chosen");
  $("trial").classList.remove("busy");
  if ($("trial").hidden) show("trial");
  $("spoken").textContent = `Pair ${trial + 1} of ${state.total}`;
  requestAnimationFrame(() => requestAnimationFrame(() => (shownAt = performance.now())));
  if (trial + 1 < state.total) pictures(trial + 1).catch(() => {});
}

async function choose(side) {
  const milliseconds = shownAt === null ? 0 : Math.round(performance.now() - shownAt);
  if (shownAt === null || milliseconds < LEAST_MS) return;
  shownAt = null;
  $("trial").classList.add("busy");
  $(side).classList.add("chosen");
  const trial = state.done;
  const vote = { trial, side, milliseconds: Math.min(milliseconds, LONGEST_MS) };
  try {
    [state] = await Promise.all([ask("vote", vote), pause(CHOSEN_MS)]);
  } catch (problem) {
    if (problem.status !== 409) throw problem;
    state = await ask("state"); // answered in another window: go on from there
  }
  for (const source of (await loaded.get(trial)) || []) URL.revokeObjectURL(source);
  loaded.delete(trial);
  await next();
}

async function next() {
  if (!state.consented) {
    $("consent-text").textContent = state.consent;
    $("consent-total").textContent = state.total;
    $("consent-question").textContent = state.question;
    show("consent");
  } else if (state.done < state.total) {
    await showPair();
  } else {
    end("All done. Thank you!", `Your ${state.total} choices are saved. You can close this page now.`);
  }
}

function failed(problem) {
  if (problem instanceof Refused && problem.status === 401) {
    end("This link is not valid", "Please open the link exactly as you got it, or ask the person who sent it.");
  } else {
    const why = problem instanceof Refused && problem.message ? ` (${problem.message})` : "";
    end("Something went wrong", `What you chose before is saved. Please load this page again${why}.`);
  }
}

const run = (action) => action().catch(failed);

$("agree").addEventListener("click", () => run(async () => {
  state = await ask("consent", { agreed: true });
  await next();
}));
$("decline").addEventListener("click", () =>
  end("You do not take part", "Nothing was stored. You can close this page now."));
for (const side of ["left", "right"]) $(side).addEventListener("click", () => run(() => choose(side)));
document.addEventListener("keydown", (event) => {
  const side = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right" }[event.key];
  if (!side || $("trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  run(() => choose(side));
});
addEventListener("hashchange", () => location.reload());

if (token) run(async () => {
  state = await ask("state");
  await next();
});
else failed(new Refused(401, ""));
