// What was asked of one channel and is not answered yet, in order.  One request is under way at a time: were a second one
// sent before the first is answered, and the first refused until later, their order would be lost.  The server knows each by
// its random id, so after a lost connection what was not answered is said again and happens once.

import { ChatError } from "./chat-error.js";
import { Alarm } from "./chat-timing.js";

/** @import { Clock, Entry, OutboxHooks } from "./chat-internals.js" */

// The server remembers an id for 5 minutes from when it logged it; what is said again is a while under way.
const AGAIN_WITHIN = 270_000; // ms
const MOST = 100;
const CHANGES = new Set(["edit", "delete"]);
const ID = /^[\x21-\x7e]{1,64}$/;
const NO_TEXT = /[\0\p{Surrogate}]/u; // with u, only halves of a pair are found
const LONGEST = 10; // seconds between two tries

export class Outbox {
  /** @type {Map<string, Entry>} in the order of asking */
  #entries = new Map();
  #isOpen = false;
  #limit = Infinity; // bytes of one text
  #again;
  #expiry;

  /**
   * @param {Clock} clock
   * @param {OutboxHooks} hooks
   */
  constructor(clock, hooks) {
    this.clock = clock;
    this.hooks = hooks;
    this.#again = new Alarm(clock, () => this.pump());
    this.#expiry = new Alarm(clock, () => this.#expire());
  }

  get entries() {
    return [...this.#entries.values()];
  }

  /**
   * Ask as soon as all before it is answered; the same id is asked once.
   *
   * @param {Record<string, any>} frame
   * @param {string} [id]
   * @returns {Promise<any>} of the answer; nobody has to look at it
   */
  add(frame, id = randomId()) {
    const fault = this.#entries.has(id) ? null : this.#fault(frame, id);
    if (fault) return quietly(Promise.reject(fault));
    const entry = this.#entries.get(id) ?? this.#begin(frame, id, this.clock.now());
    this.#changed();
    this.pump();
    return entry.promise;
  }

  /** Go on with what another page's life has left. @param {any[]} kept as `kept` gave it */
  restore(kept) {
    for (const { id, frame, since, error } of kept.filter(isEntry)) {
      const entry = this.#begin(frame, id, since);
      entry.wasSent = true; // perhaps
      if (error) this.#fail(entry, new ChatError(error.code, error.message, error.retry));
    }
    this.#changed();
  }

  /** What is to outlive the page. */
  get kept() {
    const publishes = this.entries.filter(({ frame }) => frame.type === "publish");
    return publishes.map(({ id, frame, since, state, error }) => {
      const failed = state === "failed" && error ? { code: error.code, message: error.message, retry: error.retry } : null;
      return { id, frame, since, error: failed };
    });
  }

  /** The channel is joined. @param {number} limit bytes of one text */
  open(limit) {
    this.#isOpen = true;
    this.#limit = limit;
    this.#expire(); // a computer that has slept, or a client that was closed, has heard no alarm meanwhile
  }

  /** The channel is away, to come back perhaps: what is under way may have arrived or not. */
  hold() {
    this.#isOpen = false;
    this.#again.clear();
    const sent = this.entries.filter(({ state }) => state === "sent");
    for (const entry of sent) entry.state = "queued";
    if (sent.length) this.#changed();
  }

  /** Nobody looks after it any more, until it is opened: it may have another owner by then. */
  rest() {
    this.hold();
    this.#expiry.clear();
  }

  /** Nothing more will be said by itself. @param {ChatError} error */
  end(error) {
    this.hold();
    for (const entry of this.entries) if (entry.state !== "failed") this.#fail(entry, error);
    this.#changed();
  }

  /** The log has begun anew: other messages, or none, have the offsets that changes of messages aim at. */
  begin() {
    const changes = this.entries.filter(({ frame }) => CHANGES.has(frame.type));
    for (const entry of changes) this.#fail(entry, new ChatError("no_such_message", "The log has begun anew: there is no such message."));
    if (changes.length) this.#changed();
  }

  /** Forget everything: it is another user's. */
  clear() {
    for (const { id } of this.entries) this.discard(id);
  }

  /** Send the first one, if it is its turn. */
  pump() {
    if (!this.#isOpen || this.#again.isSet) return;
    let first = this.#first();
    for (; first?.state === "queued" && this.#isTooBig(first); first = this.#first()) this.#changed();
    if (first?.state === "queued") this.#send(first);
  }

  /** It is done, as its answer says, or as is seen in the channel. @param {string} id @param {any} frame */
  done(id, frame) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    entry.resolve(frame);
    this.#changed();
    this.hooks.onDone(entry, frame);
    this.pump();
  }

  /** Ask again for what has failed, as if for the first time. @param {string} id @returns {Promise<any>} */
  retry(id) {
    const entry = this.#entries.get(id);
    if (!entry) return quietly(Promise.reject(new ChatError("unknown_id", "Nothing of that id waits.")));
    if (entry.state !== "failed") return entry.promise;
    this.#entries.delete(id);
    const again = this.#begin(entry.frame, id, this.clock.now());
    again.wasSent = entry.wasSent;
    this.#changed();
    this.pump();
    return again.promise;
  }

  /** Forget it; when it is under way it may happen all the same. @param {string} id */
  discard(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    entry.reject(new ChatError("discarded", "This was discarded."));
    this.#changed();
    this.pump();
  }

  /** @param {Record<string, any>} frame @param {string} id */
  #fault(frame, id) {
    if (!ID.test(id)) return new ChatError("bad_request", "An id has 1 to 64 visible ASCII characters.");
    if (NO_TEXT.test((frame.text ?? "") + (frame.to ?? ""))) {
      return new ChatError("bad_text", "The text holds what no text may hold: U+0000 or half of a surrogate pair.");
    }
    if (this.#entries.size < MOST) return null;
    return new ChatError("outbox_full", "Too much is waiting to be sent. Wait until the connection is back.", true);
  }

  /** @param {Record<string, any>} frame @param {string} id @param {number} since @returns {Entry} */
  #begin(frame, id, since) {
    /** @type {any} */
    const entry = { id, frame, since, state: "queued", wasSent: false, error: null, refusals: 0 };
    entry.promise = quietly(new Promise((resolve, reject) => Object.assign(entry, { resolve, reject })));
    this.#entries.set(id, entry);
    return entry;
  }

  /** @param {Entry} entry */
  #send(entry) {
    const { id, frame } = entry;
    const done = (/** @type {any} */ answer) => this.done(id, answer);
    const refused = (/** @type {ChatError} */ error) => this.#refused(entry, error);
    if (!this.hooks.ask({ ...frame, id }, { done, refused })) return;
    entry.state = "sent";
    entry.wasSent = true;
    this.hooks.onChange();
  }

