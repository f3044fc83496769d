// One channel as this page knows it: what was said, who is here, and how far it has heard.  It outlives connections, so
// that coming back goes on where the last one ended.

import { Crowd } from "./crowd.js";
import { MessageLog } from "./message-log.js";
import { Outbox } from "./outbox.js";

const HEARD = new Set(["welcome", "message", "whisper", "joined", "left", "presence", "ack", "error"]);

export class Room {
  #epoch = null;
  #offset = 0; // of the last event heard; events up to it are not new
  #settled = new Set(); // own whispers that were acked before they were heard
  crowd = new Crowd();
  limit = null; // bytes of one message

  /** `send(frame)`, as in Connection; `onCrowd()` when somebody came or went. */
  constructor({ name, me, send, onCrowd }) {
    Object.assign(this, { name, me, onCrowd });
    this.log = new MessageLog(me, name);
    this.outbox = new Outbox({ channel: name, send, log: this.log });
  }

  /** Where to resume, or null. */
  resumeFrom() {
    return this.#epoch === null ? null : { epoch: this.#epoch, offset: this.#offset };
  }

  /** Take one frame from the server.  Unknown types are left alone: a newer server may have more to say. */
  receive(frame) {
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
    this.limit = limits.message;
    this.crowd.reset(users, count);
    this.onCrowd();
    this.outbox.sayAgain();
  }

  message({ offset, id, from, text, date }) {
    if (from === this.me) this.outbox.take(id);
    if (offset <= this.#offset) return;
    this.#offset = offset;
    this.log.add({ from, text, date });
  }

  whisper({ id, from, to, text, date }) {
    if (from === this.me) this.outbox.take(id);
    if (from === this.me && this.#settled.delete(id)) return;
    this.log.add({ from, to, text, date });
  }

  joined({ user }) {
    if (this.crowd.join(user) && user.user !== this.me) this.log.remarkAbout(user.user, "has entered.");
    this.onCrowd();
  }

  left({ user }) {
    this.crowd.leave(user);
    if (user.user !== this.me) this.log.remarkAbout(user.user, "has left.");
    this.onCrowd();
  }

  presence(change) {
    this.crowd.change(change);
    this.onCrowd();
  }

  /** Mostly the message itself follows, or came before; what else is confirmed is settled here. */
  ack({ id, offset }) {
    if (offset !== null && offset > this.#offset) return;
    if (!this.outbox.has(id)) return;
    const { text, to } = this.outbox.take(id);
    if (to !== null) this.#settled.add(id);
    const note = offset === null && to === null ? "Taken by the server, and not shown to others." : "";
    this.log.add({ from: this.me, to, text, date: new Date(), note });
  }

  error({ id, message, retry }) {
    if (!this.outbox.refuse(id, `${message}.`, retry)) this.log.remark(`The server says: ${message}.`);
  }
}
