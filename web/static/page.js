// The page: which channel one is in, as the address bar says, and who is told of what.

import { Api } from "./api.js";
import { address, ChannelList } from "./channel-list.js";
import { fault, normal } from "./channel-name.js";
import { ChatClient } from "./chat-client.js";
import { whisperTo } from "./command.js";
import { Composer } from "./composer.js";
import { byId, make } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Names } from "./names.js";
import { People } from "./people.js";
import { Room } from "./room.js";
import { Rooms } from "./rooms.js";
import { Status } from "./status.js";
import { Store } from "./store.js";
import { typingLine } from "./typing.js";

const { ws, channels, token, login, username, displayName, messageLimit } = document.body.dataset;
const PHONE = "(max-width: 47.99rem)"; // both as in page.css
const TABLET = "(max-width: 67.99rem)";

const NOWHERE = byId("nowhere").textContent;
const LOGGED_OUT = { name: "ended", code: "logged_out", text: "You have been logged out." };
const CHANNELS = 100; // on one connection; the server tells in its first welcome

class Page {
  #room = null;
  #isLoggedOut = false;

  constructor() {
    const store = new Store(username);
    this.names = new Names();
    this.names.learn({ user: username, name: displayName });
    byId("me").prepend(this.names.avatar(username));
    this.api = new Api({ channels, token });
    this.channels = new Drawer("channels", PHONE);
    this.crowd = new Drawer("people", TABLET);
    this.client = new ChatClient({ url: ws, user: username, token: (name) => this.#requestToken(name), ...store.place });
    this.client.addEventListener("state", () => this.#showConnection());
    this.status = new Status({ login, onHurry: () => this.#connect(), onCreate: () => this.#createAgain() });
    this.people = new People({ me: username, names: this.names, onChosen: (name) => this.#whisper(name) });
    this.composer = new Composer({
      say: (said) => this.#say(said),
      limit: () => this.#room?.limit ?? Number(messageLimit),
      store,
      onTyping: () => this.#room.channel.typing(),
      onAgain: () => this.#changeLast(),
    });
    this.rooms = new Rooms({ create: (name) => this.#createRoom(name), limit: () => this.client.limits?.channels ?? CHANNELS, store });
    this.list = new ChannelList({
      api: this.api,
      onChosen: (name) => this.#goTo(name),
      onLeave: (name) => this.#leave(name),
      onTold: (channels, asked) => this.#learn(channels, asked),
      onLoggedOut: () => this.#logOut(),
    });
    addEventListener("hashchange", () => this.follow());
    byId("channels").addEventListener("click", (event) => event.target.closest("[aria-current]") && this.#stay());
    addEventListener("beforeunload", (event) => this.#guard(event));
    document.addEventListener("visibilitychange", () => this.#look());
    byId("me").addEventListener("submit", () => store.clear()); // the only form there logs out
    this.rooms.restore();
  }

  /** Enter the channel that the address bar names. */
  follow() {
    const name = channelIn(location.hash);
    if (name === this.#room?.name) return;
    if (this.#room) this.#room.log.element.hidden = true;
    this.#room = null;
    if (name !== null) this.#enter(name);
    const isInside = this.#room !== null;
    byId("room").hidden = byId("status").hidden = byId("people").hidden = byId("show-people").hidden = !isInside;
    byId("nowhere").hidden = isInside;
    byId("title").replaceChildren(isInside ? make("bdi", {}, name) : "Chat");
    this.#draw();
    this.crowd.show(false);
    this.channels.show(!isInside, byId("title"));
    if (isInside && !matchMedia(PHONE).matches) byId("text").focus(); // on a phone that would raise the keyboard
  }

  #enter(name) {
    const room = this.rooms.visit(name);
    this.#room = room;
    room.visit();
    this.client.hurry();
    announce(`You are in ${name}.`);
    this.composer.switchTo(name);
    this.status.show(room.state);
    this.people.show(room.crowd);
    this.#showTyping(room);
    if (room.state.name === "ended") this.#connect();
  }

  #createRoom(name) {
    const hooks = {
      onState: (room) => this.#showState(room),
      onCrowd: (room) => this.#showCrowd(room),
      onUnread: (room) => this.#showUnread(room),
      onTyping: (room) => this.#showTyping(room),
      onMissed: (room, count) => room === this.#room && announce(`${count} missed: the newest are at the end.`),
      onOlder: (room, count) => room === this.#room && announce(`${count} older messages are above.`),
      onChange: (room, entry) => this.#change(room, entry),
      onGone: (room, offset) => room === this.#room && this.composer.drop(offset),
      isSeen: (room) => room === this.#room && !document.hidden,
    };
    const channel = this.client.join(name, { position: null }); // the page begins with the history, not with what was missed
    this.list.refresh(); // which tells what is unread there
    const connection = () => (this.#isLoggedOut ? LOGGED_OUT : this.client.state);
    return new Room({ name, me: username, names: this.names, channel, connection, place: byId("scrolls"), ...hooks });
  }

  /** What the client asks for; the answer also tells what one may do there. */
  async #requestToken(name) {
    const answer = await this.api.requestToken(name);
    const room = this.rooms.get(name);
    if (room) room.isModerator = answer.moderator;
    return answer;
  }

  #showConnection() {
    const { name, code } = this.client.state;
    if (code === "logged_out" && !this.#isLoggedOut) this.#logOut();
    if (name === "online" && this.#isLoggedOut) this.list.refresh(); // which tells whether one is logged in again
    if (this.#room) this.status.show(this.#room.state);
    for (const room of this.rooms.open) room.pending.draw();
    this.#draw();
  }

  #showState(room) {
    if (room === this.#room) this.status.show(room.state);
    this.#draw();
  }

  #showCrowd(room) {
    if (room === this.#room) this.people.show(room.crowd);
    this.#draw();
  }

  #showUnread(room) {
    if (room !== this.#room && room.unread.count === 1) announce(`There is something new in ${room.name}.`);
    this.#draw();
  }

  #showTyping(room) {
    if (room !== this.#room) return;
    byId("typing").replaceChildren(...typingLine(room.typing.users, (user) => this.names.label(user, "")));
  }

  /** Somebody has come back to this tab. */
  #look() {
    if (!document.hidden) this.#room?.look();
    this.#draw();
  }

  #draw() {
    const open = this.rooms.open;
    this.list.show(open, this.#room?.name);
    const isNew = open.some((room) => room.unread.count > 0);
    byId("show-channels").classList.toggle("unread", isNew);
    document.title = `${isNew ? "• " : ""}${this.#room ? `${this.#room.name} – Chat` : "Chat"}`;
  }

  #goTo(name) {
    if (name === this.#room?.name) this.#stay();
    else location.hash = address(name);
  }

  /** What was chosen is there already. */
  #stay() {
    this.channels.show(false, byId("title"));
  }

  #leave(name) {
    this.rooms.leave(name);
    if (name === this.#room?.name) location.hash = "";
    else this.#draw();
    byId("find").focus(); // what had the focus has gone
  }

  #say({ text, to }) {
    const { name, text: why } = this.#room.state;
    if (name === "ended") return why;
    if (this.#room.isFull) return "Too much is waiting to be sent. Wait until the connection is back.";
    this.#room.channel.publish(text, { to }).catch(() => {}); // what fails is shown with what waits
    this.#room.log.scroller.toEnd();
    return "";
  }

  #change(room, entry) {
    const { offset, text } = entry.said;
    this.composer.change({ offset, text, save: (changed) => room.edit(entry, changed) });
  }

  /** Edit what one has said last; return whether there is something. */
  #changeLast() {
    const entry = this.#room.log.lastOwn;
    if (entry) this.#change(this.#room, entry);
    return entry !== null;
  }

  #whisper(name) {
    this.crowd.show(false);
    this.composer.begin(whisperTo(name));
  }

  #connect() {
    this.client.join(this.#room.name); // anew, where it has ended
    this.client.connect();
  }

  async #createAgain() {
    const room = this.#room;
    try {
      await this.api.createChannel(room.name);
    } catch (error) {
      // Somebody else may have been faster, which is as good.
      if (error.code !== "duplicated_channel") return this.status.show({ ...room.state, text: error.message });
    }
    this.list.refresh();
    this.client.join(room.name);
  }

  /** The server has told of all channels, to somebody who is logged in. */
  #learn(channels, asked) {
    this.#logIn();
    for (const room of this.rooms.open) {
      const told = channels.get(room.name);
      if (told) room.told(told, asked);
    }
    this.#draw();
  }

  #logOut() {
    this.#isLoggedOut = true;
    if (this.client.state.name !== "ended") this.client.close();
    if (this.#room) this.status.show(this.#room.state);
    // Without a room its status is out of sight.
    byId("nowhere").textContent = LOGGED_OUT.text + (login ? " Reload this page to log in." : "");
  }

  /** Logged in again, in another tab perhaps. */
  #logIn() {
    if (!this.#isLoggedOut) return;
    this.#isLoggedOut = false;
    byId("nowhere").textContent = NOWHERE;
    this.client.connect();
  }

  /** What was not sent could be lost. */
  #guard(event) {
    if (this.rooms.hasUnsent) event.preventDefault();
  }
}

/** For screen readers alone. */
function announce(text) {
  byId("announcer").textContent = text;
}

/** The channel that a hash names, or null. */
function channelIn(hash) {
  if (!hash.startsWith("#/")) return null;
  try {
    const name = normal(decodeURIComponent(hash.slice(2)));
    return fault(name) ? null : name || null;
  } catch {
    return null; // not ours: typed by hand, perhaps
  }
}

new Page().follow();
document.body.dataset.ready = ""; // from here on keys and clicks are heard
