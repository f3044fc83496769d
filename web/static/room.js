// One channel as this page shows it: what was said, who is here and who is typing, what one has not read, and what is on
// its way.

import { sentence } from "./chat-error.js";
import { Crowd } from "./crowd.js";
import { History } from "./history.js";
import { mentions } from "./mentions.js";
import { MessageLog } from "./message-log.js";
import { Pending } from "./pending.js";
import { ReadMark } from "./read-mark.js";
import { Typing } from "./typing.js";
import { Unread } from "./unread.js";

const HEARD = ["welcome", "message", "edit", "delete", "whisper", "joined", "left", "presence", "typing", "lost", "sent"];
const GONE = new Set(["channel_closed", "invalid_channel", "idle_channel"]); // codes of the ends of channels that one can create
const MOST = 50; // messages that wait
const NEAR = 20; // messages that were read, shown above those that were not

export class Room {
  #missed = null; // while it catches up with what was said meanwhile: {until, count}
  #away = new Set(); // who was here before the connection was lost, and may be about to come back
  #isNewShown = false; // the log was brought to the first message that is new
  #isTold = false; // the server has said what was unread when the page came here
  crowd = new Crowd();
  unread = new Unread();
  limit = null; // bytes of one message
  isModerator = false;

  /**
   * `channel` is the ChatChannel, `connection()` the state of its client, `place` where the log goes; `onState(room)`,
   * `onCrowd(room)`, `onUnread(room)` and `onTyping(room)` when these change; `isSeen(room)` whether somebody looks at it; `onMissed(room, count)` when it has caught up; `onOlder(room,
   * count)` when older messages came; `onChange(room, entry)` when a message shall be edited; `onGone(room, offset)` when
   * one was deleted, with null when all are gone.
   */
  constructor({ name, me, names, channel, connection, place, ...hooks }) {
    Object.assign(this, { name, me, names, channel, connection, ...hooks });
    this.log = new MessageLog({
      me,
      names,
      channel: name,
      acts: (said) => this.#acts(said),
      onSeen: (offset) => this.#mark.see(offset),
      onCut: () => this.history.cut(),
    });
    place.append(this.log.element);
    this.history = new History({
      log: this.log,
      channel: name,
      load: (range) => this.channel.history(range),
      wanted: () => this.unread.count + NEAR,
      onLoaded: (count, isFirst) => this.#loaded(count, isFirst),
    });
    this.typing = new Typing(() => this.onTyping(this));
    this.pending = new Pending({ log: this.log, channel, isOnline: () => this.state.name === "online" });
    for (const type of HEARD) channel.addEventListener(type, ({ detail }) => this[`_${type}`](detail));
    channel.addEventListener("outbox", () => this.pending.draw());
    channel.addEventListener("state", () => this.#changeState());
    this.pending.draw();
  }

  #mark = new ReadMark({ isSeen: () => this.isSeen(this), onRead: (offset) => this.#read(offset) });

  /** As Status shows it: {name: "connecting", "online", "waiting", "offline" or "ended", code, text, isAgain, until}. */
  get state() {
    return describe(this.channel.state, this.connection(), this.limit !== null);
  }

  get hasUnsent() {
    return this.channel.pending.length > 0;
  }

  get isFull() {
    return this.channel.pending.length >= MOST;
  }

  /** Forget it, with all that was said. */
  remove() {
    this.channel.leave().catch(() => {}); // which the server does by itself where it cannot be asked
    this.typing.clear();
    this.log.element.remove();
  }

  /** Somebody has come to look at it. */
  visit() {
    this.log.element.hidden = false;
    this.#lookAnew();
  }

  /** Somebody looks at it. */
  look() {
    const rule = this.log.markNew(this.unread.count);
    if (rule && !this.#isNewShown) this.log.scroller.toTop(rule);
    else if (!this.#isNewShown) this.log.scroller.toEnd();
    this.#isNewShown = true;
    this.#mark.look();
  }

  #lookAnew() {
    this.#isNewShown = false;
    this.look();
  }

  /** Take what the server says of what is unread, to somebody who asked at that time. */
  told(counts, asked) {
    const isSeen = this.isSeen(this);
    if (isSeen && this.#isTold) return;
    this.#isTold = true;
    this.unread.tell(counts, asked);
    if (isSeen) this.#lookAnew();
  }

  edit(entry, text) {
    entry.try(text);
    const again = () => this.edit(entry, text);
    return this.#change(entry, { during: "Saving…", otherwise: "Not changed", again }, this.channel.edit(entry.said.offset, text));
  }

  #delete(entry) {
    const again = () => this.#delete(entry);
    return this.#change(entry, { during: "Deleting…", otherwise: "Not deleted", again }, this.channel.delete(entry.said.offset));
  }

  /** What one can do with a message; the server has the last word. */
  #acts({ from, to, offset, deleted }) {
    if (to !== null || offset === null || deleted) return {};
    const ask = (entry) => entry.ask("Delete this message?", { Delete: () => this.#delete(entry), Keep: () => entry.note("") });
    if (from === this.me) return { Edit: (entry) => this.onChange(this, entry), Delete: ask };
    return this.isModerator ? { Delete: ask } : {};
  }

  /** Tell how a change fares: what is told `during` it, and `otherwise`, when it fails. */
  async #change(entry, { during, otherwise, again }, change) {
    entry.note(during);
    try {
      await change;
      entry.note("");
    } catch ({ message, retry }) {
      const discard = { Discard: () => entry.note("") };
      const offers = retry ? { "Try again": again, ...discard } : discard;
      entry.note(`${otherwise}: ${sentence(message)}`, offers, { isFault: true });
    }
    entry.try();
  }

  #loaded(count, isFirst) {
    if (isFirst && this.isSeen(this)) this.#lookAnew();
    if (isFirst && this.log.first === null) this.#mark.see(0); // there is nothing to be read
    if (!isFirst && count) this.onOlder(this, count);
  }

  #changeState() {
    this.pending.draw();
    if (this.channel.state.name !== "joined") this.typing.clear();
    this.onState(this);
  }

