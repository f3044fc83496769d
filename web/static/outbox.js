// What was said here and is not confirmed yet.  The server knows each by its random id: saying a message again with the
// same id publishes it once, so after a lost connection, or a reload, everything unconfirmed is simply said again.

const AGAIN_WITHIN = 5 * 60_000; // ms; for so long the server remembers an id
const MOST = 50;
const WAITING = "Waiting for the connection…";
const LOST = "Perhaps not sent: the connection was lost before it was confirmed.";

export class Outbox {
  #entries = new Map(); // id -> {id, text, to, since, sent, failed (why), shown}, in the order of saying
  #idle = WAITING; // what is told of entries while nothing can be sent
  #rate = 0; // messages a second that the server takes; 0 is no limit
  #slow = new Set(); // entries that were too fast, and those behind them
  #timer = null;

  /** `send(frame)` returns whether there was a connection; `log` is the MessageLog that shows them. */
  constructor({ channel, send, log, store }) {
    Object.assign(this, { channel, send, log, store });
    for (const kept of store.get(`outbox:${channel}`, [])) this.#restore(kept);
  }

  get isFull() {
    return this.#entries.size >= MOST;
  }

  get isEmpty() {
    return this.#entries.size === 0;
  }

  /** Say something for the first time. */
  say({ text, to }) {
    const entry = this.#add({ id: randomId(), text, to, since: Date.now() });
    if (this.#slow.size) this.#queue(entry);
    else this.#publish(entry);
  }

  /** The connection has gone, and nothing is under way any more; `isOver` when it will not come back by itself. */
  hold(isOver = false) {
    this.#idle = isOver ? "Not sent: there is no connection." : WAITING;
    this.#rush();
    for (const entry of this.#entries.values()) {
      if (!entry.failed) entry.shown.wait(this.#idle);
    }
  }

  /** Say again all that was lost with the last connection, to a server that takes `rate` messages a second. */
  sayAgain(rate) {
    this.#rate = rate;
    for (const entry of this.#entries.values()) {
      if (entry.failed) continue;
      // A whisper is not logged, so the server may not know that it was delivered.
      if (entry.sent && entry.to !== null) this.#fail(entry, LOST, true);
      else if (Date.now() - entry.since > AGAIN_WITHIN) this.#fail(entry, "Not sent: the connection was away for too long.", true);
      else this.#publish(entry);
    }
  }

  /** Return the entry of that id and forget it, or undefined. */
  take(id) {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    this.#slow.delete(entry);
    this.#entries.delete(id);
    this.#keep();
    entry.shown.remove();
    return entry;
  }

  has(id) {
    return this.#entries.has(id);
  }

  /** The server refused `id`; return whether that was one of these. */
  refuse(id, { code, why, retry }) {
    const entry = this.#entries.get(id);
    if (!entry) return false;
    if (code === "rate_limited") this.#queue(entry);
    else this.#fail(entry, `Not sent: ${why}`, retry);
    return true;
  }

  #restore(kept) {
    const entry = this.#add(kept);
    if (kept.failed) this.#fail(entry, kept.failed, true);
    else entry.shown.wait(WAITING);
  }

  #add(kept) {
    const entry = { ...kept, shown: this.log.addPending(kept) };
    this.#entries.set(entry.id, entry);
    this.#keep();
    return entry;
  }

  /** Over a reload, too. */
  #keep() {
    const kept = [...this.#entries.values()].map(({ shown, ...entry }) => entry);
    this.store.set(`outbox:${this.channel}`, kept);
  }

  #publish(entry) {
    const { id, text, to } = entry;
    const frame = { type: "publish", channel: this.channel, id, text };
    entry.failed = "";
    const isSent = this.send(to === null ? frame : { ...frame, to });
    entry.sent ||= isSent;
    entry.shown.wait(isSent ? "Sending…" : this.#idle);
    this.#keep();
  }

  /** Too much at once: say it by itself, one after the other in their order, a little slower than the server would allow. */
  #queue(entry) {
    this.#slow.add(entry);
    entry.shown.wait("That was fast. Sending in a moment…");
    this.#timer ??= setTimeout(() => this.#next(), 1000);
  }

  #next() {
    const first = [...this.#entries.values()].find((entry) => this.#slow.has(entry));
    this.#slow.delete(first);
    this.#timer = this.#slow.size ? setTimeout(() => this.#next(), 1200 / (this.#rate || 1)) : null;
    if (first) this.#publish(first);
  }

  #rush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#slow.clear();
  }

  #fail(entry, why, again) {
    const retry = () => {
      entry.since = Date.now();
      this.#publish(entry);
    };
    entry.failed = why;
    entry.shown.fail(why, again ? retry : null, () => this.take(entry.id));
    this.#keep();
  }
}

/** 96 random bits; not crypto.randomUUID(), which a page without TLS does not have. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
