// A stage for one client: a clock that the test turns, a network, a storage, and sockets whose other end is the test.

import { ChatClient } from "../../web/static/chat-client.js";

/** Let everything happen that waits for nothing but its turn. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class TurnedClock {
  time = 1_700_000_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.time;

  setTimeout = (act, ms) => {
    this.#timers.set(++this.#last, { act, due: this.time + ms });
    return this.#last;
  };

  clearTimeout = (id) => void this.#timers.delete(id);

  get isQuiet() {
    return this.#timers.size === 0;
  }

  /** Go on by `ms`, with everything that falls due on the way. */
  async turn(ms) {
    const until = this.time + ms;
    await settle();
    for (let next = this.#next(until); next; next = this.#next(until)) {
      const [id, { act, due }] = next;
      this.#timers.delete(id);
      this.time = Math.max(this.time, due);
      act();
      await settle();
    }
    this.time = until;
  }

  /** The computer sleeps, and its timers stand still; the clock goes on. */
  sleep(ms) {
    this.time += ms;
    for (const timer of this.#timers.values()) timer.due += ms;
  }

  /** The clock is set, which timers do not notice. */
  set(ms) {
    this.sleep(ms);
  }

  #next(until) {
    const due = [...this.#timers].filter(([, timer]) => timer.due <= until);
    return due.sort(([, a], [, b]) => a.due - b.due)[0];
  }
}

export class FakeStorage {
  items = new Map();
  writes = 0;

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.writes += 1;
    this.items.set(key, value);
  }

  removeItem(key) {
    this.items.delete(key);
  }
}

/** A WebSocket as a browser has it; `said` is what the client sent, parsed. */
export class FakeSocket {
  readyState = 0;
  said = [];
  onmessage = null;
  onclose = null;

  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
  }

  send(data) {
    if (this.readyState === 0) throw new Error("InvalidStateError");
    if (this.readyState === 1) this.said.push(JSON.parse(data));
  }

  close(code) {
    this.closedWith = code;
    this.readyState = 3;
  }

  // The server's end

  accept() {
    this.readyState = 1;
  }

  tell(...frames) {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** What was sent of one type. */
  of(type) {
    return this.said.filter((frame) => frame.type === type);
  }
}

export class Stage {
  clock = new TurnedClock();
  network = Object.assign(new EventTarget(), { onLine: true });
  storage = new FakeStorage();
  sockets = [];
  asked = []; // channels, for which a token was wanted
  token = async (channel) => ({ token: `${channel}-${this.asked.length}`, username: "ann" });
  chance = 0.5;

  client(options = {}) {
    const stage = this;
    const { clock, network, storage } = this;
    return new ChatClient({
      url: "https://example.org/chat/ws",
      token: (channel) => {
        this.asked.push(channel);
        return this.token(channel);
      },
      storage,
      online: network,
      WebSocket: class extends FakeSocket {
        constructor(...args) {
          super(...args);
          stage.sockets.push(this);
        }
      },
      setTimeout: clock.setTimeout,
      clearTimeout: clock.clearTimeout,
      now: clock.now,
      random: () => this.chance,
      ...options,
    });
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** Let the newest socket in, to that channel. */
  async welcome(channel = "lobby", more = {}) {
    await settle();
    this.socket.accept();
    this.socket.tell(welcome(channel, more));
    await settle();
    return this.socket;
  }

  setOnline(onLine) {
    this.network.onLine = onLine;
    this.network.dispatchEvent(new Event(onLine ? "online" : "offline"));
  }
}

export function welcome(channel, more = {}) {
  const limits = { message: 4096, rate: 0, channels: 100, history: 200 };
  const about = { user: { user: "ann" }, users: [{ user: "ann" }], count: 1, epoch: "e1", offset: 0, recovered: false, ping: 25, limits };
  return { type: "welcome", channel, ...about, ...more };
}

export function message(channel, offset, more = {}) {
  return { type: "message", channel, offset, id: null, from: "bob", text: `text ${offset}`, date: "2026-01-31T12:00:00.123Z", ...more };
}

export const ack = (channel, id, offset = null) => ({ type: "ack", channel, id, offset });

export const error = (id, code, more = {}) => ({ type: "error", id, code, message: "no", retry: false, ...more });

/** Note the events of these types, as [type, detail]. */
export function listen(target, ...types) {
  const heard = [];
  for (const type of types) target.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  return heard;
}

/** What `promise` was refused with. */
export const refusal = (promise) =>
  promise.then(
    () => null,
    (reason) => reason.code,
  );
