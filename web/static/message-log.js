// What was said in one channel, oldest first, each message by its offset.  It grows at its end, which is what role=log
// promises to screen readers, and quietly at its beginning; what has not been confirmed waits below it.

import { make } from "./dom.js";
import { Entry } from "./entry.js";
import { Line } from "./line.js";
import { richText } from "./rich-text.js";
import { Roving } from "./roving.js";
import { Scroller } from "./scroller.js";

const LONGEST = 2000; // lines kept on the page
const READING = 6000; // while somebody reads further up

export class MessageLog {
  #said = new Map(); // offset -> Entry or Line
  #lines = new WeakMap(); // the same by their elements, and whispers
  #end = new Run(); // what the next line goes on from
  #pending = null; // the last one in the outbox, as it was said
  #rule = make("p", { className: "rule new" }, make("span", {}, "New"));
  #isQuiet = false;
  #loud = null; // the timer that ends the quiet
  #seen;

  /**
   * `me` is the own user name; `acts(said)` a map of what one can do with a message (see Entry); `onSeen(offset)` when
   * what stands there has come into view; `onCut()` when its beginning has been dropped.
   */
  constructor({ me, names, channel, acts, onSeen, onCut }) {
    Object.assign(this, { me, names, acts, onSeen, onCut });
    this.log = make("div", { className: "log", role: "log", "aria-live": "polite", "aria-label": `Messages in ${channel}` });
    this.outbox = make("div", { className: "outbox" });
    this.before = make("div", { className: "before" });
    this.scroller = new Scroller(this.before, this.log, this.outbox);
    this.element = make("div", { className: "history", hidden: true }, this.scroller.element, this.scroller.newest);
    this.stops = new Roving(this.log, ".message");
    this.#seen = new IntersectionObserver((changes) => this.#see(changes), { root: this.scroller.element });
  }

  /** The offset of the first message here, or null. */
  get first() {
    const first = this.log.querySelector("[data-offset]");
    return first && Number(first.dataset.offset);
  }

  /** The last message of one's own that can be changed, or null. */
  get lastOwn() {
    const all = this.log.querySelectorAll(".own[data-offset]:not(.deleted)");
    return all.length ? this.#said.get(Number(all[all.length - 1].dataset.offset)) : null;
  }

  /** A message or, with `to`, a whisper; `note` is said beside it. */
  add(said, note = "") {
    const { rule, line } = this.#place(said, this.#end);
    if (note) line.note(note);
    this.#append(...rule, line.element);
    this.#offerLast();
  }

