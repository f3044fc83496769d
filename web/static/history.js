// What was said before: a page when somebody first looks, older ones as they scroll up, until the beginning.

import { sentence } from "./chat-error.js";
import { make } from "./dom.js";

const PAGE = 50; // messages at a time
const MOST = 200; // that the server gives at once
const AHEAD = "400px 0px 0px"; // above what is seen, where loading begins

export class History {
  #start = null; // the offset of what was said last when the log began
  #more = true;
  #isLoading = false;
  #round = 0; // which log this is: an answer for an earlier one is of no use
  #changes = []; // what happened to messages while older ones were on their way
  #isFirst = true;
  #watch;

  /**
   * `load({before, limit})` returns {events, more}; `wanted()` how many messages the first page should have at least;
   * `onLoaded(count, isFirst)`.
   */
  constructor({ log, channel, load, wanted, onLoaded }) {
    Object.assign(this, { log, channel, load, wanted, onLoaded });
    const area = { root: log.scroller.element, rootMargin: AHEAD };
    this.#watch = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.#next(), area);
  }

  /** The log begins behind `offset`. */
  begin(offset) {
    this.#round += 1;
    this.#start = offset;
    this.#isLoading = false;
    this.#isFirst = this.#more = true;
    this.#changes = []; // of another log, maybe
    this.#look();
  }

  /** The beginning of the log was dropped: it is to be had again. */
  cut() {
    this.#more = true;
    this.#look();
  }

  /** The connection is back. */
  again() {
    if (this.#start !== null && this.#more) this.#look();
  }

  /** Let `change` happen to the log, and again to a page on its way, which may not know of it yet. */
  change(change) {
    change();
    if (this.#isLoading) this.#changes.push(change);
  }

  /** Have the observer say whether the beginning is in sight. */
  #look() {
    this.#watch.disconnect();
    if (this.#isLoading) return;
    this.#show(...(this.#more ? [this.#button("Show older messages")] : [`This is the beginning of ${this.channel}.`]));
    if (this.#more) this.#watch.observe(this.log.before);
  }

  async #next() {
    const before = this.log.first ?? this.#start + 1;
    if (this.#isLoading || !this.#more) return;
    if (before <= 1) return this.#take({ events: [], more: false });
    const round = this.#round;
    this.#isLoading = true;
    this.#show("Loading…");
    try {
      const limit = Math.min(MOST, Math.max(PAGE, this.#isFirst ? this.wanted() : 0));
      const page = await this.load({ before, limit });
      if (round === this.#round) this.#take(page);
    } catch (error) {
      if (round === this.#round) this.#fail(error);
    }
  }

  #take({ events, more }) {
    const isFirst = this.#isFirst;
    this.#isLoading = this.#isFirst = false;
    this.#more = more;
    this.#look(); // before the log grows, so that what is read stays in its place
    if (events.length) this.log.addOlder(events.map(said));
    for (const change of this.#changes.splice(0)) change();
    this.onLoaded(events.length, isFirst);
  }

  #fail({ message }) {
    this.#isLoading = false;
    this.#changes = [];
    this.#watch.disconnect(); // it would try again at once
    this.#show(`Older messages could not be loaded: ${sentence(message)} `, this.#button("Try again"));
  }

  #button(label) {
    return make("button", { type: "button", className: "quiet", onclick: () => this.#next() }, label);
  }

  #show(...nodes) {
    const { before, scroller } = this.log;
    if (before.contains(document.activeElement)) scroller.element.focus();
    before.replaceChildren(...nodes);
  }
}

/** A message as the log has it. */
function said({ offset, from, text, date, edited, deleted }) {
  const when = (each) => (each ? new Date(each) : null);
  return { offset, from, to: null, text, date: new Date(date), edited: when(edited), deleted: when(deleted) };
}
