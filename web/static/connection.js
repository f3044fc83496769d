// One channel's WebSocket, kept open: every try asks for a fresh token, because each is good for one handshake only.
//
// States, told through `onState`: {name: "connecting", isAgain}, {name: "online"}, {name: "waiting", until} (ms, as
// performance.now(), which no clock that is set disturbs), {name: "ended", code, text} with code "logged_out", "no_channel"
// or "refused".  Only `open` leaves "ended".

import { askedFor, backoff, obey } from "./backoff.js";

const PATIENCE = 15_000; // ms for a handshake, and beyond the server's own ping interval
const ANSWER = 10_000; // ms for any sign of life after something was sent
const STABLE = 10_000; // ms online after which the next loss counts as the first again
const RESTART = 1012;
const FLOODED = 4029;
const SLOWLY = 4; // tries that count as made when one was too fast

// Close codes after which coming back is of no use.
const FINAL = new Map([
  [1000, ["no_channel", "This channel was closed."]],
  [4001, ["refused", "You are connected from somewhere else."]], // or two tabs would push each other out for ever
  [1008, ["refused", "The server refused this connection."]],
  [4501, ["logged_out", "You have been logged out."]],
  [4503, ["refused", "You were removed from this channel."]],
  [4504, ["refused", "You are banned from this channel."]],
]);

export class Connection {
  #socket = null;
  #round = 0; // which try this is: what arrives from an earlier one is not ours any more
  #attempt = 0;
  #onlineSince = null;
  #patience = PATIENCE;
  #timer = null;
  #isOrdered = false; // the server has said how long to wait
  #watchdog = null;
  #isAsking = false; // something was sent, and nothing has come since

  /** `resume()` returns {epoch, offset} of the last event seen, or null. */
  constructor({ url, channel, me, api, resume, onFrame, onState }) {
    Object.assign(this, { url, channel, me, api, resume, onFrame, onState });
  }

  /** Connect now, whatever was going on. */
  async open() {
    this.#drop();
    const round = this.#round;
    this.onState({ name: "connecting", isAgain: this.#attempt > 0 });
    try {
      const { token, username } = await this.api.requestToken(this.channel);
      if (round !== this.#round) return;
      if (username === this.me) this.#connect(token);
      else this.#end("refused", "Somebody else is logged in now. Reload this page.");
    } catch (error) {
      if (round === this.#round) this.#refused(error);
    }
  }

  /** Leave for good. */
  close() {
    this.#drop();
  }

  /** Try at once instead of waiting on, unless the server has said how long; in any other state do nothing. */
  hurry() {
    if (this.#timer !== null && !this.#isOrdered) this.open();
  }

  /** Return whether the frame could be handed to a socket; that it arrived, only its ack tells. */
  send(frame) {
    if (this.#onlineSince === null || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    if (!this.#isAsking) this.#listen(ANSWER);
    this.#isAsking = true;
    return true;
  }

  #connect(token) {
    const socket = new WebSocket(this.#address(), ["chat.v1", `chat.token.${token}`]);
    this.#socket = socket;
    this.#patience = PATIENCE;
    this.#listen();
    socket.onmessage = (event) => this.#hear(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  #address() {
    const url = new URL(this.url, document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const last = this.resume();
    if (last) {
      url.searchParams.set("epoch", last.epoch);
      url.searchParams.set("offset", last.offset);
    }
    return url;
  }

  #hear(data) {
    this.#listen();
    const frame = JSON.parse(data);
    if (frame.type === "ping") {
      this.#socket.send('{"type":"pong"}');
      return;
    }
    if (frame.type === "welcome") {
      this.#onlineSince = performance.now();
      this.#patience = PATIENCE + 1000 * frame.ping;
      this.#listen();
      this.onState({ name: "online" });
    }
    this.onFrame(frame);
  }

  /**
   * A browser tells of a dead network minutes late, or never; so silence beyond the ping interval is the end, and so is
   * silence after something was said, for the server answers that.
   */
  #listen(patience = this.#patience) {
    this.#isAsking = false;
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost(1006, ""), patience);
  }

  #lost(code, reason) {
    if (code === FLOODED) this.#attempt = Math.max(this.#attempt, SLOWLY);
    else if (this.#onlineSince !== null && performance.now() - this.#onlineSince > STABLE) this.#attempt = 0;
    if (FINAL.has(code) || (code >= 4500 && code <= 4999)) {
      const [why, text] = FINAL.get(code) ?? ["refused", "The server has ended this connection."];
      this.#end(why, text);
    } else {
      this.#wait(code === RESTART ? askedFor(reason) : null);
    }
  }

  #refused(error) {
    if (error.passes) this.#wait(error.retryAfter);
    else if (error.status === 401) this.#end("logged_out", "You have been logged out.");
    else if (error.status === 404 || error.status === 410) this.#end("no_channel", "There is no such channel.");
    else this.#end("refused", error.status ? error.message : "This browser cannot connect.");
  }

  #wait(seconds) {
    const delay = 1000 * (seconds === null ? backoff(this.#attempt) : obey(seconds));
    this.#attempt += 1;
    this.#drop();
    this.#isOrdered = seconds !== null;
    this.#timer = setTimeout(() => this.open(), delay);
    this.onState({ name: "waiting", until: performance.now() + delay });
  }

  #end(code, text) {
    this.#drop();
    this.onState({ name: "ended", code, text });
  }

  /** Forget the socket and all that could still come of it. */
  #drop() {
    this.#round += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#timer = this.#watchdog = this.#onlineSince = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }
}
