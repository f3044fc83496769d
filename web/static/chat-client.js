// Several channels over one WebSocket that is kept open: a fresh token for each handshake and each join, because one is
// good for one only; every channel goes on where it stopped.  chat-client.d.ts describes all that is public more closely.

import { ChatChannel } from "./chat-channel.js";
import { channelEnd, clientEnd, mayJoinLater, passes } from "./chat-endings.js";
import { ChatError } from "./chat-error.js";
import { Link } from "./chat-link.js";
import { askedFor, Delays, Tries } from "./chat-retry.js";
import { Keeper } from "./chat-storage.js";
import { surroundings } from "./chat-surroundings.js";

export { ChatChannel, ChatError };

/**
 * @import { ClientOptions, ClientState, Complaint, Position } from "./chat-client.js"
 * @import { Answer } from "./chat-internals.js"
 */

const AT_ONCE = 4; // joins under way

export class ChatClient extends EventTarget {
  /** @type {ClientState} */
  #state = { name: "idle" };
  /** @type {string | null} */
  #user;
  /** @type {any} */
  #limits = null;
  /** @type {Map<string, ChatChannel>} those that were not left; the first one that wants in rides in the handshake */
  #channels = new Map();
  /** @type {Delays<ChatChannel>} those that were turned away, to be tried again */
  #later;
  /** @type {Map<string, Promise<void>>} */
  #leaving = new Map();
  /** @type {Link | null} this try; what belongs to an earlier one is not ours any more */
  #link = null;
  /** @type {Set<ChatChannel>} */
  #joining = new Set();
  /** @type {Set<ChatChannel>} the one that spoke last at the end */
  #joined = new Set();
  #WebSocket;
  #online;
  #clock;
  #keeper;
  #tries;

  /** @param {ClientOptions} options */
  constructor({ url, token, user = null, storage = null, key = "chat", ...around }) {
    super();
    const { WebSocket, clock, online } = surroundings(around);
    this.url = url;
    this.token = token;
    this.#WebSocket = WebSocket;
    this.#online = online;
    this.#user = user;
    this.#clock = clock;
    this.#keeper = new Keeper(storage, key, this.#clock);
    this.#tries = new Tries(this.#clock, online, () => this.#open());
    this.#later = new Delays(this.#clock, () => this.#joinMore());
  }

  /** "idle", "connecting", "online", "waiting", "offline" or "ended", with what belongs to it. */
  get state() {
    return this.#state;
  }

  /** The user's name, null while it is not known. */
  get user() {
    return this.#user;
  }

  /** What the server allows, as it says in `welcome`; null before the first one. */
  get limits() {
    return this.#limits;
  }

