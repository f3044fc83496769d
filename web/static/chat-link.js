// One WebSocket, from asking for its token to its end: speaks no faster than the server takes, finds out by silence that it is
// dead, and brings each answer to who asked.

import { ChatError, sentence } from "./chat-error.js";
import { randomId } from "./chat-outbox.js";
import { Alarm, Pace } from "./chat-timing.js";

/**
 * @import { Answer, Clock, LinkHooks } from "./chat-internals.js"
 */

const PATIENCE = 15_000; // ms for a token, for a handshake, and beyond the server's own ping interval
const ANSWER = 10_000; // ms for any sign of life after something was sent
const MISSED = 2_000; // ms beyond the ping interval after which, when we have slept, a ping was missed
const OPEN = 1; // WebSocket.readyState
const LIGHT = new Set(["typing", "read", "ping"]); // the server counts them by a rate of their own, which is out of our reach
const ANSWERS = new Set(["ack", "history", "pong"]);
const NOTHING = { done: () => {}, refused: () => {} };

export class Link {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {number | null} ms */
  #welcomedAt = null;
  #isOver = false;
  /** @type {Map<string, Answer>} by id */
  #asked = new Map();
  #twice = new Set(); // ids that were said again before the first answer; there will be another one
  /** @type {Record<string, any>[]} goes out ahead of what channels say */
  #queue = [];
  #ping = 0; // ms
  #heardAt = 0;
  /** @type {number | null} since when an answer is wanted */
  #askedAt = null;
  #isProbed = false;
  #pace;
  #turn;
  #watchdog;

  /** @param {Clock} clock @param {LinkHooks} hooks */
  constructor(clock, hooks) {
    this.clock = clock;
    this.hooks = hooks;
    this.#pace = new Pace(clock);
    this.#turn = new Alarm(clock, () => this.#pump());
    this.#watchdog = new Alarm(clock, () => this.#watch(), () => this.#wake());
    this.#expect();
  }

  /** ms since the welcome, null before. */
  get age() {
    return this.#welcomedAt === null ? null : this.clock.now() - this.#welcomedAt;
  }

  /** @param {typeof WebSocket} WebSocket @param {URL} url @param {string} token */
  connect(WebSocket, url, token) {
    this.#expect();
    const socket = new WebSocket(url.href, ["chat.v1", `chat.token.${token}`]);
    this.#socket = socket;
    socket.onmessage = (event) => this.#hear(event.data);
    socket.onclose = (event) => this.#end(event.code, event.reason);
  }

  /** The first welcome has come. @param {{ping: number, limits: {rate: number}}} welcome ping in seconds */
  welcome({ ping, limits }) {
    this.#welcomedAt = this.clock.now();
    this.#ping = 1000 * ping;
    this.#pace.begin(limits.rate);
    this.#watchdog.set(this.#deadline);
  }

  /** Send when it may be sent, ahead of what channels say. @param {Record<string, any>} frame @param {Answer} [answer] */
  send(frame, answer) {
    const id = randomId();
    if (answer) this.#asked.set(id, answer);
    this.#queue.push(answer ? { ...frame, id } : frame);
    this.#pump();
  }

