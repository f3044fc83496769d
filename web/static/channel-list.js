// The channels in two lists: those that this page keeps open, and all others.  One field above them finds and creates.  The
// server is asked again every few seconds while somebody looks; what concerns open channels is known sooner.

import { fault, normal } from "./channel-name.js";
import { byId, make, soon, tell } from "./dom.js";
import { KeyedList } from "./keyed-list.js";

const EVERY = 4_000; // ms
const SELDOM = 60_000; // ms, when it fails again and again
const LONGEST = 300; // seconds that a server can ask to wait
const MANY = 100; // where the server stops to count

/** Where a channel is, in the address bar.  No channel's name has a slash, so this is never an element's id. */
export const address = (name) => `#/${encodeURIComponent(name)}`;

export class ChannelList {
  #open = new KeyedList(byId("open-list"), (name) => createItem(name, () => this.onLeave(name)));
  #others = new KeyedList(byId("channel-list"), (name) => createItem(name));
  #told = null; // Map: name -> {count, unread, mentions}, as the server said; null before it did
  #rooms = [];
  #current = null;
  #timer = null;
  #asking = false;
  #failures = 0;
  #refused = null; // {name, why} of a channel that could not be created
  #field = byId("find");
  #drawSoon = soon(() => this.#draw());

  /**
   * `onChosen(name)`, also for one that was just created; `onLeave(name)`; `onTold(channels, asked)` what the server says
   * to who has asked at that time; `onLoggedOut()`.
   */
  constructor({ api, onChosen, onLeave, onTold, onLoggedOut }) {
    Object.assign(this, { api, onChosen, onLeave, onTold, onLoggedOut });
    byId("finder").addEventListener("submit", (event) => this.#submit(event));
    this.#field.addEventListener("input", () => this.#draw());
    this.#field.addEventListener("keydown", (event) => this.#clear(event));
    document.addEventListener("visibilitychange", () => this.refresh());
    this.refresh();
  }

  /** Show which rooms are open, which of them one is in, and which have something new. */
  show(rooms, current) {
    this.#rooms = rooms;
    this.#current = current;
    this.#drawSoon();
  }

  async refresh() {
    clearTimeout(this.#timer);
    if (document.hidden || this.#asking) return;
    this.#asking = true;
    const asked = performance.now();
    try {
      const channels = await this.api.listChannels();
      this.#told = new Map(channels.map((channel) => [channel.name, channel]));
      this.#failures = 0;
      tell(byId("channels-error"), "");
      this.onTold(this.#told, asked);
    } catch (error) {
      this.#failures += 1;
      tell(byId("channels-error"), `The list may be out of date. ${error.message}`);
      if (error.status === 401) return this.onLoggedOut();
      this.#again(error.retryAfter);
      return;
    } finally {
      this.#asking = false;
      this.#draw();
    }
    this.#again(null);
  }

  /** Ask again after a while, or when the server has said; not all pages in the same moment. */
  #again(seconds) {
    const pause = Math.max(Math.min(EVERY * 2 ** this.#failures, SELDOM), 1000 * Math.min(seconds ?? 0, LONGEST));
    this.#timer = setTimeout(() => this.refresh(), pause * (1 + 0.4 * Math.random()));
  }

  #draw() {
    const wanted = normal(this.#field.value);
    const found = (name) => name.toLowerCase().includes(wanted.toLowerCase());
    const open = new Map(this.#rooms.filter(({ name }) => found(name)).map((room) => [room.name, room]));
    const others = [...(this.#told?.keys() ?? [])].filter((name) => found(name) && !this.#rooms.some((room) => room.name === name));
    this.#open.show([...open.keys()].sort(compare));
    this.#others.show(others.sort(compare));
    for (const [name, room] of open) this.#fill(this.#open.get(name), this.#count(room), room.unread, room);
    for (const name of others) this.#fill(this.#others.get(name), this.#told.get(name).count, told(this.#told.get(name)));
    byId("open-title").hidden = open.size === 0;
    byId("others-title").hidden = others.length === 0;
    byId("channels-loading").hidden = this.#told !== null || byId("channels-error").textContent !== "";
    byId("channels-empty").hidden = this.#told?.size !== 0 || this.#rooms.length > 0;
    this.#tell(wanted);
  }

  /** An open channel's own count is news, as long as it is connected. */
  #count({ name, state, crowd }) {
    return state.name === "online" ? crowd.count : (this.#told?.get(name)?.count ?? 0);
  }

  #fill(item, count, { count: unread, mentions }, room = null) {
    const link = item.firstElementChild;
    if (room !== null && room.name === this.#current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.classList.toggle("unread", unread > 0);
    const isAway = room !== null && room.state.name !== "online";
    link.classList.toggle("away", isAway);
    mark(link.querySelector(".unread-count"), unread, "new");
    mark(link.querySelector(".mention-count"), mentions, mentions === 1 ? "mention" : "mentions", "@");
    tell(link.querySelector(".news"), isAway ? " (not connected)" : "");
    const place = link.querySelector(".count");
    if (place.dataset.count === String(count)) return;
    place.dataset.count = count;
    place.replaceChildren(" ", String(count), make("span", { className: "unseen" }, count === 1 ? " person" : " people"));
  }

  // The field

  #knows(name) {
    return this.#told?.has(name) || this.#rooms.some((room) => room.name === name);
  }

  /** Say what Enter would do, or what is wrong, while it is typed. */
  #tell(name) {
    const why = fault(name) || (name === this.#refused?.name ? this.#refused.why : "");
    const isNew = name !== "" && !why && !this.#knows(name);
    byId("create-button").hidden = !isNew;
    this.#hint(why || (isNew ? `Enter creates “${name}”.` : name && "Enter opens this channel."), why !== "");
  }

  #hint(text, isFault) {
    tell(byId("find-hint"), text);
    byId("find-hint").className = isFault ? "error" : "hint";
    this.#field.setAttribute("aria-invalid", String(isFault));
  }

  async #submit(event) {
    event.preventDefault();
    const name = normal(this.#field.value);
    if (!name || fault(name)) return this.#field.focus();
    try {
      if (!this.#knows(name)) await this.api.createChannel(name);
    } catch (error) {
      if (error.code !== "duplicated_channel") return this.#refuse(name, error.message); // else somebody was faster
    }
    if (normal(this.#field.value) === name) this.#field.value = "";
    this.onChosen(name);
    this.refresh();
  }

  #refuse(name, why) {
    this.#refused = { name, why };
    this.#draw();
    this.#field.focus();
  }

  #clear(event) {
    if (event.key !== "Escape" || this.#field.value === "") return;
    event.stopPropagation(); // the next one closes the drawer
    this.#field.value = "";
    this.#draw();
  }
}

const compare = (one, other) => one.localeCompare(other, undefined, { numeric: true });

/** As an open channel counts. */
const told = ({ unread = 0, mentions = 0 }) => ({ count: unread, mentions });

/** A number to catch the eye, with `what` is counted for who listens; nothing for none. */
function mark(place, count, what, sign = "") {
  if (place.dataset.count === String(count)) return;
  place.dataset.count = count;
  const shown = count < MANY ? String(count) : `${MANY - 1}+`;
  place.replaceChildren(...(count ? [sign, shown, make("span", { className: "unseen" }, ` ${what}`)] : []));
}

function createItem(name, onLeave = null) {
  const label = make("bdi", { className: "label" }, name);
  const marks = ["mention-count", "unread-count", "news unseen", "count"].map((className) => make("span", { className }));
  const link = make("a", { href: address(name), className: "channel" }, label, ...marks.flatMap((each) => [" ", each]));
  const item = make("li", {}, link);
  const leave = { type: "button", className: "leave", title: "Leave", "aria-label": `Leave ${name}`, onclick: onLeave };
  if (onLeave) item.append(make("button", leave, "×"));
  return item;
}