  /** The channels that were joined and not left, by name. */
  get channels() {
    return new Map(this.#channels);
  }

  /**
   * Enter a channel, over the connection that there is or a new one.  The same name gives the same object, as long as it is
   * not left; one that has ended is tried anew.
   *
   * @param {string} name
   * @param {{position?: Position | null}} [options] where to go on; null begins anew
   */
  join(name, { position } = {}) {
    name = name.normalize("NFC");
    const channel = this.#channels.get(name) ?? this.#add(name, position);
    if (position !== undefined) channel.startFrom(position);
    if (channel.state.name === "ended") channel.change({ name: "waiting" });
    if (this.#state.name === "idle") this.connect();
    else this.#joinMore();
    return channel;
  }

  /** Connect now, whatever was going on: also when the server has asked for a wait, or has ended it. */
  connect() {
    if (this.#link) return;
    for (const type of ["online", "offline", "pagehide"]) this.#online.addEventListener(type, this.#note);
    this.#later.cut();
    const over = this.#state.name === "ended" ? this.#state.code : null;
    for (const channel of this.#channels.values()) {
      if (channel.state.name === "ended" && channel.state.code === over) channel.change({ name: "waiting" });
    }
    this.#open();
  }

  /** Try at once instead of waiting on, unless the server has said how long; in any other state do nothing. */
  hurry() {
    if (this.#isResting && this.#tries.mayHurry) this.#open();
  }

  /** Disconnect, and keep what is pending for the next `connect`. */
  close() {
    for (const type of ["online", "offline", "pagehide"]) this.#online.removeEventListener(type, this.#note);
    this.#drop();
    this.#later.cut();
    for (const channel of this.#channels.values()) channel.rest();
    this.#keeper.flush();
    this.#change({ name: "idle" });
  }

  // Connecting

  async #open() {
    this.#drop();
    const waiting = this.#waiting();
    const channel = waiting.find((each) => this.#isDue(each));
    if (!waiting.length) return this.#change({ name: "idle" });
    if (!channel) return this.#change(this.#tries.rest(Math.min(...waiting.map((each) => this.#later.until(each)))));
    const link = new Link(this.#clock, {
      hear: (frame) => this.#hear(frame),
      lost: (code, reason) => this.#lost(code, reason),
      turn: () => this.#pump(),
    });
    this.#link = link;
    this.#change({ name: "connecting", isAgain: this.#tries.isAgain });
    this.#begin(channel);
    try {
      const token = await this.#tokenFor(channel);
      if (link === this.#link) this.#connect(link, channel, token);
    } catch (error) {
      if (link === this.#link) this.#noToken(channel, error);
    }
  }

  /** @param {Link} link @param {ChatChannel} channel @param {string} token */
  #connect(link, channel, token) {
    try {
      link.connect(this.#WebSocket, this.#address(channel), token);
    } catch (error) {
      // It is no address, or the page's policy forbids it.
      this.#end("refused", `This address cannot be connected to: ${this.url}`, error);
    }
  }

  /** @param {ChatChannel} channel */
  #address({ position }) {
    const url = new URL(this.url, globalThis.document?.baseURI ?? globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (position) {
      url.searchParams.set("epoch", position.epoch);
      url.searchParams.set("offset", String(position.offset));
    }
    return url;
  }

  /** @param {ChatChannel} channel */
  async #tokenFor({ name }) {
    const given = await (typeof this.token === "function" ? this.token(name) : this.token);
    if (typeof given === "string") return given;
    if (typeof given?.token !== "string") throw new TypeError("The option token has to give {token}, or a string.");
    if (given.username !== undefined) this.#own(given.username);
    return given.token;
  }

  /** Learn whose connection this is.  Throws ChatError: another one's than so far. @param {string} user */
  #own(user) {
    if (this.#user !== null && this.#user !== user) throw new ChatError("other_user", "Somebody else is logged in now.");
    this.#user = user;
    for (const channel of this.#channels.values()) channel.own(user);
  }

  /** @param {ChatChannel} channel @param {any} error what asking for a token has thrown */
  #noToken(channel, error) {
    const { status = 0, code, retryAfter = null } = error ?? {};
    const message = error?.message ?? (status ? `A token was refused, with status ${status}.` : String(error));
    const isFirst = this.#state.name === "connecting";
    if (code === "other_user") return this.#end(code, message, error);
    if (status === 401) return this.#end("logged_out", "You have been logged out.", error);
    if (!passes(status)) {
      this.#endChannel(channel, code ?? "refused", message);
      if (isFirst) this.#open();
      return;
    }
    if (status === 0) this.#complain({ code: code ?? "unreachable", message, retry: true, channel: channel.name });
    if (isFirst) this.#wait(retryAfter);
    else this.#turnAway(channel, retryAfter);
  }

  /** The connection has gone. @param {number} code @param {string} reason */
  #lost(code, reason) {
    const age = this.#link?.age ?? null;
    const there = this.#joined.size ? [...this.#joined] : age === null ? [...this.#joining] : [];
    this.#tries.lost(code, age);
    const [all, one] = [clientEnd(code), channelEnd(code)];
    if (one) {
      this.#drop();
      for (const channel of there) this.#endChannel(channel, ...one);
      if (this.#waiting().length) this.#wait(null);
      else this.#change({ name: "idle" });
    } else if (all) {
      this.#end(...all);
    } else {
      if (age === null) for (const channel of there) this.#toTheEnd(channel);
      this.#wait(askedFor(reason));
    }
  }

  /** Let another one ride in the next handshake, for it may be this one that is not let in. @param {ChatChannel} channel */
  #toTheEnd(channel) {
    this.#channels.delete(channel.name);
    this.#channels.set(channel.name, channel);
  }

  /** Try again later. @param {number | null} seconds that the server has asked for */
  #wait(seconds) {
    const until = this.#tries.fail(seconds);
    this.#drop();
    this.#change(this.#tries.rest(until));
  }

  /** @param {string} code @param {string} text @param {unknown} [cause] */
  #end(code, text, cause) {
    this.#drop();
    const error = Object.assign(new ChatError(code, text, true), { cause });
    for (const channel of this.#waiting()) this.#endChannel(channel, code, text);
    this.#change({ name: "ended", code, text, error });
  }

  /** Forget the connection and all that could still come of it. */
  #drop() {
    const [link, away] = [this.#link, [...this.#joining, ...this.#joined]];
    this.#link = null;
    this.#tries.clear();
    this.#joining.clear();
    this.#joined.clear();
    link?.close();
    for (const channel of away) channel.lost();
  }

  // Channels

  /** @param {string} name @param {Position | null} [position] */
  #add(name, position) {
    /** @type {ChatChannel} */
    const channel = new ChatChannel(
      name,
      {
        clock: this.#clock,
        keeper: this.#keeper,
        user: () => this.#user,
        say: (frame, answer) => this.#say(channel, frame, answer),
        leave: () => this.#leave(channel),
      },
      position,
    );
    this.#channels.set(name, channel);
    if (this.#user !== null) channel.own(this.#user);
    return channel;
  }

  /** Those that want in. */
  #waiting() {
    return [...this.#channels.values()].filter(({ state }) => state.name === "waiting");
  }

  /** Whether it wants in now. @param {ChatChannel} channel */
  #isDue(channel) {
    return channel.state.name === "waiting" && this.#later.until(channel) === 0;
  }

  #joinMore() {
    if (this.#state.name !== "online") return;
    for (const channel of this.#channels.values()) {
      if (this.#joining.size >= AT_ONCE) return;
      if (this.#isDue(channel)) this.#enter(channel);
    }
  }

  /** @param {ChatChannel} channel */
  #begin(channel) {
    this.#joining.add(channel);
    channel.change({ name: "joining" });
  }

  /** @param {ChatChannel} channel */
  async #enter(channel) {
    const link = this.#link;
    const isStill = () => link === this.#link && this.#joining.has(channel);
    this.#begin(channel);
    try {
      await this.#leaving.get(channel.name);
      const token = isStill() ? await this.#tokenFor(channel) : "";
      if (isStill()) this.#sendJoin(channel, token);
    } catch (error) {
      if (!isStill()) return;
      this.#noToken(channel, error);
      this.#joinMore();
    }
  }

  /** @param {ChatChannel} channel @param {string} token */
  #sendJoin(channel, token) {
    this.#link?.send(
      { type: "join", token, ...channel.position },
      {
        done: () => this.#joining.has(channel) && this.#elsewhere(channel), // the welcome comes before
        refused: (error) => this.#refusedJoin(channel, error),
      },
    );
  }

