// Whom a text mentions: @name, or @"a name with spaces".  Pure, and as in chat/mentions.py, which counts them.

/** What may be a mention; never in ann@example.org. */
export const MENTION = /(?<![\p{L}\p{N}_])@(?:"[^"\n]+"|\S+)/u;
const PUNCTUATION = /\p{P}+$/u; // of the sentence that goes on behind a name

/** The part of a found mention that is one, without the sentence's punctuation; "" or "@" where nothing is left. */
export const trimmed = (found) => (found.endsWith('"') && found.startsWith('@"') ? found : found.replace(PUNCTUATION, ""));

/** Whether a trimmed mention is of that user. */
export const names = (mention, user) => folded(mention.replace(/^@"?|"$/g, "")) === folded(user);

export function mentions(text, user) {
  return [...text.matchAll(new RegExp(MENTION, "gu"))].some(([found]) => names(trimmed(found), user));
}

/** Much like Python's casefold. */
const folded = (name) => name.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC");
