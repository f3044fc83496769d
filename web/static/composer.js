// The message field: Enter sends, Shift+Enter breaks the line, and the arrow up in an empty one changes what was said last.
// What cannot be sent is said beside it and kept, and each channel has a draft of its own.

import { parse } from "./command.js";
import { byId, tell } from "./dom.js";

const CLOSE = 0.9; // of the limit, from where on the field says how much is left

export class Composer {
  #channel = null;
  #changing = null; // {offset, text, save} of the message that is changed

  /**
   * `say({text, to})` returns "" or a sentence about why it cannot be; `limit()` is in bytes of UTF-8; `onTyping()` while
   * something is typed that all will hear; `onAgain()` when one wants to change what one has said last.
   */
  constructor({ say, limit, store, onTyping, onAgain }) {
    Object.assign(this, { say, limit, store, onTyping, onAgain, field: byId("text") });
    byId("say").addEventListener("submit", (event) => this.#submit(event));
    byId("cancel").addEventListener("click", () => this.#stop());
    this.field.addEventListener("keydown", (event) => this.#press(event));
    this.field.addEventListener("input", () => this.#type());
  }

  /** Go on with what was begun in that channel. */
  switchTo(channel) {
    this.#changing = null;
    this.#channel = channel;
    this.#tell("");
    this.#restore();
  }

  /** Put `text` at the start of the field, to be typed on. */
  begin(text) {
    this.#stop();
    this.#fill(text + this.field.value);
    this.field.focus();
    this.field.setSelectionRange(text.length, text.length);
  }

  /** Change a message that was said: `save(text)` is told of what it shall be. */
  change(message) {
    this.#changing = message;
    this.#tell("");
    this.#fill(message.text);
    this.field.focus();
    this.field.setSelectionRange(message.text.length, message.text.length);
  }

  /** That message, or with null any, cannot be changed any more; what was typed is kept where no draft is in its way. */
  drop(offset) {
    if (!this.#changing || (offset !== null && this.#changing.offset !== offset)) return;
    const { value } = this.field;
    this.#stop();
    if (!this.field.value) this.#fill(value);
    const fate = offset === null ? "is no longer shown" : "was deleted meanwhile";
    this.#tell(`The message that you were editing ${fate}.`);
  }

  #press(event) {
    // While an input method composes, Enter belongs to it; Safari tells that by the code alone.
    if (event.isComposing || event.keyCode === 229) return;
    const hasModifier = event.shiftKey || event.altKey || event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && !event.shiftKey) this.#submit(event);
    else if (event.key === "Escape" && this.#changing) this.#stop();
    else if (event.key === "ArrowUp" && !hasModifier && this.#isIdle && this.onAgain()) event.preventDefault();
  }

  get #isIdle() {
    return !this.#changing && !this.field.value;
  }

  #type() {
    this.#changed();
    const { value } = this.field;
    if (!this.#changing && value && !value.startsWith("/")) this.onTyping();
  }

  #submit(event) {
    event.preventDefault();
    const line = this.field.value.trim();
    if (!line && !this.#changing) return;
    const fault = this.#changing ? this.#save(line) : this.#try(line);
    this.#tell(fault);
    if (!fault && this.#changing) this.#stop();
    else if (!fault) this.#fill("");
    this.field.focus();
  }

  #try(line) {
    const { text, to, fault } = parse(line);
    return fault || this.#measure(text) || this.say({ text, to });
  }

  #save(text) {
    const fault = text ? this.#measure(text) : "Nothing would be left: delete the message instead.";
    if (!fault && text !== this.#changing.text) this.#changing.save(text);
    return fault;
  }

  #measure(text) {
    const size = bytes(text);
    const limit = this.limit();
    return size > limit ? `This is too long: it has ${size} bytes, and at most ${limit} are allowed.` : "";
  }

  /** Change nothing any more, and go on with the draft. */
  #stop() {
    if (!this.#changing) return;
    this.#changing = null;
    this.#tell("");
    this.#restore();
    this.field.focus();
  }

  #tell(fault) {
    byId("say-error").textContent = fault;
    this.field.setAttribute("aria-invalid", String(fault !== ""));
  }

  #restore() {
    this.#fill(this.store.get(`draft:${this.#channel}`, ""));
  }

  #fill(text) {
    this.field.value = text;
    this.#changed();
  }

  #changed() {
    const { value } = this.field;
    byId("cancel").hidden = !this.#changing;
    tell(byId("changing"), this.#changing ? "You are editing a message." : "");
    this.field.rows = Math.min(value.split("\n").length, 8); // where the browser cannot size it by what is in it
    const left = this.limit() - bytes(value);
    const told = left >= 0 ? `${left} bytes left` : `${-left} bytes too long`;
    byId("left").textContent = left > this.limit() * (1 - CLOSE) ? "" : told;
    if (!this.#changing) this.store.set(`draft:${this.#channel}`, value);
  }
}

const bytes = (text) => new TextEncoder().encode(text).length;
