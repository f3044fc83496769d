// The state of the connection, in words.  Only a change is announced; the countdown beside it is for the eyes.

import { byId } from "./dom.js";

const OFFERS = { no_channel: "Create it", refused: "Try again" };

export class Status {
  #timer = null;

  /** `onHurry()` connects at once; `onCreate()` creates the channel that has gone. */
  constructor({ onHurry, onCreate }) {
    this.state = null;
    byId("retry").addEventListener("click", () => (this.state.code === "no_channel" ? onCreate() : onHurry()));
  }

  show(state) {
    this.state = state;
    byId("status").dataset.state = state.name;
    byId("state").textContent = describe(state);
    this.#offer(state);
    this.#countDown();
  }

  #offer(state) {
    const loggedOut = state.code === "logged_out";
    const canLogIn = byId("log-in").getAttribute("href") !== "";
    byId("log-in").hidden = !(loggedOut && canLogIn);
    const text = state.name === "waiting" ? "Connect now" : OFFERS[state.code];
    byId("retry").hidden = !text;
    byId("retry").textContent = text ?? "";
  }

  #countDown() {
    clearTimeout(this.#timer);
    const place = byId("countdown");
    if (this.state.name !== "waiting") {
      place.textContent = "";
      return;
    }
    const left = Math.max(0, this.state.until - Date.now());
    place.textContent = `in ${Math.ceil(left / 1000)} s`;
    this.#timer = setTimeout(() => this.#countDown(), left % 1000 || 1000);
  }
}

function describe({ name, text, code }) {
  if (name === "connecting") return "Connecting…";
  if (name === "online") return "Connected";
  if (name === "waiting") return "Connection lost. Trying again";
  const canLogIn = byId("log-in").getAttribute("href") !== "";
  return code === "logged_out" && !canLogIn ? `${text} Log in, and reload this page.` : text;
}
