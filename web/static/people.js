// The list of people in a channel; choosing one begins a whisper.

import { byId, make, soon } from "./dom.js";
import { KeyedList } from "./keyed-list.js";

export class People {
  #list = new KeyedList(byId("people-list"), () => make("li"));
  #drawSoon = soon(() => this.#draw());

  constructor({ me, names, onChosen }) {
    Object.assign(this, { me, names, onChosen });
  }

  show(crowd) {
    this.crowd = crowd;
    this.#drawSoon();
  }

  #draw() {
    const { users, count } = this.crowd;
    const sorted = [...users].sort((one, other) => this.names.of(one).localeCompare(this.names.of(other)));
    this.#list.show(sorted);
    for (const user of sorted) this.#label(this.#list.get(user), user);
    byId("people-count").textContent = count || "";
    byId("people-toggle-count").textContent = count || "";
    const hidden = count - users.size;
    byId("people-more").hidden = hidden <= 0;
    byId("people-more").textContent = `and ${hidden} more`;
  }

  /** A display name may have come or changed since. */
  #label(item, user) {
    const name = this.names.of(user);
    if (item.dataset.name === name) return;
    item.dataset.name = name;
    const shown = [this.names.avatar(user), make("span", { className: "who" }, ...this.names.label(user))];
    if (user === this.me) {
      shown[1].lastElementChild.append(" (you)");
      item.replaceChildren(make("div", { className: "person" }, ...shown));
      return;
    }
    const properties = { type: "button", className: "person", title: "Whisper", onclick: () => this.onChosen(user) };
    item.replaceChildren(make("button", properties, make("span", { className: "unseen" }, "Whisper to "), ...shown));
  }
}