  /**
   * Send now or not at all; return whether it could be handed to a socket.  That it arrived, only its answer tells.
   *
   * @param {Record<string, any>} frame
   * @param {Answer} [answer]
   */
  say(frame, answer) {
    if (this.#queue.length || !this.#send(frame)) return false;
    if (!answer) return true;
    if (this.#asked.has(frame.id)) this.#twice.add(frame.id);
    this.#asked.set(frame.id, answer);
    return true;
  }

  /** Find out whether it is alive, for something makes us doubt it. */
  probe() {
    if (this.#welcomedAt === null || this.#isProbed) return;
    this.#isProbed = true;
    this.send({ type: "ping" }, NOTHING); // any answer will do
  }

  /** Forget the socket and all that could still come of it. */
  close() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#turn.clear();
    this.#watchdog.clear();
    this.#queue = [];
    if (this.#socket) {
      this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close(1000);
    }
    for (const answer of this.#asked.values()) answer.gone?.();
    this.#asked.clear();
  }

  /** @param {number} code @param {string} [reason] */
  #end(code, reason = "") {
    if (!this.#isOver) this.hooks.lost(code, reason);
  }

  /** @param {string} data */
  #hear(data) {
    this.#heardAt = this.clock.now();
    this.#askedAt = null;
    this.#isProbed = false;
    const frame = JSON.parse(data);
    const { type } = frame;
    if (type === "ping") this.#socket?.send('{"type":"pong"}');
    else if (ANSWERS.has(type)) this.#take(frame.id)?.done(frame);
    else if (type === "error") this.#refuse(frame);
    else this.hooks.hear(frame);
  }

  /** @param {any} frame */
  #refuse(frame) {
    const { id, code, message, retry } = frame;
    if (code === "rate_limited") this.#pace.exhaust();
    const answer = this.#take(id);
    if (answer) answer.refused(new ChatError(code, sentence(message), retry));
    if (!answer || code === "not_joined") this.hooks.hear({ ...frame, message: sentence(message) });
  }

  /** @param {string} id */
  #take(id) {
    const answer = this.#asked.get(id);
    this.#asked.delete(id);
    if (this.#twice.delete(id)) this.#asked.set(id, NOTHING);
    return answer;
  }

  #pump() {
    while (this.#queue.length && this.#send(/** @type {Record<string, any>} */ (this.#queue[0]))) this.#queue.shift();
    if (!this.#queue.length) this.hooks.turn();
  }

  /** @param {Record<string, any>} frame */
  #send(frame) {
    if (this.#isOver || this.#welcomedAt === null || this.#socket?.readyState !== OPEN) return false;
    if (!LIGHT.has(frame.type) && !this.#mayGo()) return false;
    this.#socket.send(JSON.stringify(frame));
    if (frame.id) this.#expectAnswer();
    return true;
  }

  /** Whether the server takes another one already; if not, it will be somebody's turn when it does. */
  #mayGo() {
    const { wait } = this.#pace;
    if (wait === 0) this.#pace.spend();
    else if (!this.#turn.isSet) this.#turn.set(this.clock.now() + wait);
    return wait === 0;
  }

  // Signs of life

  /** A step of connecting has begun, and must not take for ever. */
  #expect() {
    this.#heardAt = this.clock.now();
    this.#watchdog.set(this.#deadline);
  }

  #expectAnswer() {
    if (this.#askedAt !== null) return;
    this.#askedAt = this.clock.now();
    this.#watchdog.set(this.#deadline);
  }

  /**
   * A browser tells of a dead network minutes late, or never; so silence beyond the ping interval is the end, and so is silence
   * after something was sent that the server answers.  But an answer may wait for a slow database, and who only sends what
   * is not answered is not pinged; so somewhat earlier the server is asked whether it is there.
   */
  #watch() {
    const now = this.clock.now();
    this.#heardAt = Math.min(this.#heardAt, now); // the clock was set back
    if (now >= this.#lastMoment) return this.#end(1006);
    if (now >= this.#deadline) this.probe();
    this.#watchdog.set(this.#deadline);
  }

  /** When to look: at the end of patience and, to ask, a while before. */
  get #deadline() {
    return this.#lastMoment - (this.#isProbed || this.#welcomedAt === null ? 0 : ANSWER / 2);
  }

  get #lastMoment() {
    const silent = this.#heardAt + PATIENCE + this.#ping;
    return this.#askedAt === null ? silent : Math.min(silent, this.#askedAt + ANSWER);
  }

  /** We have slept; the server, which has not heard from us, has given this up if its ping was due meanwhile. */
  #wake() {
    if (this.#welcomedAt !== null && this.clock.now() - this.#heardAt > this.#ping + MISSED) this.#end(1006);
  }
}
