// The message field: Enter sends, Shift+Enter breaks the line.  What cannot be sent is said beside it and kept, and each
// channel has a draft of its own.

import { parse } from "./command.js";
import { byId } from "./dom.js";

const CLOSE = 0.9; // of the limit, from where on the field says how much is left

export class Composer {
  #channel = null;

  /** `say({text, to})` returns "" or a sentence about why it cannot be; `limit()` is in bytes of UTF-8. */
  constructor({ say, limit, store }) {
    Object.assign(this, { say, limit, store, field: byId("text") });
    byId("say").addEventListener("submit", (event) => this.#submit(event));
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter belongs to it; Safari tells that by the code alone.
      const composes = event.isComposing || event.keyCode === 229;
      if (event.key === "Enter" && !event.shiftKey && !composes) this.#submit(event);
    });
    this.field.addEventListener("input", () => this.#changed());
  }

  /** Go on with what was begun in that channel. */
  switchTo(channel) {
    this.#channel = channel;
    this.#tell("");
    this.#fill(this.store.get(`draft:${channel}`, ""));
  }

  /** Put `text` at the start of the field, to be typed on. */
  begin(text) {
    this.#fill(text + this.field.value);
    this.field.focus();
    this.field.setSelectionRange(text.length, text.length);
  }

  #submit(event) {
    event.preventDefault();
    const line = this.field.value.trim();
    if (!line) return;
    const fault = this.#try(line);
    this.#tell(fault);
    if (!fault) this.#fill("");
    this.field.focus();
  }

  #try(line) {
    const { text, to, fault } = parse(line);
    if (fault) return fault;
    const size = bytes(text);
    const limit = this.limit();
    if (size > limit) return `This is too long: it has ${size} bytes, and at most ${limit} are allowed.`;
    return this.say({ text, to });
  }

  #tell(fault) {
    byId("say-error").textContent = fault;
    this.field.setAttribute("aria-invalid", String(fault !== ""));
  }

  #fill(text) {
    this.field.value = text;
    this.#changed();
  }

  #changed() {
    const { value } = this.field;
    this.field.rows = Math.min(value.split("\n").length, 8); // where the browser cannot size it by what is in it
    const left = this.limit() - bytes(value);
    byId("left").textContent = left > this.limit() * (1 - CLOSE) ? "" : left >= 0 ? `${left} bytes left` : `${-left} bytes too long`;
    this.store.set(`draft:${this.#channel}`, value);
  }
}

const bytes = (text) => new TextEncoder().encode(text).length;