  /** Whether the server would not take it; then it has failed. @param {Entry} entry */
  #isTooBig(entry) {
    const size = new TextEncoder().encode(entry.frame.text ?? "").length;
    if (size <= this.#limit) return false;
    const message = `The message has ${size} bytes, and at most ${this.#limit} are allowed.`;
    this.#fail(entry, new ChatError("message_too_big", message));
    return true;
  }

  #first() {
    return this.entries.find(({ state }) => state !== "failed");
  }

  /** @param {Entry} entry @param {ChatError} error */
  #refused(entry, error) {
    if (entry.state !== "sent") return; // discarded meanwhile
    if (error.retry || error.code === "not_joined") {
      entry.state = "queued";
      entry.error = error;
      entry.refusals += 1;
      const seconds = Math.min(2 ** (entry.refusals - 1), LONGEST) * (0.75 + this.clock.random() / 2);
      this.#again.set(this.clock.now() + 1000 * seconds);
    } else {
      this.#fail(entry, error);
    }
    this.#changed();
    this.pump();
  }

  /** @param {Entry} entry @param {ChatError} error */
  #fail(entry, error) {
    entry.state = "failed";
    entry.error = error;
    entry.reject(error);
    if (entry.frame.type !== "publish") this.#entries.delete(entry.id); // only what was typed is offered again
  }

  #expire() {
    for (const entry of this.entries) {
      if (entry.state === "failed" || this.clock.now() < entry.since + AGAIN_WITHIN) continue;
      if (entry.wasSent) this.#fail(entry, new ChatError("unconfirmed", "Perhaps not sent: it was not confirmed in time.", true));
      else this.#fail(entry, new ChatError("unsent", "Not sent: the connection was away for too long.", true));
    }
    this.#changed();
    this.pump();
  }

  #changed() {
    this.#watch();
    this.hooks.onChange();
  }

  #watch() {
    const since = Math.min(...this.entries.filter(({ state }) => state !== "failed").map((entry) => entry.since));
    if (since === Infinity) this.#expiry.clear();
    else this.#expiry.set(since + AGAIN_WITHIN);
  }
}

/** A promise that may be left alone, for there are events too. @template T @param {Promise<T>} promise */
export function quietly(promise) {
  promise.catch(() => {});
  return promise;
}

/** @param {any} kept */
function isEntry(kept) {
  return typeof kept?.id === "string" && typeof kept.frame?.text === "string" && Number.isFinite(kept.since);
}

/** 96 random bits; not crypto.randomUUID(), which a page without TLS does not have. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
