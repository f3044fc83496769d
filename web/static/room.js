// One channel as this page knows it: what was said, who is here, how far it has heard, and its connection.  What it knows
// outlives connections, so that coming back goes on where the last one ended.

import { sentence } from "./api.js";
import { Connection } from "./connection.js";
import { Crowd } from "./crowd.js";
import { MessageLog } from "./message-log.js";
import { Outbox } from "./outbox.js";

const REMEMBERED = 200; // whispers
const HEARD = new Set(["welcome", "message", "whisper", "joined", "left", "presence", "ack", "error"]);

export class Room {
  #epoch = null;
  #offset = 0; // of the last event heard; events up to it are not new
  #missed = null; // while it catches up with what was said meanwhile: {until, count}
  #whispers = new Set(); // those heard lately, as sender and id: a whisper that is said again may come again
  #away = new Set(); // who was here before the connection was lost, and may be about to come back
  #connection;
  isOpen = false;
  isUnread = false;
  state = { name: "connecting" };
  crowd = new Crowd();
  limit = null; // bytes of one message

  /**
   * `place` is where its log goes; `onState(room)`, `onCrowd(room)` and `onUnread(room)` when these change; `isSeen(room)`
   * whether somebody looks at it; `onMissed(room, count)` when it has caught up.
   */
  constructor({ name, me, names, url, api, place, store, ...hooks }) {
    Object.assign(this, { name, me, names, ...hooks });
    this.log = new MessageLog({ me, names, channel: name });
    place.append(this.log.element);
    this.outbox = new Outbox({ channel: name, send: (frame) => this.#connection.send(frame), log: this.log, store });
    this.#connection = new Connection({
      url,
      channel: name,
      me,
      api,
      resume: () => (this.#epoch === null ? null : { epoch: this.#epoch, offset: this.#offset }),
      onFrame: (frame) => this.#receive(frame),
      onState: (state) => this.#change(state),
    });
  }

  /** Connect, unless it is so or about to be. */
  open() {
    if (!this.isOpen || this.state.name === "ended") this.connect();
    else this.#connection.hurry();
  }

  /** Connect at once, whatever was going on. */
  connect() {
    this.isOpen = true;
    this.#connection.open();
  }

  /** If it waits to connect again, and not because the server asked for it, do it now. */
  hurry() {
    this.#connection.hurry();
  }

  /** Forget it, with all that was said. */
  remove() {
    this.close();
    this.log.element.remove();
  }

  /** Leave the channel, to come back perhaps. */
  close() {
    this.isOpen = this.isUnread = false;
    this.#connection.close();
    this.crowd.reset([], 0); // who is here now is not known any more
    this.outbox.hold();
  }

  /** Stop trying, for the reason in `state`, until it is opened again. */
  end(state) {
    this.#connection.close();
    this.#change(state);
  }

  /** Somebody looks at it. */
  look() {
    this.isUnread = false;
  }

  #change(state) {
    this.state = state;
    if (state.name !== "online") this.outbox.hold(state.name === "ended");
    this.onState(this);
  }

  /** Take one frame from the server.  Unknown types are left alone: a newer server may have more to say. */
  #receive(frame) {
    if (HEARD.has(frame.type)) this[frame.type](frame);
  }

  welcome({ users, count, epoch, offset, recovered, limits }) {
    const isBack = this.#epoch !== null;
    if (isBack && !recovered) this.log.remark("Some messages may be missing here.");
    if (!isBack) this.log.remark("You have entered. What is said from now on appears here.");
    if (!isBack || !recovered) {
      // Otherwise the missed events follow, and their offsets are below the one in `welcome`.
      this.#offset = offset;
      this.#epoch = epoch;
    }
    this.#missed = offset > this.#offset ? { until: offset, count: 0 } : null;
    this.log.setQuiet(this.#missed !== null);
    this.limit = limits.message;
    for (const user of users) this.names.learn(user);
    this.#away = this.crowd.users;
    this.crowd.reset(users, count);
    for (const { user } of users) this.#away.delete(user);
    this.onCrowd(this);
    this.outbox.sayAgain(limits.rate);
  }

  message({ offset, id, from, text, date }) {
    if (from === this.me) this.outbox.take(id);
    if (offset <= this.#offset) return;
    this.#offset = offset;
    this.#note(from);
    this.log.add({ from, text, date });
    if (this.#missed) this.#catchUp(offset);
  }

  whisper({ id, from, to, text, date }) {
    if (from === this.me) this.outbox.take(id);
    if (this.#isRepeated(from, id)) return;
    this.#note(from);
    this.log.add({ from, to, text, date });
  }

  joined({ user }) {
    this.names.learn(user);
    const isBack = this.#away.delete(user.user); // from a restart that all had to come back from
    if (this.crowd.join(user) && !isBack && user.user !== this.me) this.log.remarkAbout(user.user, "has entered.");
    this.onCrowd(this);
  }

  left({ user }) {
    this.crowd.leave(user);
    if (user.user !== this.me) this.log.remarkAbout(user.user, "has left.");
    this.onCrowd(this);
  }

  presence(change) {
    for (const user of change.joined) this.names.learn(user);
    this.crowd.change(change);
    this.onCrowd(this);
  }

  /** Mostly the message itself follows, or came before; what else is confirmed is settled here. */
  ack({ id, offset }) {
    if (offset !== null && offset > this.#offset) return;
    if (!this.outbox.has(id)) return;
    const { text, to } = this.outbox.take(id);
    if (to !== null) this.#isRepeated(this.me, id);
    const note = offset === null && to === null ? "Taken by the server, and not shown to others." : "";
    this.log.add({ from: this.me, to, text, date: new Date(), note });
  }

  error({ id, code, message, retry }) {
    const why = code === "not_here" ? "nobody of that name is here." : `${message}.`;
    if (!this.outbox.refuse(id, { code, why, retry })) this.log.remark(sentence(message));
  }

  /** Somebody else has said something: tell, if nobody looks. */
  #note(from) {
    if (from === this.me || this.isUnread || this.isSeen(this)) return;
    this.isUnread = true;
    this.log.markNew();
    this.onUnread(this);
  }

  /** Whether that whisper was heard before; from now on it was. */
  #isRepeated(from, id) {
    const key = `${from} ${id}`;
    if (id === null || this.#whispers.has(key)) return id !== null;
    this.#whispers.add(key);
    if (this.#whispers.size > REMEMBERED) this.#whispers.delete(this.#whispers.values().next().value);
    return false;
  }

  #catchUp(offset) {
    if (offset <= this.#missed.until) this.#missed.count += 1;
    if (offset < this.#missed.until) return;
    this.log.setQuiet(false);
    this.onMissed(this, this.#missed.count);
    this.#missed = null;
  }
}
