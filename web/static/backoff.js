// How long to wait before the next try.  Pure: chance comes in from outside.

const FIRST = 1; // seconds
const LONGEST = 30;

/**
 * Full jitter: anything between nothing and a bound that doubles.  When a server comes back, its clients then spread
 * evenly instead of coming in waves (AWS Architecture Blog, "Exponential Backoff And Jitter").
 */
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(LONGEST, FIRST * 2 ** Math.min(attempt, 10));
}

/** Seconds that the close reason `retry=1.250` asks for, or null. */
export function askedFor(reason) {
  const match = /^retry=(\d+(?:\.\d+)?)$/.exec(reason);
  return match ? Number(match[1]) : null;
}

/** The wait where a server has asked for one: not less, and a little more, for others were asked for the same. */
export function obey(seconds, random = Math.random) {
  return Math.min(Math.max(seconds, 0), 10 * LONGEST) + FIRST * random();
}
