// One client of the run in a browser: the module as an application would use it, and a journal beside it.

import { ChatClient } from "./static/chat-client.js";

const EDITS = 0.05; // of all that is said
const DELETES = 0.03;
const PAGE = 200;

const views = new Map(); // by channel: [{start, items: [[offset, [sender, text, deleted]]], events}]
const said = []; // {channel, kind, id, text, offset, error}
const own = new Map(); // by channel: offsets of what can still be changed
const channels = [];
const complaints = [];
let dice;
let user;
let timer;

/** Always the same numbers from the same seed (mulberry32). @param {number} seed */
function roll(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = (all) => Math.floor(dice() * all.length);
const waiting = (mean) => -mean * Math.log(1 - dice());

async function token(channel) {
  const answer = await fetch("/chat/token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ channel }),
  });
  const body = await answer.json();
  if (answer.ok) return body;
  const retryAfter = Number(answer.headers.get("Retry-After")) || null;
  throw Object.assign(new Error(body.error.message), { status: answer.status, code: body.error.code, retryAfter });
}

function listen(channel) {
  let ready = Promise.resolve(); // all that is heard waits for the history of its chapter
  const chapters = views.get(channel.name);
  const note = (kind) => ({ detail: { offset, id, from, target = 0, text = "" } }) => {
    ready = ready.then(() => chapters.at(-1).events.push([kind, offset, id, from, target, text]));
    if (kind === "message" && from === user) own.get(channel.name).push(offset);
  };
  for (const kind of ["message", "edit", "delete"]) channel.addEventListener(kind, note(kind));
  channel.addEventListener("lost", ({ detail: { offset } }) => {
    ready = ready.then(() => history(channel, offset)).then((items) => chapters.push({ start: offset, items, events: [] }));
  });
  channel.addEventListener("state", ({ detail }) => {
    if (detail.name === "ended") complaints.push(`${user} in ${channel.name}: ${detail.code} ${detail.text}`);
  });
}

/** Everything up to `last`, page by page. */
async function history(channel, last) {
  const items = new Map();
  let before = last + 1;
  for (let more = last > 0; more; ) {
    try {
      const page = await channel.history({ before, limit: PAGE });
      for (const { offset, from, text, deleted } of page.events) items.set(offset, [from, text, Boolean(deleted)]);
      before = Math.min(before, ...page.events.map(({ offset }) => offset));
      more = page.more;
    } catch (error) {
      if (!error.retry) throw error;
    }
  }
  return [...items];
}

/** Enter these channels as `name`; resolves once in all of them. */
async function enter(name, names, seed) {
  user = name;
  dice = roll(seed);
  const client = new ChatClient({ url: "/chat/ws", token, storage: null });
  await Promise.all(
    names.map((each) => {
      const channel = client.join(each);
      channels.push(channel);
      views.set(each, []);
      own.set(each, []);
      return new Promise((resolve) => {
        channel.addEventListener("welcome", ({ detail: { offset } }) => {
          if (views.get(each).length) return;
          views.get(each).push({ start: offset, items: [], events: [] });
          listen(channel);
          resolve();
        });
      });
    }),
  );
}

function speak(channel) {
  const text = `${user} says ${said.length} ${"é…😀 ".repeat(waiting(5))}`;
  const mine = own.get(channel.name);
  const luck = mine.length ? dice() : 1;
  const entry = { channel: channel.name, kind: "message", id: "", text, offset: 0, error: "" };
  said.push(entry);
  let asked;
  if (luck < DELETES) {
    Object.assign(entry, { kind: "delete", text: "" });
    asked = channel.delete(mine.splice(pick(mine), 1)[0]);
  } else if (luck < DELETES + EDITS) {
    entry.kind = "edit";
    asked = channel.edit(mine[pick(mine)], text);
  } else {
    entry.id = crypto.randomUUID();
    asked = channel.publish(text, { id: entry.id });
  }
  asked.then(
    ({ id, offset }) => Object.assign(entry, { id, offset }),
    ({ code }) => Object.assign(entry, { error: code || "unknown" }),
  );
}

/** Say something every `pause` ms, on the average. */
function talk(pause) {
  timer = setTimeout(() => {
    speak(channels[pick(channels)]);
    talk(pause);
  }, waiting(pause));
}

const all = () => [...views].flatMap(([, chapters]) => chapters);

globalThis.chaos = {
  enter,
  talk,
  hush: () => clearTimeout(timer),
  state: () => ({
    said: said.length,
    open: said.filter(({ offset, error }) => !offset && !error).length,
    heard: all().reduce((sum, { events }) => sum + events.length, 0),
    began: all().length - views.size,
    last: Object.fromEntries([...views].map(([name, chapters]) => [name, chapters.at(-1).events.at(-1)?.[1] ?? chapters.at(-1).start])),
  }),
  record: () => ({ views: [...views], said }),
  complaints: () => complaints,
};
