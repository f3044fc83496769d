// What is around a client, a browser's page or a program: its sockets, its clock, and whether there is a network.

/**
 * @import { ClientOptions } from "./chat-client.js"
 * @import { Surroundings } from "./chat-internals.js"
 */

/** @param {Partial<ClientOptions>} given in place of what is there @returns {Surroundings} */
export function surroundings(given) {
  const { WebSocket = globalThis.WebSocket, online = network() } = given;
  const { setTimeout = globalThis.setTimeout, clearTimeout = globalThis.clearTimeout, now = Date.now, random = Math.random } = given;
  if (!WebSocket) throw new TypeError("There is no WebSocket here: give a class as the option WebSocket (in node 20: npm install ws).");
  const clock = {
    now: () => now(), // never as methods: a browser's refuse another `this`
    random: () => random(),
    setTimeout: (/** @type {() => void} */ act, /** @type {number} */ ms) => setTimeout(act, ms),
    clearTimeout: (/** @type {any} */ timer) => clearTimeout(timer),
  };
  return { WebSocket: /** @type {typeof globalThis.WebSocket} */ (WebSocket), clock, online };
}

/** The events of the browser's window; elsewhere there are none, and always a network. */
function network() {
  const target = typeof globalThis.addEventListener === "function" ? globalThis : new EventTarget();
  return {
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
    get onLine() {
      return globalThis.navigator?.onLine;
    },
  };
}
