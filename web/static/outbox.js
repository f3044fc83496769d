// What was said here and is not confirmed yet.  The server knows each by its random id: saying a message again with the
// same id publishes it once, so after a lost connection everything unconfirmed is simply said again.

const AGAIN_WITHIN = 5 * 60_000; // ms; for so long the server remembers an id
const MOST = 50;
const WAITING = "Waiting for the connection…";

export class Outbox {
  #entries = new Map(); // id -> {id, text, to, since, shown}

  /** `send(frame)` returns whether there was a connection; `log` is the MessageLog that shows them. */
  constructor({ channel, send, log }) {
    Object.assign(this, { channel, send, log });
  }

  get isFull() {
    return this.#entries.size >= MOST;
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
      if (!entry.failed) entry.shown.wait(WAITING);
    }
  }

  /** Say again all that was lost with the last connection. */
  sayAgain() {
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
    this.#entries.delete(id);
    entry?.shown.remove();
    return entry;
  }

  has(id) {
    return this.#entries.has(id);
  }

  /** The server refused `id`. */
  refuse(id, why, again) {
    const entry = this.#entries.get(id);
    if (entry) this.#fail(entry, why, again);
    return entry !== undefined;
  }

  #publish(entry) {
    const { id, text, to } = entry;
    const frame = { type: "publish", channel: this.channel, id, text };
    entry.failed = false;
    entry.sent = this.send(to === null ? frame : { ...frame, to });
    entry.shown.wait(entry.sent ? "Sending…" : WAITING);
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
