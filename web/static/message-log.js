// What was said in one channel, oldest first.  The log only ever grows at its end, which is what role=log promises to
// screen readers; what has not been confirmed waits below it, in the outbox.

import { byId, make, tell } from "./dom.js";
import { richText } from "./rich-text.js";

const LONGEST = 2000; // entries kept on the page
const NEAR = 48; // pixels from the end that still count as "at the end"
const TOGETHER = 5 * 60_000; // ms within which one author's messages stand under one head

export class MessageLog {
  #follow = true; // whether the reader is at the end, and so wants to stay there
  #last = null; // {from, to, date} of the last entry when it was a message
  #lastPending = null;
  #day = 0; // the latest one told of, as ms
  #mark = null;
  #loud = null; // the timer that ends the quiet

  /** `me` is the own user name. */
  constructor({ me, names, channel }) {
    Object.assign(this, { me, names });
    this.log = make("div", { className: "log", role: "log", "aria-live": "polite", "aria-label": `Messages in ${channel}` });
    this.outbox = make("div", { className: "outbox" });
    this.newest = make("button", { type: "button", className: "newest", hidden: true }, "New messages below");
    const focusable = { tabIndex: 0, role: "group", "aria-label": "Messages" }; // else the keyboard cannot scroll it
    this.scroller = make("div", { className: "scroll", ...focusable }, this.log, this.outbox);
    this.element = make("div", { className: "history", hidden: true }, this.scroller, this.newest);
    this.newest.addEventListener("click", () => {
      this.scroller.focus(); // the button is about to go
      this.toEnd();
    });
    this.scroller.addEventListener("scroll", () => this.#noteScrolling());
    // A keyboard that slides in, or a line that appears, must not push the newest message out of sight.
    const observer = new ResizeObserver(() => this.#follow && this.toEnd());
    for (const each of [this.scroller, this.log, this.outbox]) observer.observe(each);
  }

  /** A message or, with `to`, a whisper; `note` is said beside it. */
  add({ from, to = null, text, date, note = "" }) {
    if (from === "") return this.remark(text, date);
    const when = new Date(date);
    this.#startDay(when);
    const said = { from, to, date: when };
    const entry = this.#entry({ ...said, text, follows: belongs(said, this.#last) });
    if (note) entry.lastElementChild.append(make("p", { className: "hint" }, note));
    this.#append(entry);
    if (!this.#follow) this.newest.hidden = false;
    this.#last = said;
  }

  /** A quiet line that nobody has said. */
  remark(text, date = new Date()) {
    this.#remark(make("span", { dir: "auto" }, ...richText(text)), new Date(date));
  }

  /** A quiet line about one person. */
  remarkAbout(user, text) {
    this.#remark(make("span", {}, ...this.names.label(user, ""), ` ${text}`), new Date());
  }

  /** A line above what nobody has seen yet; there is one at most. */
  markNew() {
    this.#mark?.remove();
    this.#mark = make("p", { className: "rule new" }, make("span", {}, "New"));
    this.#append(this.#mark);
  }

  /** An entry at the end that is not confirmed yet; what is returned shows how it fares. */
  addPending({ to, text }) {
    const said = { from: this.me, to, date: new Date() };
    const before = this.outbox.childElementCount ? this.#lastPending : this.#last;
    const entry = this.#entry({ ...said, text, follows: belongs(said, before) });
    const state = make("p", { className: "hint", role: "status" });
    entry.lastElementChild.append(state);
    entry.classList.add("pending");
    this.outbox.append(entry);
    this.#lastPending = said;
    this.toEnd();
    return new PendingEntry(entry, state);
  }

  /** Whether what is added is read out by screen readers: not while much is caught up on, nor just after. */
  setQuiet(isQuiet) {
    clearTimeout(this.#loud);
    if (isQuiet) this.log.setAttribute("aria-live", "off");
    else this.#loud = setTimeout(() => this.log.setAttribute("aria-live", "polite"), 500);
  }

  /** Show the newest; what was new has been seen. */
  toEnd() {
    this.#follow = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.newest.hidden = true;
  }

  #entry({ from, to, date, text, follows }) {
    const head = make("p", { className: "head" }, ...this.names.label(from), " ");
    if (to !== null) head.append("whispers to ", ...(to === this.me ? ["you"] : this.names.label(to, "")), " ");
    head.append(time(date));
    head.classList.toggle("unseen", follows); // though not to screen readers, nor when it is copied
    const body = make("div", { className: "body" }, head, make("p", { className: "text", dir: "auto" }, ...richText(text)));
    const entry = make("div", { className: "message" }, this.names.avatar(from), body);
    entry.classList.toggle("own", from === this.me);
    entry.classList.toggle("whisper", to !== null);
    entry.classList.toggle("follows", follows);
    return entry;
  }

  #remark(line, date) {
    this.#startDay(date);
    this.#append(make("p", { className: "remark" }, line, " ", time(date)));
  }

  /** Never back: a clock that differs from the server's would bring a rule with each line. */
  #startDay(date) {
    const day = new Date(date).setHours(0, 0, 0, 0);
    if (day <= this.#day) return;
    this.#day = day;
    const text = date.toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
    this.#append(make("p", { className: "rule" }, make("span", {}, text)));
  }

  #append(entry) {
    this.#last = null;
    this.log.append(entry);
    if (this.log.childElementCount > LONGEST) this.#shorten();
    if (this.#follow) this.toEnd();
  }

  #shorten() {
    this.log.firstElementChild.remove();
    const first = this.log.firstElementChild;
    first.classList.remove("follows"); // its head has gone
    first.querySelector(".head")?.classList.remove("unseen");
  }

  #noteScrolling() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    this.#follow = scrollTop + clientHeight >= scrollHeight - NEAR;
    if (this.#follow) this.newest.hidden = true;
  }
}

/** Whether a message goes under the head of the one before it. */
function belongs(said, before) {
  return before !== null && before.from === said.from && before.to === said.to && said.date - before.date < TOGETHER;
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
    tell(this.state, text);
  }

  /** Say why it failed; `again` is null when another try is of no use. */
  fail(why, again, discard) {
    this.entry.classList.add("failed");
    this.state.replaceChildren(`${why} `);
    if (again) this.state.append(button("Try again", again), " ");
    this.state.append(button("Discard", discard));
  }
}

/** It goes when it is pressed, so the focus goes where one would go on. */
function button(text, act) {
  const onclick = () => {
    byId("text").focus();
    act();
  };
  return make("button", { type: "button", className: "quiet", onclick }, text);
}

function time(date) {
  const shown = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return make("time", { dateTime: date.toISOString(), title: date.toLocaleString() }, shown);
}
