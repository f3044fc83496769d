// What is remembered over a reload: a few JSON values in a Storage, whose every write blocks the page.

import { Alarm } from "./chat-timing.js";

/** @import { Clock } from "./chat-internals.js" */

const EVERY = 1_000; // ms between two writes of what changes all the time

export class Keeper {
  /** @type {Map<string, unknown>} values that are not written yet */
  #unwritten = new Map();
  #alarm;

  /**
   * @param {Pick<Storage, "getItem" | "setItem" | "removeItem"> | null} storage
   * @param {string} key
   * @param {Clock} clock
   */
  constructor(storage, key, clock) {
    this.storage = storage;
    this.key = key;
    this.clock = clock;
    this.#alarm = new Alarm(clock, () => this.flush());
  }

  /** @param {string} name @returns {any} null where there is nothing, or nothing of ours */
  get(name) {
    if (this.#unwritten.has(name)) return this.#unwritten.get(name);
    try {
      return JSON.parse(this.storage?.getItem(this.#path(name)) ?? "null");
    } catch {
      return null; // forbidden by the browser's settings, or not ours
    }
  }

  /** Write now; null removes. @param {string} name @param {unknown} value */
  set(name, value) {
    this.#unwritten.delete(name);
    try {
      if (value === null) this.storage?.removeItem(this.#path(name));
      else this.storage?.setItem(this.#path(name), JSON.stringify(value));
    } catch {
      // Full or forbidden: then it lives as long as the page.
    }
  }

  /** Write within a second. @param {string} name @param {unknown} value */
  setSoon(name, value) {
    this.#unwritten.set(name, value);
    if (!this.#alarm.isSet) this.#alarm.set(this.clock.now() + EVERY);
  }

  flush() {
    this.#alarm.clear();
    for (const [name, value] of this.#unwritten) this.set(name, value);
  }

  /** @param {string} name */
  #path(name) {
    return `${this.key}:${name}`;
  }
}
