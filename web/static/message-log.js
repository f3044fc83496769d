// What was said in one channel, oldest first.  The log only ever grows at its end, which is what role=log promises to
// screen readers; what has not been confirmed waits below it, in the outbox.

import { make } from "./dom.js";

const LONGEST = 2000; // entries kept on the page
const NEAR = 48; // pixels from the end that still count as "at the end"

export class MessageLog {
  #follow = true; // whether the reader is at the end, and so wants to stay there

  /** `me` is the own name. */
  constructor(me, channel) {
    this.me = me;
    this.log = make("div", { className: "log", role: "log", "aria-live": "polite", "aria-label": `Messages in ${channel}` });
    this.outbox = make("div", { className: "outbox" });
    this.newest = make("button", { type: "button", className: "newest", hidden: true }, "New messages below");
    const focusable = { tabIndex: 0, role: "group", "aria-label": "Messages" }; // else the keyboard cannot scroll it
    this.scroller = make("div", { className: "scroll", ...focusable }, this.log, this.outbox);
    this.element = make("div", { className: "history", hidden: true }, this.scroller, this.newest);
    this.newest.addEventListener("click", () => this.toEnd());
    this.scroller.addEventListener("scroll", () => this.#noteScrolling());
    // A keyboard that slides in, or a line that appears elsewhere, must not push the newest message out of sight.
    new ResizeObserver(() => this.#follow && this.toEnd()).observe(this.scroller);
  }

  /** A message or, with `to`, a whisper; `note` is said beside it. */
  add({ from, to = null, text, date, note = "" }) {
    if (from === "") return this.remark(text, date);
    const entry = this.#entry({ from, to, text, date });
    if (note) entry.append(make("p", { className: "hint" }, note));
    this.#append(entry);
  }

  /** A quiet line that nobody has said. */
  remark(text, date = new Date()) {
    this.#append(make("div", { className: "remark" }, make("span", { dir: "auto" }, text), " ", time(date)));
  }

  /** A quiet line about one person. */
  remarkAbout(name, text) {
    const line = make("span", {}, make("bdi", {}, name), ` ${text}`);
    this.#append(make("div", { className: "remark" }, line, " ", time(new Date())));
  }

  /** An entry at the end that is not confirmed yet; what is returned shows how it fares. */
  addPending({ to, text }) {
    const entry = this.#entry({ from: this.me, to, text, date: new Date() });
    const state = make("p", { className: "hint", role: "status" });
    entry.append(state);
    entry.classList.add("pending");
    this.outbox.append(entry);
    this.toEnd();
    return new PendingEntry(entry, state);
  }

  toEnd() {
    this.#follow = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.newest.hidden = true;
  }

  #entry({ from, to, text, date }) {
    const head = make("p", { className: "head" }, make("bdi", { className: "from" }, from), " ");
    if (to !== null) head.append(make("span", { className: "to" }, "whispers to ", make("bdi", {}, to)), " ");
    head.append(time(date));
    const entry = make("div", { className: "message" }, head, make("p", { className: "text", dir: "auto" }, text));
    entry.classList.toggle("own", from === this.me);
    entry.classList.toggle("whisper", to !== null);
    return entry;
  }

  #append(entry) {
    this.log.append(entry);
    if (this.log.childElementCount > LONGEST) this.log.firstElementChild.remove();
    if (this.#follow) this.toEnd();
    else this.newest.hidden = false;
  }

  #noteScrolling() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    this.#follow = scrollTop + clientHeight >= scrollHeight - NEAR;
    if (this.#follow) this.newest.hidden = true;
  }
}

class PendingEntry {
  constructor(entry, state) {
    this.entry = entry;
    this.state = state;
  }

  remove() {
    this.entry.remove();
  }

  wait(text) {
    this.entry.classList.remove("failed");
    this.state.replaceChildren(text);
  }

  /** Say why it failed; `again` is null when another try is of no use. */
  fail(why, again, discard) {
    this.entry.classList.add("failed");
    this.state.replaceChildren(`Not sent: ${why} `);
    if (again) this.state.append(button("Try again", again), " ");
    this.state.append(button("Discard", discard));
  }
}

function button(text, onclick) {
  return make("button", { type: "button", className: "quiet", onclick }, text);
}

function time(date) {
  const when = new Date(date);
  const today = when.toDateString() === new Date().toDateString();
  const clock = { hour: "2-digit", minute: "2-digit" };
  const shown = when.toLocaleString(undefined, today ? clock : { ...clock, day: "numeric", month: "short" });
  return make("time", { dateTime: when.toISOString(), title: when.toLocaleString() }, shown);
}
