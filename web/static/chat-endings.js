// Which ends of connections, channels and tries are final.  Pure.

/** @type {Map<number, [string, string]>} close codes after which coming back to that channel is of no use */
const CHANNEL_ENDS = new Map([
  [1000, ["channel_closed", "This channel was closed."]],
  [4001, ["replaced", "You are connected from somewhere else."]], // or two tabs would push each other out for ever
  [4503, ["kicked", "You were removed from this channel."]],
  [4504, ["banned", "You are banned from this channel."]],
]);
/** @type {Map<number, [string, string]>} and those after which it is of no use at all */
const CLIENT_ENDS = new Map([
  [1008, ["refused", "The server refused this connection."]],
  [4501, ["logged_out", "You have been logged out."]],
]);
/** @type {[string, string]} */
const REFUSED = ["refused", "The server has ended this connection."];
const SLOW = new Set([1013, 4029]);
const PASSING = new Set([0, 408, 425, 429]); // HTTP statuses; 0: no answer
// A join that was refused for one of these may be let in with another token, or once our last connection is found dead.
const ANOTHER_TRY = new Set(["invalid_token", "expired_token", "user_already_connected"]);

/** The word and the sentence for a channel's end that is final, else undefined. @param {number} code */
export const channelEnd = (code) => CHANNEL_ENDS.get(code);

/** The same for everything. @param {number} code @returns {[string, string] | undefined} */
export const clientEnd = (code) => CLIENT_ENDS.get(code) ?? (code >= 4500 && code <= 4999 ? REFUSED : undefined);

/** Whether the server had too much of us. @param {number} code */
export const isSlow = (code) => SLOW.has(code);

/** Whether a request that was answered so may succeed later. @param {number} status */
export const passes = (status) => PASSING.has(status) || status >= 500;

/** Whether a join that was refused may succeed later. @param {import("./chat-error.js").ChatError} error */
export const mayJoinLater = ({ code, retry }) => retry || ANOTHER_TRY.has(code);
