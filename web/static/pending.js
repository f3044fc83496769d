// What was said in one channel and is not confirmed yet, at the end of its log.

import { sentence } from "./chat-error.js";
import { byId } from "./dom.js";

const WAITS = "Waiting for the connection…";

export class Pending {
  #shown = new Map(); // id -> {entry, told}

  /** `channel` is the ChatChannel, which keeps them; `isOnline()` whether something can be sent. */
  constructor({ log, channel, isOnline }) {
    Object.assign(this, { log, channel, isOnline });
  }

  /** Show what waits now. */
  draw() {
    const waiting = new Map(this.channel.pending.map((each) => [each.id, each]));
    for (const [id, { entry }] of this.#shown) if (!waiting.has(id)) this.#remove(id, entry);
    for (const each of waiting.values()) this.#draw(each);
  }

  #draw(message) {
    const { id } = message;
    if (!this.#shown.has(id)) this.#shown.set(id, { entry: this.log.addPending(message), told: null });
    const shown = this.#shown.get(id);
    const told = this.#tell(message);
    if (shown.told === told) return; // else it would be announced again
    shown.told = told;
    const hasFailed = message.state === "failed";
    shown.entry.note(told, hasFailed ? this.#offers(message) : {}, { isFault: hasFailed });
  }

  #tell({ state, error }) {
    if (state === "failed") return explain(error);
    if (!this.isOnline()) return WAITS;
    const [why] = error?.message.split(";") ?? []; // what follows is what to do, which is done
    return error ? `${sentence(why)} It will be sent in a moment.` : "Sending…";
  }

  /** What is pressed goes, so the focus goes where one would go on. */
  #offers({ id, error }) {
    const offer = (act) => () => {
      byId("text").focus();
      act();
    };
    const again = { "Try again": offer(() => this.channel.retry(id).catch(() => {})) }; // the event tells
    return { ...(error.retry ? again : {}), Discard: offer(() => this.channel.discard(id)) };
  }

  #remove(id, entry) {
    if (entry.element.contains(document.activeElement)) byId("text").focus();
    entry.element.remove();
    this.#shown.delete(id);
  }
}

/** Why it was not sent. */
function explain({ code, message }) {
  if (code === "not_here") return "Not sent: nobody of that name is here.";
  const told = sentence(message);
  return /sent:/i.test(told) ? told : `Not sent: ${message.charAt(0).toLowerCase()}${told.slice(1)}`;
}
