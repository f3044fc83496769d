// The list of channels with its form for a new one: asks the server again every few seconds while somebody looks.

import { byId, make } from "./dom.js";
import { KeyedList } from "./keyed-list.js";

const EVERY = 5_000; // ms

/** Where a channel is, in the address bar.  No channel's name has a slash, so this is never an element's id. */
export const address = (name) => `#/${encodeURIComponent(name)}`;

export class ChannelList {
  #list = new KeyedList(byId("channel-list"), createItem);
  #timer = null;
  #asking = false;

  /** `onCreated(name)`; `onLoggedOut()`. */
  constructor({ api, onCreated, onLoggedOut }) {
    Object.assign(this, { api, onCreated, onLoggedOut });
    byId("create").addEventListener("submit", (event) => this.#create(event));
    byId("create-button").disabled = false; // before, the browser itself would have sent the form
    document.addEventListener("visibilitychange", () => this.refresh());
    this.refresh();
  }

  /** Mark the channel that one is in. */
  mark(name) {
    this.current = name;
    for (const [key, item] of this.#list.entries()) {
      if (key === name) item.firstElementChild.setAttribute("aria-current", "page");
      else item.firstElementChild.removeAttribute("aria-current");
    }
  }

  /** How many are in a channel, from somebody who knows it sooner. */
  showCount(name, count) {
    const item = this.#list.get(name);
    if (item) showCount(item, count);
  }

  async refresh() {
    clearTimeout(this.#timer);
    if (document.hidden || this.#asking) return;
    this.#asking = true;
    try {
      this.#show(await this.api.listChannels());
      byId("channels-error").textContent = "";
    } catch (error) {
      byId("channels-error").textContent = `The list may be out of date. ${error.message}`;
      if (error.status === 401) return this.onLoggedOut();
    } finally {
      this.#asking = false;
    }
    this.#timer = setTimeout(() => this.refresh(), EVERY);
  }

  #show(channels) {
    const sorted = channels.toSorted((one, other) => one.name.localeCompare(other.name));
    this.#list.show(sorted.map(({ name }) => name));
    for (const { name, count } of sorted) showCount(this.#list.get(name), count);
    byId("channels-empty").hidden = sorted.length > 0;
    this.mark(this.current);
  }

  async #create(event) {
    event.preventDefault();
    const field = byId("new-channel");
    const name = field.value.trim();
    try {
      if (!name) throw new Error("Enter a name for the new channel.");
      const created = await this.api.createChannel(name);
      field.value = "";
      showFault(field, "");
      this.refresh();
      this.onCreated(created);
    } catch (error) {
      showFault(field, sentence(error));
      field.focus();
    }
  }
}

function createItem(name) {
  const count = make("span", { className: "count" });
  return make("li", {}, make("a", { href: address(name), className: "channel" }, make("bdi", {}, name), count));
}

function showCount(item, count) {
  const place = item.querySelector(".count");
  if (place.dataset.count === String(count)) return;
  place.dataset.count = count;
  const unit = make("span", { className: "unseen" }, count === 1 ? " person" : " people");
  place.replaceChildren(" ", String(count), unit);
}

function showFault(field, text) {
  byId("create-error").textContent = text;
  field.setAttribute("aria-invalid", String(text !== ""));
}

function sentence(error) {
  if (error.code === "duplicated_channel") return "There is a channel of that name already. Choose it in the list.";
  const text = error.message;
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
