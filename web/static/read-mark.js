// How far one has read a channel: what was in view for a second, on a page that could be seen, is told to the server.

const PAUSE = 1000; // ms

export class ReadMark {
  #seen = -1; // the highest offset that has come into view
  #told = -1;
  #timer = null;

  /** `isSeen()` tells whether somebody looks at the channel; `onRead(offset)` when everything up to there was read. */
  constructor({ isSeen, onRead }) {
    Object.assign(this, { isSeen, onRead });
  }

  /** What stands at `offset` is in view. */
  see(offset) {
    this.#seen = Math.max(this.#seen, offset);
    this.look();
  }

  /** Somebody looks again. */
  look() {
    if (this.#seen > this.#told) this.#timer ??= setTimeout(() => this.#tell(), PAUSE);
  }

  /** The offsets are those of another log. */
  reset() {
    this.#seen = this.#told = -1;
  }

  #tell() {
    this.#timer = null;
    if (!this.isSeen() || this.#seen <= this.#told) return;
    this.#told = this.#seen;
    this.onRead(this.#seen);
  }
}
