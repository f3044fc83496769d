// A message's text as nodes: web addresses become links, who is mentioned stands out, and what would reverse the writing is
// shown instead of obeyed.  Everything else stays text.

import { codePoint } from "./channel-name.js";
import { make } from "./dom.js";
import { MENTION, names, trimmed } from "./mentions.js";

// An address ends before punctuation that belongs to the sentence.  No flag i: with u, it takes \u017f for an s.
const ADDRESS = /\b[Hh][Tt][Tt][Pp][Ss]?:\/\/\S*[\p{L}\p{N}\p{S}/#%&*@_-]/u;
const OVERRIDE = /[\u202d\u202e]/u; // left-to-right and right-to-left override: they serve only to deceive
const PARTS = new RegExp(`${ADDRESS.source}|${OVERRIDE.source}|${MENTION.source}`, "gu");

/** `me` is the own user name, "" where nobody reads. */
export function richText(text, me = "") {
  const nodes = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(PARTS)) {
    const part = found.startsWith("@") ? trimmed(found) : found;
    nodes.push(text.slice(end, index), node(part, me));
    end = index + part.length;
  }
  return [...nodes, text.slice(end)];
}

function node(part, me) {
  if (part.startsWith("@")) return mention(part, me);
  return part.length > 1 ? link(part) : mark(part);
}

function mention(part, me) {
  if (/[\u202d\u202e]/u.test(part) || part.length < 2) return part.replace(/[\u202d\u202e]/gu, codePoint);
  return make("bdi", { className: names(part, me) ? "mention mine" : "mention" }, part);
}

/** Not where the host is not what it looks like: in letters of other scripts, or behind a user, as in bank.example@evil.example. */
function link(address) {
  if (/[^\x21-\x7e]/.test(address) || !URL.canParse(address) || new URL(address).username) return address;
  return make("a", { href: address, dir: "ltr", target: "_blank", rel: "noopener noreferrer nofollow" }, address);
}

function mark(char) {
  return make("span", { className: "control", title: "A character that reverses the writing" }, codePoint(char));
}
