// One channel as a client knows it: how far it has heard, what waits to be said, and its events.  It outlives connections, so
// coming back goes on where the last one ended.

import { ChatError } from "./chat-error.js";
import { Outbox, quietly } from "./chat-outbox.js";
import { Alarm } from "./chat-timing.js";

/**
 * @import { ChannelState, Pending, Position } from "./chat-client.js"
 * @import { Answer, Entry, Port } from "./chat-internals.js"
 */

const LOGGED = new Set(["message", "edit", "delete"]);
const PASSING = new Set(["whisper", "joined", "left", "presence", "typing"]);
const REMEMBERED = 200; // whispers: one that is said again may come again
const TYPING = 3_000; // ms; the server tells others no more often
const READING = 1_000; // ms between two markers
const UNSURE = 40_000; // ms; a marker that was sent so shortly before the connection was lost may be lost, too

export class ChatChannel extends EventTarget {
  /** @type {ChannelState} */
  #state = { name: "waiting" };
  /** @type {Position | null} */
  #position = null;
  /** @type {Set<string>} as sender and id */
  #whispers = new Set();
  #port;
  #outbox;
  #questions;
  #owner;
  #typedAt = -Infinity;
  #read = 0;
  #readSent = { offset: 0, at: -Infinity };
  #reading;

  /**
   * @param {string} name
   * @param {Port} port
   * @param {Position | null} [position] where to go on; by default where the last page did
   */
  constructor(name, port, position) {
    super();
    this.name = name;
    this.#port = port;
    const stored = port.keeper.get(`position:${name}`);
    const outbox = port.keeper.get(`outbox:${name}`);
    this.#owner = stored?.user ?? outbox?.user ?? null;
    this.#position = copied(position === undefined ? stored : position);
    this.#reading = new Alarm(port.clock, () => this.#tellRead());
    const ask = (/** @type {any} */ frame, /** @type {any} */ answer) => this.#say(frame, answer);
    const onDone = (/** @type {Entry} */ entry, /** @type {any} */ frame) => this.#wasSent(entry, frame);
    this.#outbox = new Outbox(port.clock, { ask, onChange: () => this.#keepOutbox(), onDone });
    this.#questions = new Outbox(port.clock, { ask, onChange: () => {}, onDone: () => {} });
    if (Array.isArray(outbox?.entries)) this.#outbox.restore(outbox.entries);
  }

  /** "joining", "joined", "waiting", "left" or "ended", with what belongs to it. */
  get state() {
    return this.#state;
  }

  /** {epoch, offset} of what was heard last, null before the first welcome. */
  get position() {
    return this.#position && { ...this.#position };
  }

  /** What was said here and is not confirmed, in the order of saying. */
  get pending() {
    const publishes = this.#outbox.entries.filter(({ frame }) => frame.type === "publish");
    return publishes.map((entry) => {
      const { id, frame: { text, to = null }, state, error, since } = entry;
      return /** @type {Pending} */ ({ id, text, to, state, error, since });
    });
  }

