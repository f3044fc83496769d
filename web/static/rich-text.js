// A message's text as nodes: web addresses become links, and what would reverse the writing is shown instead of obeyed.
// Everything else stays text.

import { codePoint } from "./channel-name.js";
import { make } from "./dom.js";

// An address ends before punctuation that belongs to the sentence.  ASCII only: what looks like another site is not linked.
const ADDRESS = /\bhttps?:\/\/[\x21-\x7e]*[\w#$%&*+/=@\\^`|~([{-]/giu;
const OVERRIDE = /[\u202d\u202e]/gu; // left-to-right and right-to-left override: they serve only to deceive
const PARTS = new RegExp(`${ADDRESS.source}|${OVERRIDE.source}`, "giu");

export function richText(text) {
  const nodes = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(PARTS)) {
    nodes.push(text.slice(end, index), found.length > 1 ? link(found) : mark(found));
    end = index + found.length;
  }
  return [...nodes, text.slice(end)];
}

function link(address) {
  // With a user before it, a host is easily overlooked: https://bank.example@evil.example
  if (!URL.canParse(address) || new URL(address).username) return address;
  return make("a", { href: address, dir: "ltr", target: "_blank", rel: "noopener noreferrer nofollow" }, address);
}

function mark(char) {
  return make("span", { className: "control", title: "A character that reverses the writing" }, codePoint(char));
}
