// What the chat refuses, or has to give up.

/** A request that failed, or an end; `code` is a stable word, `message` a sentence for people. */
export class ChatError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {boolean} [retry] whether the same may succeed later
   */
  constructor(code, message, retry = false) {
    super(message);
    this.name = "ChatError";
    this.code = code;
    this.retry = retry;
  }
}

/** What the server says about an error, as a sentence. @param {string} text */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