  /**
   * Say something to everybody, or whisper it `to` one user.  It waits for the connection, and outlives a reload.
   *
   * @param {string} text
   * @param {{to?: string | null, id?: string}} [options] `id`: 1 to 64 visible ASCII characters, unique for this user
   */
  publish(text, { to = null, id } = {}) {
    const frame = to === null ? { type: "publish", text: `${text}` } : { type: "publish", text: `${text}`, to };
    return quietly(this.#change(frame, id));
  }

  /** Give the message at `offset` another text.  Resolves and rejects like `publish`. @param {number} offset @param {string} text */
  edit(offset, text) {
    return this.#change({ type: "edit", target: offset, text: `${text}` });
  }

  /** Take the message at `offset` back.  Resolves and rejects like `publish`. @param {number} offset */
  delete(offset) {
    return this.#change({ type: "delete", target: offset });
  }

  /**
   * Ask for what was said, as it now is, oldest first.
   *
   * @param {{before?: number, after?: number, limit?: number}} [range] limit: 1 to 200, 50 by default
   * @returns {Promise<{events: any[], more: boolean}>} whether there is more in that direction
   */
  async history({ before, after, limit } = {}) {
    const { events, more } = await this.#asked(this.#questions, { type: "history", before, after, limit });
    return { events, more };
  }

  /** The user has seen everything up to `offset`. @param {number} offset */
  read(offset) {
    this.#read = Math.max(this.#read, offset);
    if (!this.#reading.isSet) this.#tellRead();
  }

  /** The user is writing something.  Call it for every key: what is too often is left out. */
  typing() {
    const now = this.#port.clock.now();
    if (now - this.#typedAt < TYPING && now >= this.#typedAt) return;
    if (this.#say({ type: "typing" })) this.#typedAt = now;
  }

  /** Say again, with the same id, what has failed. @param {string} id @returns {Promise<any>} */
  retry(id) {
    return quietly(this.#outbox.retry(id).then(done));
  }

  /** Forget what is pending. @param {string} id */
  discard(id) {
    this.#outbox.discard(id);
  }

  /** Give the channel up; what was not sent fails.  Resolves when the server has let go. */
  leave() {
    return this.#port.leave();
  }

  // For the client

  /** @param {ChannelState} state */
  change(state) {
    this.#state = state;
    this.#tell("state", state);
  }

  /** Go on from there at the next join, which is not one that is under way. @param {Position | null} position */
  startFrom(position) {
    if (this.#state.name === "joined" || this.#state.name === "joining") return;
    this.#position = copied(position);
    this.#keepPosition();
  }

  /** Whose client this is: what another user has left is thrown away. @param {string} user */
  own(user) {
    if (this.#owner === user) return;
    if (this.#owner !== null) {
      this.#outbox.clear();
      this.#position = null;
    }
    this.#owner = user;
    this.#keepOutbox();
  }

  /** It is joined; or it was already, and its log goes on from another place. @param {any} frame */
  welcome(frame) {
    const { epoch, offset, recovered, limits } = frame;
    const wasThere = this.#position !== null;
    this.#outbox.hold(); // what is under way may have gone with the log
    if (wasThere && !recovered && epoch !== this.#position?.epoch) this.#beginAnew();
    if (!this.#position || !recovered) this.#position = { epoch, offset };
    else this.#position.epoch = epoch; // the missed events follow, and their offsets are below the one in `welcome`
    this.#keepPosition();
    if (this.#state.name !== "joined") this.change({ name: "joined" });
    this.#tell("welcome", frame);
    if (wasThere && !recovered) this.#tell("lost", { epoch, offset });
    this.#outbox.open(limits.message);
    this.#questions.open(Infinity);
    if (this.#read > this.#readSent.offset) this.#tellRead();
  }

  /** Take a frame; unknown ones are left alone, for a newer server may have more to say. @param {any} frame */
  hear(frame) {
    const { type, id, from } = frame;
    if (!LOGGED.has(type) && !PASSING.has(type)) return;
    if (id && from === this.#port.user()) this.#outbox.done(id, { id, offset: frame.offset ?? null });
    if (type === "whisper" && this.#isRepeated(from, id)) return;
    if (LOGGED.has(type) && !this.#advance(frame.offset)) return;
    this.#tell(type, frame);
  }

  /** The socket takes more. */
  pump() {
    this.#outbox.pump();
    this.#questions.pump();
  }

  /** The connection has gone. */
  lost() {
    this.#outbox.hold();
    this.#questions.hold();
    if (this.#port.clock.now() - this.#readSent.at < UNSURE) this.#readSent.offset = 0;
    if (this.#state.name === "joined" || this.#state.name === "joining") this.change({ name: "waiting" });
  }

  /** The client is closed. */
  rest() {
    this.#reading.clear();
    this.#outbox.rest();
    this.#questions.rest();
  }

  /** It will not come back by itself. @param {ChannelState} state @param {ChatError} error */
  end(state, error) {
    this.#reading.clear();
    this.#outbox.end(error);
    this.#questions.end(error);
    this.change(state);
  }

  // For itself

  /** @param {Record<string, any>} frame @param {string} [id] */
  async #change(frame, id) {
    return done(await this.#asked(this.#outbox, frame, id));
  }

  /** @param {Outbox} outbox @param {Record<string, any>} frame @param {string} [id] */
  #asked(outbox, frame, id) {
    const { name } = this.#state;
    if (name !== "ended" && name !== "left") return outbox.add(frame, id);
    const text = this.#state.name === "ended" ? this.#state.text : "You have left this channel.";
    return Promise.reject(new ChatError(this.#state.name === "ended" ? this.#state.code : "left", text, true));
  }

  /** @param {Record<string, any>} frame @param {Answer} [answer] */
  #say(frame, answer) {
    return this.#state.name === "joined" && this.#port.say({ ...frame, channel: this.name }, answer);
  }

  /** The offsets that were heard so far are those of another log. */
  #beginAnew() {
    this.#outbox.begin();
    this.#read = 0;
    this.#readSent = { offset: 0, at: -Infinity };
  }

  #tellRead() {
    if (this.#read <= this.#readSent.offset) return;
    const now = this.#port.clock.now();
    if (this.#say({ type: "read", offset: this.#read })) this.#readSent = { offset: this.#read, at: now };
    if (this.#state.name === "joined") this.#reading.set(now + READING);
  }

  /** @param {number} offset */
  #advance(offset) {
    if (!this.#position || offset <= this.#position.offset) return false;
    this.#position.offset = offset;
    this.#keepPosition();
    return true;
  }

  /** Whether that whisper was heard before; from now on it was. @param {string} from @param {string | null} id */
  #isRepeated(from, id) {
    if (id === null) return false;
    const key = `${id} ${from}`;
    if (this.#whispers.has(key)) return true;
    this.#whispers.add(key);
    for (const oldest of this.#whispers) if (this.#whispers.size > REMEMBERED) this.#whispers.delete(oldest);
    return false;
  }

  /** @param {Entry} entry @param {any} frame */
  #wasSent({ id, frame: { type, text, to = null } }, { offset }) {
    if (type === "publish") this.#tell("sent", { id, offset, text, to });
  }

  #keepPosition() {
    this.#port.keeper.setSoon(`position:${this.name}`, this.#position && { user: this.#owner, ...this.#position });
  }

  #keepOutbox() {
    const entries = this.#outbox.kept;
    this.#port.keeper.set(`outbox:${this.name}`, entries.length ? { user: this.#owner, entries } : null);
    this.#tell("outbox", this.pending);
  }

  /** @param {string} type @param {unknown} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What a publish comes to, from its ack or from the message itself. @param {any} frame */
function done({ id, offset }) {
  return /** @type {import("./chat-client.js").Published} */ ({ id, offset });
}

/** @param {any} position @returns {Position | null} null for what is none */
function copied(position) {
  if (typeof position?.epoch !== "string" || !Number.isSafeInteger(position.offset) || position.offset < 0) return null;
  return { epoch: position.epoch, offset: position.offset };
}
