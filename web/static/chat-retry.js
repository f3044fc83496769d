// When to try again: after waits that grow, or those that the server asks for.  Time and chance come in from outside.

import { isSlow } from "./chat-endings.js";
import { Alarm } from "./chat-timing.js";

/**
 * @import { ClientState, Network } from "./chat-client.js"
 * @import { Clock } from "./chat-internals.js"
 */

const FIRST = 1; // seconds
const LONGEST = 30;
const STABLE = 10_000; // ms online after which the next loss counts as the first again
const SLOWLY = 4; // tries that count as made when the server has had too much
const JITTER = 1_000; // ms within which all whose network is back try again

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
 * When, as clock.now().
 *
 * @param {Clock} clock
 * @param {number} tries that were made
 * @param {number | null} seconds that were asked for
 */
function nextTry({ now, random }, tries, seconds) {
  return now() + 1000 * (seconds === null ? backoff(tries, random) : obey(seconds, random));
}

/** The tries to connect: how many were in vain, and how long to wait for the next one. */
export class Tries {
  #made = 0;
  #notBefore = 0; // ms, as now(): the server has asked for that
  #alarm;

  /** @param {Clock} clock @param {Network} online @param {() => void} act called when the wait is over */
  constructor(clock, online, act) {
    this.clock = clock;
    this.online = online;
    this.#alarm = new Alarm(clock, act);
  }

  /** Whether there was one before. */
  get isAgain() {
    return this.#made > 0;
  }

  /** Whether the server asks for no more patience. */
  get mayHurry() {
    return this.clock.now() >= this.#notBefore;
  }

  /** It has succeeded; for how long, its end will show. */
  welcome() {
    this.#notBefore = 0;
  }

  /** The connection has gone. @param {number} code @param {number | null} age ms since its welcome, null before */
  lost(code, age) {
    if (isSlow(code)) this.#made = Math.max(this.#made, SLOWLY);
    else if (age !== null && age > STABLE) this.#made = 0;
  }

  /** Count one that was in vain; return until when to rest. @param {number | null} seconds that the server has asked for */
  fail(seconds) {
    const until = nextTry(this.clock, this.#made, seconds);
    this.#made += 1;
    this.#notBefore = seconds === null ? 0 : until;
    return until;
  }

  /** Wait until then, or, where there is no network, until there is one. @param {number} until @returns {ClientState} */
  rest(until) {
    this.#alarm.clear();
    if (this.online.onLine === false) return { name: "offline" };
    this.#alarm.set(until);
    return { name: "waiting", until, isOrdered: this.#notBefore >= until };
  }

  /** Wait a little, for the network has come or gone, and many have noticed. */
  restShortly() {
    return this.rest(Math.max(this.#notBefore, this.clock.now() + JITTER * this.clock.random()));
  }

  /** Wait no more. */
  clear() {
    this.#alarm.clear();
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
    const { tries, alarm } = this.#waits.get(key) ?? { tries: 0, alarm: new Alarm(this.clock, this.act) };
    const until = nextTry(this.clock, tries, seconds);
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
