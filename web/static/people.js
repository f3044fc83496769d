// The list of people in a channel; choosing one begins a whisper.

import { byId, make } from "./dom.js";
import { KeyedList } from "./keyed-list.js";

export class People {
  #list;
  #drawn = false;

  constructor({ me, onChosen }) {
    this.#list = new KeyedList(byId("people-list"), (name) => createItem(name, me, onChosen));
  }

  /** Show `crowd`; many changes at once are drawn once. */
  show(crowd) {
    this.crowd = crowd;
    if (this.#drawn) return;
    this.#drawn = true;
    setTimeout(() => this.#draw(), 0);
  }

  #draw() {
    this.#drawn = false;
    const { names, count } = this.crowd;
    this.#list.show([...names].sort((one, other) => one.localeCompare(other)));
    byId("people-count").textContent = count || "";
    const hidden = count - names.size;
    byId("people-more").hidden = hidden <= 0;
    byId("people-more").textContent = `and ${hidden} more`;
  }
}

function createItem(name, me, onChosen) {
  if (name === me) return make("li", { className: "person" }, make("bdi", {}, name), " (you)");
  const label = make("span", { className: "unseen" }, "Whisper to ");
  const title = "Whisper";
  const button = make("button", { type: "button", title, onclick: () => onChosen(name) }, label, make("bdi", {}, name));
  return make("li", { className: "person" }, button);
}
