// What was said here and is not confirmed yet.  The server knows each by its random id: saying a message again with the
// same id publishes it once, so after a lost connection everything unconfirmed is simply said again.

const AGAIN_WITHIN = 5 * 60_000; // ms; for so long the server remembers an id
const MOST = 50;
const WAITING = "Waiting for the connection…";

export class Outbox {
  #entries = new Map(); // id -> {id, text, to, since, sent, failed, timer, shown}
  #rate = 0; // messages a second that the server takes; 0 is no limit
  #slowed = 0; // entries that wait because it was too much

  /** `send(frame)` returns whether there was a connection; `log` is the MessageLog that shows them. */
  constructor({ channel, send, log }) {
    Object.assign(this, { channel, send, log });
  }

  get isFull() {
    return this.#entries.size >= MOST;
  }

  get isEmpty() {
    return this.#entries.size === 0;
  }

  /** Say something for the first time. */
  say({ text, to }) {
    const entry = { id: randomId(), text, to, since: Date.now(), shown: this.log.addPending({ to, text }) };
    this.#entries.set(entry.id, entry);
    this.#publish(entry);
  }

  /** The connection has gone: nothing is under way any more. */
  hold() {
    for (const entry of this.#entries.values()) {
      this.#stop(entry);
      if (!entry.failed) entry.shown.wait(WAITING);
    }
  }

  /** Say again all that was lost with the last connection, to a server that takes `rate` messages a second. */
  sayAgain(rate) {
    this.#rate = rate;
    for (const entry of this.#entries.values()) {
      if (entry.failed) continue;
      // A whisper is not logged, so the server may not know that it was delivered.
      if (entry.sent && entry.to !== null) this.#fail(entry, "the connection was lost before it was confirmed.", true);
      else if (Date.now() - entry.since > AGAIN_WITHIN) this.#fail(entry, "the connection was away for too long.", true);
      else this.#publish(entry);
    }
  }

  /** Return the entry of that id and forget it, or undefined. */
  take(id) {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    this.#stop(entry);
    this.#entries.delete(id);
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
    if (code === "rate_limited") this.#slowDown(entry);
    else this.#fail(entry, why, retry);
    return true;
  }

  #publish(entry) {
    const { id, text, to } = entry;
    const frame = { type: "publish", channel: this.channel, id, text };
    entry.failed = false;
    entry.sent = this.send(to === null ? frame : { ...frame, to });
    entry.shown.wait(entry.sent ? "Sending…" : WAITING);
  }

  /** Too much at once: say it again by itself, one after the other, a little slower than the server would allow. */
  #slowDown(entry) {
    this.#stop(entry);
    this.#slowed += 1;
    entry.shown.wait("That was fast. Sending in a moment…");
    const again = () => {
      this.#stop(entry);
      this.#publish(entry);
    };
    entry.timer = setTimeout(again, 1000 + (1200 * this.#slowed) / (this.#rate || 1));
  }

  #stop(entry) {
    if (!entry.timer) return;
    clearTimeout(entry.timer);
    entry.timer = null;
    this.#slowed -= 1;
  }

  #fail(entry, why, again) {
    const retry = () => {
      entry.since = Date.now();
      this.#publish(entry);
    };
    entry.failed = true;
    entry.shown.fail(why, again ? retry : null, () => this.take(entry.id));
  }
}

/** 96 random bits; not crypto.randomUUID(), which a page without TLS does not have. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
