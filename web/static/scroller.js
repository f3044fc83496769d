// What scrolls a log: it stays at the end while the reader is there; else what they read stays where it is.

import { make } from "./dom.js";

const NEAR = 48; // pixels from the end that still count as "at the end"

export class Scroller {
  #follows = true;
  #top = 0; // where it was scrolled to last

  /** `content` are its elements, the newest at the end. */
  constructor(...content) {
    const focusable = { tabIndex: 0, role: "group", "aria-label": "Messages" }; // else the keyboard cannot scroll it
    this.element = make("div", { className: "scroll", ...focusable }, ...content);
    this.newest = make("button", { type: "button", className: "newest", hidden: true }, "New messages below");
    this.newest.addEventListener("click", () => {
      this.element.focus(); // the button is about to go
      this.toEnd();
    });
    this.element.addEventListener("scroll", () => this.#note());
    // A keyboard that slides in, or a line that appears, must not push the newest message out of sight.
    const observer = new ResizeObserver(() => this.#follows && this.toEnd());
    for (const each of [this.element, ...content]) observer.observe(each);
  }

  /** Whether the reader is at the end, and so wants to stay there. */
  get follows() {
    return this.#follows;
  }

  toEnd() {
    this.#follows = true;
    this.element.scrollTop = this.element.scrollHeight;
    this.#top = this.element.scrollTop;
    this.newest.hidden = true;
  }

  /** Bring `element` to the top, if there is enough below it. */
  toTop(element) {
    this.element.scrollTop += element.getBoundingClientRect().top - this.element.getBoundingClientRect().top - NEAR;
    this.#note();
  }

  /** Something new stands at the end; `isNews` offers the way to it. */
  grew(isNews) {
    if (this.#follows) this.toEnd();
    else if (isNews) this.newest.hidden = false;
  }

  /** Let `change` add or remove something above what is read. */
  keep(change) {
    const fromEnd = this.element.scrollHeight - this.element.scrollTop;
    change();
    this.element.scrollTop = this.#top = this.element.scrollHeight - fromEnd;
  }

  /** What grows below moves nobody from the end; only who scrolls up leaves it. */
  #note() {
    const { scrollTop, clientHeight, scrollHeight } = this.element;
    if (!clientHeight) return; // out of sight
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - NEAR;
    if (isAtEnd || scrollTop < this.#top) this.#follows = isAtEnd;
    this.#top = scrollTop;
    if (isAtEnd) this.newest.hidden = true;
  }
}
