// One message on the page: who said what, and when; what has become of it; and the buttons of who may change it.

import { make } from "./dom.js";
import { time } from "./line.js";
import { mentions } from "./mentions.js";
import { richText } from "./rich-text.js";

const TOGETHER = 5 * 60_000; // ms within which one author's messages stand under one head

let count = 0; // of entries made, for their ids

export class Entry {
  /**
   * `said` is {offset (null where nothing can be done to it), from, to (null: everybody), text, date, edited, deleted},
   * dates or null; `me` the own user name; `acts` a map from the label of a button to what it does with this entry; `role`
   * that of the line below it.
   */
  constructor(said, { me, names, acts = {}, role = "" }) {
    Object.assign(this, { said, me, role });
    const id = `message-${(count += 1)}`;
    const { from, to, date } = said;
    this.head = make("p", { className: "head", id: `${id}-head` }, ...names.label(from), " ");
    if (to !== null) this.head.append("whispers to ", ...(to === me ? ["you"] : names.label(to, "")), " ");
    this.head.append(time(date));
    this.text = make("p", { className: "text", dir: "auto", id: `${id}-text` });
    this.line = make("div", { className: "line" }, this.text);
    this.state = make("div", { className: "hint state" });
    this.body = make("div", { className: "body" }, this.head, this.line, this.state);
    const properties = { className: "message", role: "article", tabIndex: -1, "aria-labelledby": `${id}-head ${id}-text` };
    this.element = make("div", properties, names.avatar(from), this.body);
    this.element.classList.toggle("own", from === me);
    this.element.classList.toggle("whisper", to !== null);
    this.#offer(Object.entries(acts));
    this.#name("");
    this.#draw();
  }

  /** Whether it goes under the head of `before`, the message above it; no head is left out for those who cannot see. */
  join(before) {
    const { from, to, date } = this.said;
    const follows = before !== null && before.from === from && before.to === to && date - before.date < TOGETHER;
    this.element.classList.toggle("follows", follows);
    this.head.classList.toggle("unseen", follows);
  }

  edit(text, date) {
    if (this.said.deleted) return;
    Object.assign(this.said, { text, edited: date });
    this.#draw();
  }

  delete(date) {
    Object.assign(this.said, { text: "", deleted: date });
    this.note("");
    this.#draw();
  }

  /** Show `text` as if it were said already; without one, what was said. */
  try(text = this.said.text) {
    this.#draw(text);
  }

  /** A line below it: what is going on, with a map of what one can do about it. */
  note(text, offers = {}, { isFault = false, name = "" } = {}) {
    const hadFocus = this.state.contains(document.activeElement);
    this.element.classList.toggle("failed", isFault);
    const button = ([label, act]) => make("button", { type: "button", className: "quiet", onclick: act }, label);
    const buttons = Object.entries(offers).map(button);
    this.state.replaceChildren(text, ...buttons);
    this.#name(name);
    if (hadFocus) (buttons[0] ?? this.element).focus();
  }

  /** Ask something, where the focus now goes; Escape is the last of `offers`. */
  ask(text, offers) {
    const acts = Object.values(offers);
    this.note(text, offers, { name: text });
    this.state.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      acts.at(-1)();
    };
    this.state.lastElementChild.focus();
  }

  #name(name) {
    this.state.onkeydown = null;
    for (const [attribute, value] of [["role", name ? "group" : this.role], ["aria-label", name]]) {
      if (value) this.state.setAttribute(attribute, value);
      else this.state.removeAttribute(attribute);
    }
  }

  #offer(acts) {
    if (!acts.length) return;
    const properties = { type: "button", className: "act", tabIndex: -1, "aria-describedby": this.text.id };
    const button = ([label, act]) => make("button", { ...properties, onclick: () => act(this) }, label);
    this.acts = make("div", { className: "acts" }, ...acts.map(button));
    this.element.append(this.acts);
  }

  #draw(text = this.said.text) {
    const { edited, deleted, from } = this.said;
    const isMentioned = !deleted && from !== this.me && mentions(text, this.me);
    this.text.replaceChildren(...(deleted ? ["Message deleted"] : richText(text, this.me)));
    this.element.classList.toggle("mentioned", isMentioned);
    this.element.classList.toggle("deleted", Boolean(deleted));
    const mark = { className: "edited", title: `Edited ${edited?.toLocaleString()}` };
    this.line.replaceChildren(this.text, ...(edited && !deleted ? [make("span", mark, "edited")] : []));
    if (deleted && this.acts) this.#withdraw();
  }

  #withdraw() {
    if (this.acts.contains(document.activeElement)) this.element.focus();
    this.acts.remove();
  }
}
