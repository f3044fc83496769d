// The state of the connection, in words.  Only a change is announced; the countdown beside it is for the eyes.

import { byId, tell } from "./dom.js";

const OFFERS = { no_channel: "Create it", logged_out: "", other_user: "" }; // others may be tried again

export class Status {
  #timer = null;

  /** `onHurry()` connects at once; `onCreate()` creates the channel that has gone; `login` is "" where there is none. */
  constructor({ login, onHurry, onCreate }) {
    Object.assign(this, { login, state: null });
    byId("retry").addEventListener("click", () => {
      byId("title").focus(); // the button is about to go; the field would raise a phone's keyboard
      return this.state.code === "no_channel" ? onCreate() : onHurry();
    });
  }

  show(state) {
    this.state = state;
    byId("status").dataset.state = state.isAgain || state.name === "offline" ? "waiting" : state.name;
    tell(byId("state"), this.#describe(state));
    this.#offer(state);
    this.#countDown();
  }

  /** A try among others is not told: it would be one more announcement each time. */
  #describe({ name, isAgain, text, code }) {
    if (name === "connecting" && !isAgain) return "Connecting…";
    if (name === "online") return "Connected";
    if (name === "offline") return "You are offline.";
    if (name !== "ended") return "Connection lost. Trying again";
    if (code === "other_user") return `${text} Reload this page.`;
    return code === "logged_out" && !this.login ? `${text} Log in, and reload this page.` : text;
  }

  #offer({ name, isAgain, code }) {
    byId("log-in").hidden = !(code === "logged_out" && this.login);
    byId("log-in").href = this.login + location.hash; // it survives the form and the redirect, and so leads back here
    const isAway = name === "waiting" || name === "offline" || isAgain;
    const text = isAway ? "Connect now" : name === "ended" && (OFFERS[code] ?? "Try again");
    if (!text && document.activeElement === byId("retry")) byId("title").focus();
    byId("retry").hidden = !text;
    byId("retry").textContent = text || "";
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
