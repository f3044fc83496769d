// A server that keeps a log, and a network that may cut anywhere, for clients that must lose nothing.  Both are driven by one
// seeded chance and one turned clock, so what goes wrong once goes wrong again.

import { FakeSocket, FakeStorage, message, settle, TurnedClock, welcome } from "./stage.js";

const DEDUPED = 300_000; // ms

/** Numbers from 0 to 1, always the same for one seed (mulberry32). */
export function chanceOf(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One log per channel, deduplicated by user and id for 5 minutes, as docs/protocol.md has it. */
class Room {
  log = [];
  epoch = "e1";
  begin = 0; // where this epoch's offsets begin
  lines = new Set();
  #ids = new Map();
  whispers = [];

  constructor(name, clock) {
    this.name = name;
    this.clock = clock;
  }

  get last() {
    return Math.max(this.begin, this.log.at(-1)?.offset ?? 0);
  }

  /** The log goes on from another place, and all are told. */
  move() {
    this.begin = this.last + 1000;
    this.epoch = `e${this.begin}`;
    for (const line of this.lines) line.tell(this.welcome(line.user, false));
  }

  welcome(user, recovered) {
    return welcome(this.name, { user: { user }, epoch: this.epoch, offset: this.last, recovered });
  }

  publish(user, { id, text, to }) {
    const key = `${user} ${id}`;
    const known = this.#ids.get(key);
    if (known && this.clock.now() - known.at < DEDUPED) return known.offset;
    const offset = to ? null : this.last + 1;
    this.#ids.set(key, { offset, at: this.clock.now() });
    const whisper = { type: "whisper", channel: this.name, id, from: user, to, text, date: "" };
    const frame = to ? whisper : message(this.name, offset, { id, from: user, text });
    (to ? this.whispers : this.log).push(frame);
    for (const line of this.lines) if (!to || [user, to].includes(line.user)) line.tell(frame);
    return offset;
  }
}

/** The server's end of one socket; frames take their time in both directions, in order. */
class Line {
  channels = new Set();
  isCut = false;

  constructor(net, socket) {
    Object.assign(this, { net, socket });
    this.user = socket.protocols[1].split(".").at(-1).split("-")[0];
  }

  /** After this, nothing arrives any more, wherever it is; the client learns of it, or by silence only. */
  cut(isSilent) {
    this.isCut = true;
    for (const room of this.net.rooms.values()) room.lines.delete(this);
    if (!isSilent) this.net.later(() => this.socket.end(1006));
  }

  tell(frame) {
    this.#carry(() => this.socket.tell(frame));
  }

  hear(frame) {
    this.#carry(() => this.net.answer(this, frame));
  }

  #carry(act) {
    this.net.later(() => this.isCut || act(), this);
  }
}

export class Net {
  clock = new TurnedClock();
  rooms = new Map();
  lines = [];
  refusals = 0;
  #until = new Map(); // of what is under way on a line: nothing overtakes

  constructor(seed) {
    this.chance = chanceOf(seed);
  }

  room(name) {
    if (!this.rooms.has(name)) this.rooms.set(name, new Room(name, this.clock));
    return this.rooms.get(name);
  }

  later(act, line = null) {
    const due = Math.max(this.clock.time + 40 * this.chance(), this.#until.get(line) ?? 0);
    if (line) this.#until.set(line, due);
    this.clock.setTimeout(act, due - this.clock.time);
  }

  /** What ChatClient wants to be given, for a user. */
  surroundings(user, storage = new FakeStorage()) {
    const net = this;
    return {
      url: "ws://example.org/chat/ws",
      token: async (channel) => ({ token: `${user}-${channel}`, username: user }),
      storage,
      WebSocket: class extends FakeSocket {
        constructor(...args) {
          super(...args);
          net.accept(this);
        }
      },
      online: Object.assign(new EventTarget(), { onLine: true }),
      setTimeout: this.clock.setTimeout,
      clearTimeout: this.clock.clearTimeout,
      now: this.clock.now,
      random: this.chance,
    };
  }

  accept(socket) {
    const line = new Line(this, socket);
    this.lines.push(line);
    socket.send = (data) => socket.readyState === 1 && line.hear(JSON.parse(data));
    socket.close = () => {
      socket.readyState = 3;
      line.cut(true);
    };
    this.later(() => {
      if (line.isCut) return;
      socket.accept();
      const { epoch = null, offset } = Object.fromEntries(socket.url.searchParams);
      this.join(line, socket.protocols[1].split("-")[1], epoch, Number(offset));
    }, line);
  }

  join(line, name, epoch, offset) {
    const room = this.room(name);
    const recovered = epoch === room.epoch;
    line.channels.add(name);
    line.tell(room.welcome(line.user, recovered));
    for (const frame of recovered ? room.log.filter((each) => each.offset > offset) : []) line.tell(frame);
    room.lines.add(line);
  }

  answer(line, frame) {
    const { type, id, channel, token, epoch, offset } = frame;
    if (type === "join") {
      this.join(line, token.split("-")[1], epoch, offset);
      line.tell({ type: "ack", channel: token.split("-")[1], id, offset: null });
    } else if (type === "publish") {
      this.#publish(line, frame);
    } else if (type === "ping") {
      line.tell({ type: "pong", id });
    } else {
      throw new Error(`not expected: ${type} ${channel}`);
    }
  }

  /** Now and then it is refused for a while, and may be in the log all the same. */
  #publish(line, frame) {
    const { id, channel } = frame;
    const luck = this.chance();
    if (luck < 0.1) {
      this.refusals += 1;
      if (luck < 0.05) this.room(channel).publish(line.user, frame);
      line.tell({ type: "error", channel, id, code: luck < 0.03 ? "rate_limited" : "broker_unavailable", message: "later", retry: true });
    } else {
      line.tell({ type: "ack", channel, id, offset: this.room(channel).publish(line.user, frame) });
    }
  }

  /** Go on in small steps; `act` is called at each. */
  async run(ms, act = () => {}) {
    for (const end = this.clock.time + ms; this.clock.time < end; ) {
      act();
      await this.clock.turn(10);
    }
    await settle();
  }
}
