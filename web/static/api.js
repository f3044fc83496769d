// The JSON side of the chat over HTTP: which channels there are, a new one, and a token to enter one.

import { sentence } from "./chat-error.js";

const DEADLINE = 10_000; // ms; a server that takes longer is as good as away

/** A request that failed; `status` is 0 when there was no answer at all. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds, when the server has said so
  }
}

export class Api {
  constructor({ channels, token }) {
    this.urls = { channels, token };
  }

  /** Return [{name, count, unread, mentions}]. */
  async listChannels() {
    return (await this.#ask(this.urls.channels)).channels;
  }

  /** Return the name as the server writes it. */
  async createChannel(name) {
    return (await this.#ask(this.urls.channels, { name })).name;
  }

  /** Return {token, channel, username, expires_in, moderator}. */
  requestToken(channel) {
    return this.#ask(this.urls.token, { channel });
  }

  async #ask(url, body) {
    const headers = { Accept: "application/json" };
    const request = { headers, redirect: "manual", cache: "no-cache", signal: AbortSignal.timeout(DEADLINE) };
    if (body !== undefined) {
      Object.assign(request, { method: "POST", body: JSON.stringify(body) });
      headers["Content-Type"] = "application/json";
    }
    const response = await fetch(url, request).catch(() => {
      throw new ApiError(0, "unreachable", "The server cannot be reached.");
    });
    if (response.type === "opaqueredirect") {
      // An application that embeds the chat may send strangers to its login instead of answering 401.
      throw new ApiError(401, "logged_out", "You are not logged in.");
    }
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    throw explain(response, answer);
  }
}

function explain(response, answer) {
  const { code = "failed", message = "the server did not understand this request" } = answer?.error ?? {};
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  return new ApiError(response.ok ? 502 : response.status, code, sentence(message), Number.isFinite(seconds) ? seconds : null);
}