  /** @param {ChatChannel} channel @param {ChatError} error */
  #refusedJoin(channel, error) {
    if (!this.#joining.has(channel)) return;
    const { code, message } = error;
    if (code === "already_joined") return this.#lost(1006, ""); // we and the server disagree: begin anew
    if (code === "other_user") return this.#end(code, message, error);
    if (mayJoinLater(error)) this.#turnAway(channel, null);
    else this.#endChannel(channel, code, message);
    this.#joinMore();
  }

  /** @param {ChatChannel} channel */
  #elsewhere(channel) {
    this.#endChannel(channel, "other_channel", "The token was for another channel.");
  }

  /** Try that channel again later. @param {ChatChannel} channel @param {number | null} seconds that were asked for */
  #turnAway(channel, seconds) {
    this.#joining.delete(channel);
    this.#joined.delete(channel);
    this.#later.begin(channel, seconds);
    channel.lost();
  }

  /** @param {ChatChannel} channel @param {string} code @param {string} text */
  #endChannel(channel, code, text) {
    this.#forget(channel);
    channel.end({ name: "ended", code, text }, new ChatError(code, text, true));
  }

  /** @param {ChatChannel} channel */
  #forget(channel) {
    this.#joining.delete(channel);
    this.#joined.delete(channel);
    this.#later.forget(channel);
  }

  /** @param {ChatChannel} channel */
  async #leave(channel) {
    const { name } = channel;
    if (this.#channels.get(name) !== channel) return this.#leaving.get(name);
    const wasJoined = this.#joined.has(channel);
    this.#channels.delete(name);
    this.#forget(channel);
    channel.end({ name: "left" }, new ChatError("left", "You have left this channel.", true));
    if (this.#joined.size || this.#joining.size) return wasJoined ? this.#sendLeave(name) : undefined;
    if (this.#link) await this.#open(); // for others that wait, or none
    else if (!this.#channels.size && this.#state.name !== "ended") this.close();
  }

  /** @param {string} name */
  #sendLeave(name) {
    /** @type {Promise<void>} */
    const left = new Promise((resolve) => {
      const ask = () => this.#link?.send({ type: "leave", channel: name }, { done: over, refused, gone: over });
      const refused = (/** @type {ChatError} */ { retry }) => (retry ? ask() : over());
      const over = () => {
        this.#leaving.delete(name);
        resolve();
      };
      ask();
    });
    this.#leaving.set(name, left);
    return left;
  }

  // Frames

  /** @param {any} frame */
  #hear(frame) {
    if (frame.type === "welcome") this.#welcome(frame);
    else if (frame.type === "error") this.#refused(frame);
    else if (frame.type === "closed") this.#closed(frame);
    else this.#there(frame.channel)?.hear(frame);
  }

  /** @param {any} frame */
  #welcome(frame) {
    if (this.#state.name === "connecting" && !this.#isWelcome(frame)) return;
    if (this.#leaving.has(frame.channel)) return; // it crossed with the leave, and is no answer to a join
    const channel = this.#channels.get(frame.channel);
    if (!channel || !(this.#joining.has(channel) || this.#joined.has(channel))) {
      this.#link?.send({ type: "leave", channel: frame.channel }); // left while it was being joined
      return;
    }
    this.#forget(channel);
    this.#joined.add(channel);
    channel.welcome(frame);
    this.#joinMore();
    this.#pump();
  }

  /** The first welcome of a connection; return whether we are who and where we wanted to be. @param {any} frame */
  #isWelcome(frame) {
    const [wanted] = this.#joining;
    try {
      this.#own(frame.user.user);
    } catch (error) {
      this.#end("other_user", "Somebody else is logged in now.", error);
      return false;
    }
    if (wanted && wanted.name !== frame.channel) {
      this.#elsewhere(wanted);
      this.#open();
      return false;
    }
    this.#link?.welcome(frame);
    this.#limits = frame.limits;
    this.#tries.welcome();
    this.#change({ name: "online" });
    return true;
  }

  /** What nobody here has asked for, or about a channel that we are not in after all. @param {any} frame */
  #refused({ code, message, retry, channel: name = null }) {
    this.#complain({ code, message, retry, channel: name });
    const channel = this.#there(name);
    if (code === "not_joined" && channel) this.#turnAway(channel, null);
  }

  /** The server ends one of several channels. @param {any} frame */
  #closed({ channel: name, code, reason }) {
    const channel = this.#there(name);
    if (!channel) return;
    const end = channelEnd(code) ?? clientEnd(code);
    if (end) this.#endChannel(channel, ...end);
    else this.#turnAway(channel, askedFor(reason));
  }

  /** @param {string} name @returns {ChatChannel | null} one that is joined */
  #there(name) {
    const channel = this.#channels.get(name);
    return channel && this.#joined.has(channel) ? channel : null;
  }

  /** @param {ChatChannel} channel @param {Record<string, any>} frame @param {Answer} [answer] */
  #say(channel, frame, answer) {
    if (!this.#link?.say(frame, answer)) return false;
    this.#joined.delete(channel); // to the end: when there is room for one message more, it is another one's turn
    this.#joined.add(channel);
    return true;
  }

  #pump() {
    for (const channel of [...this.#joined]) channel.pump();
  }

  // The page around it

  get #isResting() {
    return this.#state.name === "waiting" || this.#state.name === "offline";
  }

  /** @param {Event} event */
  #note = ({ type }) => {
    if (type === "pagehide") this.#keeper.flush();
    else if (this.#isResting) this.#change(this.#tries.restShortly());
    else if (type === "online") this.#link?.probe(); // the network may be another one now
  };

  /** @param {ClientState} state */
  #change(state) {
    this.#state = state;
    this.#tell("state", state);
  }

  /** @param {Complaint} complaint */
  #complain(complaint) {
    this.#tell("error", complaint);
  }

  /** @param {string} type @param {unknown} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
