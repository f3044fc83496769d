// The page: which channel one is in, as the address bar says, and who is told of what.

import { Api } from "./api.js";
import { address, ChannelList } from "./channel-list.js";
import { whisperTo } from "./command.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { byId, make } from "./dom.js";
import { People } from "./people.js";
import { Room } from "./room.js";
import { Status } from "./status.js";

const { ws, channels, token, username, messageLimit } = document.body.dataset;
const PHONE = matchMedia("(max-width: 55.99rem)"); // as in page.css

const LOGGED_OUT = { name: "ended", code: "logged_out", text: "You have been logged out." };

class Page {
  #rooms = new Map(); // every channel entered since the page was loaded
  #room = null;
  #connection = null;

  constructor() {
    this.api = new Api({ channels, token });
    this.status = new Status({ onHurry: () => this.#connection?.open(), onCreate: () => this.#createAgain() });
    this.people = new People({ me: username, onChosen: (name) => this.composer.begin(whisperTo(name)) });
    this.composer = new Composer({ say: (said) => this.#say(said), limit: () => this.#room?.limit ?? Number(messageLimit) });
    this.list = new ChannelList({
      api: this.api,
      onCreated: (name) => this.#goTo(name),
      onLoggedOut: () => this.#logOut(),
    });
    addEventListener("hashchange", () => this.follow());
    addEventListener("online", () => this.#connection?.hurry());
  }

  /** Enter the channel that the address bar names. */
  follow() {
    const name = channelIn(location.hash);
    if (name === this.#room?.name) return;
    this.#leave();
    if (name !== null) this.#enter(name);
    openPanel("channels", PHONE.matches && name === null);
    openPanel("people", false);
  }

  #enter(name) {
    const room = this.#rooms.get(name) ?? this.#open(name);
    this.#room = room;
    byId("room-title").replaceChildren(make("bdi", {}, name));
    document.title = `${name} – Chat`;
    this.#showRoom(true);
    this.list.mark(name);
    this.people.show(room.crowd);
    this.#connection = new Connection({
      url: ws,
      channel: name,
      api: this.api,
      resume: () => room.resumeFrom(),
      onFrame: (frame) => room.receive(frame),
      onState: (state) => {
        this.status.show(state);
        if (state.name !== "online") room.outbox.hold();
      },
    });
    this.#connection.open();
    if (!PHONE.matches) byId("text").focus(); // on a phone that would raise the keyboard
  }

  #open(name) {
    const room = new Room({
      name,
      me: username,
      send: (frame) => room === this.#room && this.#connection.send(frame),
      onCrowd: () => room === this.#room && this.#showCrowd(room),
    });
    this.#rooms.set(name, room);
    byId("scrolls").append(room.log.element);
    return room;
  }

  #showCrowd({ name, crowd }) {
    this.people.show(crowd);
    this.list.showCount(name, crowd.count);
  }

  #leave() {
    if (this.#room === null) return;
    this.#connection.close();
    this.#showRoom(false);
    this.#room = this.#connection = null;
    this.list.mark(null);
    document.title = "Chat";
  }

  #showRoom(isShown) {
    this.#room.log.element.hidden = !isShown;
    byId("room").hidden = byId("people").hidden = byId("show-people").hidden = !isShown;
    byId("nowhere").hidden = isShown;
    if (isShown) this.#room.log.toEnd();
  }

  #say(said) {
    if (this.#room.outbox.isFull) return "Too much is waiting to be sent. Wait until the connection is back.";
    this.#room.outbox.say(said);
    return "";
  }

  #goTo(name) {
    location.hash = address(name);
  }

  async #createAgain() {
    const connection = this.#connection;
    try {
      await this.api.createChannel(connection.channel);
    } catch (error) {
      // Somebody else may have been faster, which is as good.
      if (error.code !== "duplicated_channel") return this.status.show({ name: "ended", code: "no_channel", text: error.message });
    }
    this.list.refresh();
    if (connection === this.#connection) connection.open();
  }

  #logOut() {
    this.#connection?.close();
    this.status.show(LOGGED_OUT);
    // Without a room its status is out of sight.
    if (this.#room === null) byId("nowhere").replaceChildren(byId("state").textContent, " ", byId("log-in"));
  }
}

/** The channel that a hash names, or null. */
function channelIn(hash) {
  if (!hash.startsWith("#/")) return null;
  try {
    return decodeURIComponent(hash.slice(2)) || null;
  } catch {
    return null; // not ours: typed by hand, perhaps
  }
}

function openPanel(id, isOpen) {
  byId(id).classList.toggle("open", isOpen);
  byId(`show-${id}`).setAttribute("aria-expanded", String(isOpen));
}

for (const id of ["channels", "people"]) {
  byId(`show-${id}`).addEventListener("click", () => openPanel(id, !byId(id).classList.contains("open")));
}
byId("people").hidden = byId("show-people").hidden = true;
new Page().follow();