  /** What was said before all that is here, oldest first. */
  addOlder(page) {
    const run = new Run();
    const lines = page.map((said) => this.#place(said, run));
    const first = this.log.firstElementChild;
    this.#quietly(() => this.scroller.keep(() => {
      this.log.prepend(...lines.flatMap(({ rule, line }) => [...rule, line.element]));
      this.#mend(first, run);
    }));
    if (first === null) this.#end = run;
    if (this.scroller.follows) this.scroller.toEnd();
    this.#offerLast();
  }

  edit({ target, text, date }) {
    this.#said.get(target)?.edit(text, new Date(date));
  }

  delete({ target, date }) {
    this.#said.get(target)?.delete(new Date(date));
  }

  /** Begin anew, with nothing. */
  clear() {
    if (this.log.contains(document.activeElement)) this.scroller.element.focus();
    this.log.replaceChildren();
    this.#said.clear();
    this.#end = new Run();
    this.scroller.toEnd();
  }

  /** A quiet line about one person. */
  remarkAbout(user, text) {
    this.#remark([make("span", {}, ...this.names.label(user, ""), ` ${text}`)], new Date());
  }

  /** A line above the last `count` messages of others, which nobody has seen yet; there is one at most.  Return it, or null. */
  markNew(count) {
    const others = [...this.log.querySelectorAll(":is(.message, [data-offset]):not(.own, .deleted)")];
    const first = others[Math.max(0, others.length - count)];
    if (!count || !first) return null;
    first.before(this.#rule);
    this.#joinTo(first, null);
    return this.#rule;
  }

  /** An entry at the end that is not confirmed yet. */
  addPending({ to, text }) {
    const said = { offset: null, from: this.me, to, text, date: new Date() };
    const entry = this.#entry(said, { role: "status" });
    entry.join(this.outbox.childElementCount ? this.#pending : this.#end.last);
    entry.element.classList.add("pending");
    this.outbox.append(entry.element);
    this.#pending = said;
    this.scroller.toEnd();
    return entry;
  }

  /** Whether what is added is read out by screen readers: not while much is caught up on, nor just after. */
  setQuiet(isQuiet) {
    this.#isQuiet = isQuiet;
    clearTimeout(this.#loud);
    if (isQuiet) this.log.setAttribute("aria-live", "off");
    else this.#loud = setTimeout(() => this.log.setAttribute("aria-live", "polite"), 500);
  }

  #quietly(change) {
    const wasQuiet = this.#isQuiet;
    this.setQuiet(true);
    change();
    this.setQuiet(wasQuiet);
  }

  /** Make the line for what was said, where `run` has come to: {rule, line}, `rule` being a list. */
  #place(said, run) {
    const rule = run.startDay(said.date);
    const isSystem = said.from === "";
    const line = isSystem ? new Line(richText(said.text), said.date) : this.#entry(said, { acts: this.acts(said) });
    if (isSystem && said.deleted) line.delete();
    line.join?.(run.last);
    run.last = isSystem ? null : said;
    this.#lines.set(line.element, line);
    if (said.offset !== null) this.#know(said.offset, line);
    return { rule, line };
  }

  #entry(said, more) {
    return new Entry(said, { me: this.me, names: this.names, ...more });
  }

  #know(offset, line) {
    line.element.dataset.offset = offset;
    this.#said.set(offset, line);
    this.#seen.observe(line.element);
  }

  #remark(nodes, date) {
    const rule = this.#end.startDay(date);
    this.#end.last = null;
    this.#append(...rule, new Line(nodes, date).element);
  }

  /** Where older messages meet what was here: one rule for a day, one head for one author. */
  #mend(first, run) {
    if (first?.dataset.day === String(run.day)) {
      const next = first.nextElementSibling;
      first.remove();
      first = next;
    }
    if (first) this.#joinTo(first, run.last);
  }

  #offerLast() {
    const all = this.log.getElementsByClassName("message");
    if (all.length) this.stops.offer(all[all.length - 1]);
  }

  /** Whether a message stands under the head of `before`; other lines have none. */
  #joinTo(element, before) {
    this.#lines.get(element)?.join?.(before);
  }

  #append(...elements) {
    this.log.append(...elements);
    this.scroller.grew(elements.at(-1).classList.contains("message"));
    if (this.log.childElementCount > (this.scroller.follows ? LONGEST : READING)) this.scroller.keep(() => this.#shorten());
  }

  #shorten() {
    while (this.log.childElementCount > (this.scroller.follows ? LONGEST : READING)) {
      const line = this.log.firstElementChild;
      if (line.contains(document.activeElement)) this.scroller.element.focus();
      this.#said.delete(Number(line.dataset.offset));
      line.remove();
    }
    this.#joinTo(this.log.firstElementChild, null); // its head has gone
    this.onCut();
  }

  #see(changes) {
    const seen = changes.filter(({ isIntersecting }) => isIntersecting).map(({ target }) => target);
    for (const element of seen) this.#seen.unobserve(element);
    if (seen.length) this.onSeen(Math.max(...seen.map(({ dataset }) => Number(dataset.offset))));
  }
}

/** Where a run of lines has come to: which day has been told of, and whose message was the last. */
class Run {
  day = 0; // ms
  last = null; // what was said, when the last line was a message

  /** A rule for a new day, in a list.  Never back: a clock that differs from the server's would bring one with each line. */
  startDay(date) {
    const day = new Date(date).setHours(0, 0, 0, 0);
    if (day <= this.day) return [];
    this.day = day;
    this.last = null;
    const text = date.toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
    const rule = make("p", { className: "rule" }, make("span", {}, text));
    rule.dataset.day = day;
    return [rule];
  }
}
