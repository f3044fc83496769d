// Being woken at a time, and how fast to speak.  Time comes in from outside.

/** @import { Clock } from "./chat-internals.js" */

const TICK = 5_000; // ms
const LATE = 2_000; // ms after which a timer tells that we have slept; a busy page is late by less
const BURST = 2.5; // seconds' worth of messages at once; the server takes 3
const SHARE = 0.9; // of the rate that the server takes, because frames may bunch up on their way
const BREATH = 1_000; // ms of silence after it was too much all the same

/**
 * Acts at a time.  While a computer sleeps its timers stand still and its clock goes on, so the clock is looked at every
 * few seconds; one that is set back delays nothing.
 */
export class Alarm {
  /** @type {any} */
  #timer = null;
  #when = 0;
  #due = 0;

  /**
   * @param {Clock} clock
   * @param {() => void} act
   * @param {() => void} [onLate] called first when we have slept
   */
  constructor(clock, act, onLate = () => {}) {
    this.clock = clock;
    this.act = act;
    this.onLate = onLate;
  }

  get isSet() {
    return this.#timer !== null;
  }

  /** @param {number} when ms, as clock.now() */
  set(when) {
    this.clear();
    this.#when = when;
    this.#arm();
  }

  clear() {
    if (this.#timer !== null) this.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm() {
    const now = this.clock.now();
    const delay = Math.min(Math.max(this.#when - now, 0), TICK);
    this.#due = now + delay;
    this.#timer = this.clock.setTimeout(() => this.#look(), delay);
  }

  #look() {
    const now = this.clock.now();
    const timer = this.#timer;
    if (now < this.#due) this.#when -= this.#due - now; // set back
    if (now - this.#due > LATE) this.onLate();
    if (this.#timer !== timer) return; // onLate has decided otherwise
    if (now < this.#when) return this.#arm();
    this.#timer = null;
    this.act();
  }
}

/** How fast one socket may speak: the server's own rule (the generic cell rate algorithm), kept with something to spare. */
export class Pace {
  #interval = 0; // ms between two messages in the long run; 0 is no limit
  #burst = 1;
  #until = 0;

  /** @param {Clock} clock */
  constructor(clock) {
    this.clock = clock;
  }

  /** Begin anew. @param {number} rate messages a second that the server takes; 0 is no limit */
  begin(rate) {
    this.#interval = rate ? 1000 / (SHARE * rate) : 0;
    this.#burst = Math.max(BURST * rate, 1);
    this.#until = 0;
  }

  /** Whole ms until the next message may be said: a clock of ms would stand still for less. */
  get wait() {
    return Math.ceil(Math.max(0, this.#until - this.clock.now() - (this.#burst - 1) * this.#interval));
  }

  spend() {
    this.#until = Math.max(this.#until, this.clock.now()) + this.#interval;
  }

  /** The server has found it too much. */
  exhaust() {
    const full = this.clock.now() + (this.#burst - 1) * this.#interval;
    this.#until = Math.max(this.#until, full + BREATH);
  }
}
