// The message field: Enter sends, Shift+Enter breaks the line, and what cannot be sent is said beside it and kept.

import { parse } from "./command.js";
import { byId } from "./dom.js";

export class Composer {
  /** `say({text, to})` returns "" or a sentence about why it cannot be; `limit()` is in bytes of UTF-8. */
  constructor({ say, limit }) {
    Object.assign(this, { say, limit, field: byId("text") });
    byId("say").addEventListener("submit", (event) => this.#submit(event));
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter belongs to it.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#submit(event);
    });
    this.field.addEventListener("input", () => this.#fit());
  }

  /** Put `text` at the start of the field, to be typed on. */
  begin(text) {
    this.field.value = text + this.field.value;
    this.field.focus();
    this.field.setSelectionRange(text.length, text.length);
  }

  #submit(event) {
    event.preventDefault();
    const line = this.field.value.trim();
    if (!line) return;
    const fault = this.#try(line);
    byId("say-error").textContent = fault;
    this.field.setAttribute("aria-invalid", String(fault !== ""));
    if (!fault) this.field.value = "";
    this.#fit();
    this.field.focus();
  }

  #try(line) {
    const { text, to, fault } = parse(line);
    if (fault) return fault;
    const size = new TextEncoder().encode(text).length;
    const limit = this.limit();
    if (size > limit) return `This is too long: it has ${size} bytes, and at most ${limit} are allowed.`;
    return this.say({ text, to });
  }

  /** As many lines as were typed, up to a bound that the stylesheet sets. */
  #fit() {
    this.field.rows = Math.min(this.field.value.split("\n").length, 6);
  }
}
