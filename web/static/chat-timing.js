// When to try again, how fast to speak, and being woken at a time.  Time and chance come in from outside.

/** @import { Clock } from "./chat-internals.js" */

const FIRST = 1; // seconds
const LONGEST = 30;
const TICK = 5_000; // ms
const LATE = 2_000; // ms after which a timer tells that we have slept; a busy page is late by less
const BURST = 2.5; // seconds' worth of messages at once; the server takes 3
const SHARE = 0.9; // of the rate that the server takes, because frames may bunch up on their way
const BREATH = 1_000; // ms of silence after it was too much all the same

/**
 * Full jitter: seconds between nothing and a bound that doubles.  When a server comes back, its clients then spread evenly
 * instead of coming in waves (AWS Architecture Blog, "Exponential Backoff And Jitter").
 *
 * @param {number} attempt
 * @param {() => number} random
 */
export function backoff(attempt, random) {
  return random() * Math.min(LONGEST, FIRST * 2 ** Math.min(attempt, 10));
}

/**
 * Seconds that the close reason `retry=1.250` asks for, or null.
 *
 * @param {string} reason
 */
export function askedFor(reason) {
  const match = /^retry=(\d+(?:\.\d+)?)$/.exec(reason);
  return match ? Number(match[1]) : null;
}

/**
 * The seconds to wait where a server has asked for some: not less, and a little more, for others were asked for the same.
 *
 * @param {number} seconds
 * @param {() => number} random
 */
export function obey(seconds, random) {
  return Math.min(Math.max(seconds, 0), 10 * LONGEST) + FIRST * random();
}

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

/** What waits for another try, each with its own backoff. @template K */
export class Delays {
  /** @type {Map<K, {tries: number, alarm: Alarm, until: number}>} */
  #waits = new Map();

  /** @param {Clock} clock @param {() => void} act called whenever a wait is over */
  constructor(clock, act) {
    this.clock = clock;
    this.act = act;
  }

  /** @param {K} key @param {number | null} seconds that were asked for */
  begin(key, seconds) {
    const { now, random } = this.clock;
    const { tries, alarm } = this.#waits.get(key) ?? { tries: 0, alarm: new Alarm(this.clock, this.act) };
    const until = now() + 1000 * (seconds === null ? backoff(tries, random) : obey(seconds, random));
    alarm.set(until);
    this.#waits.set(key, { tries: tries + 1, alarm, until });
  }

  /** Until when, as clock.now(); 0 for what does not wait. @param {K} key */
  until(key) {
    const wait = this.#waits.get(key);
    return wait?.alarm.isSet ? wait.until : 0;
  }

  /** It has succeeded, or is given up. @param {K} key */
  forget(key) {
    this.#waits.get(key)?.alarm.clear();
    this.#waits.delete(key);
  }

  /** Nothing waits any more; how often each was tried is remembered. */
  cut() {
    for (const { alarm } of this.#waits.values()) alarm.clear();
  }
}