  #read(offset) {
    this.channel.read(offset);
    this.unread.read(performance.now());
    this.onUnread(this);
  }

  // What is heard

  _welcome({ users, count, offset, recovered, limits }) {
    const isBack = this.limit !== null;
    const { position } = this.channel;
    this.limit = limits.message;
    this.#missed = isBack && recovered && offset > position.offset ? { until: offset, count: 0 } : null;
    this.log.setQuiet(this.#missed !== null);
    this.typing.clear(); // it may be a welcome to who never was away
    for (const user of users) this.names.learn(user);
    this.#away = this.crowd.users;
    this.crowd.reset(users, count);
    for (const { user } of users) this.#away.delete(user);
    if (isBack) this.history.again();
    else this.history.begin(offset);
    this.onCrowd(this);
  }

  /** What was heard before cannot be gone on from. */
  _lost({ offset }) {
    this.onGone(this, null);
    this.log.clear();
    this.#mark.reset();
    this.history.begin(offset);
  }

  _message({ offset, from, text, date }) {
    this.typing.stop(from);
    this.log.add({ offset, from, to: null, text, date: new Date(date), edited: null, deleted: null });
    this.#note(from, text);
    if (this.#missed) this.#catchUp(offset);
  }

  _edit(frame) {
    this.history.change(() => this.log.edit(frame));
    if (this.#missed) this.#catchUp(frame.offset);
  }

  _delete(frame) {
    this.history.change(() => this.log.delete(frame));
    this.onGone(this, frame.target);
    if (this.#missed) this.#catchUp(frame.offset);
  }

  _whisper({ from, to, text, date }) {
    this.typing.stop(from);
    this.log.add({ offset: null, from, to, text, date: new Date(date), edited: null, deleted: null });
    this.#note(from, text);
  }

  _joined({ user }) {
    this.names.learn(user);
    const isBack = this.#away.delete(user.user); // from a restart that all had to come back from
    if (this.crowd.join(user) && !isBack && user.user !== this.me) this.log.remarkAbout(user.user, "has entered.");
    this.onCrowd(this);
  }

  _left({ user }) {
    this.typing.stop(user.user);
    this.crowd.leave(user);
    if (user.user !== this.me) this.log.remarkAbout(user.user, "has left.");
    this.onCrowd(this);
  }

  _presence(change) {
    for (const user of change.joined) this.names.learn(user);
    this.crowd.change(change);
    this.onCrowd(this);
  }

  _typing({ user }) {
    this.names.learn(user);
    if (user.user !== this.me) this.typing.begin(user.user);
  }

  /** The application may drop what is said, though it takes it. */
  _sent({ offset, text, to }) {
    if (offset !== null || to !== null) return;
    const note = "Taken by the server, and not shown to others.";
    this.log.add({ offset, from: this.me, to, text, date: new Date(), edited: null, deleted: null }, note);
  }

  /** Somebody else has said something: count it, if nobody looks. */
  #note(from, text) {
    if (from === this.me || this.isSeen(this)) return;
    this.unread.add(mentions(text, this.me));
    this.onUnread(this);
  }

  #catchUp(offset) {
    if (offset <= this.#missed.until) this.#missed.count += 1;
    if (offset < this.#missed.until) return;
    this.log.setQuiet(false);
    this.onMissed(this, this.#missed.count);
    this.#missed = null;
  }
}

/** What becomes of a channel, in view of the connection that it needs; `isAgain` when it was joined before. */
function describe(channel, connection, isAgain) {
  const end = [connection, channel].find(({ name }) => name === "ended");
  if (end) return { name: "ended", code: GONE.has(end.code) ? "no_channel" : end.code, text: end.text };
  if (channel.name === "joined") return { name: "online" };
  if (connection.name === "waiting" || connection.name === "offline") return connection;
  return { name: "connecting", isAgain: isAgain || connection.isAgain };
}
