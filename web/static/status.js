// The state of the connection, in words.  Only a change is announced; the countdown beside it is for the eyes.

import { byId } from "./dom.js";

const OFFERS = { no_channel: "Create it", refused: "Try again" };

export class Status {
  #timer = null;

  /** `onHurry()` connects at once; `onCreate()` creates the channel that has gone; `login` is "" where there is none. */
  constructor({ login, onHurry, onCreate }) {
    Object.assign(this, { login, state: null });
    byId("retry").addEventListener("click", () => (this.state.code === "no_channel" ? onCreate() : onHurry()));
    addEventListener("offline", () => this.state && this.show(this.state));
  }

  show(state) {
    this.state = state;
    byId("status").dataset.state = state.name;
    const text = this.#describe(state);
    if (byId("state").textContent !== text) byId("state").textContent = text;
    this.#offer(state);
    this.#countDown();
  }

  #describe({ name, text, code }) {
    if (name === "connecting") return "Connecting…";
    if (name === "online") return "Connected";
    if (name === "waiting") return navigator.onLine ? "Connection lost. Trying again" : "You are offline. Trying again";
    return code === "logged_out" && !this.login ? `${text} Log in, and reload this page.` : text;
  }

  #offer({ name, code }) {
    byId("log-in").hidden = !(code === "logged_out" && this.login);
    byId("log-in").href = this.login + location.hash; // it survives the form and the redirect, and so leads back here
    const text = name === "waiting" ? "Connect now" : OFFERS[code];
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
