// What a line typed into the message field means.  Pure.

const WHISPER = /^\/w(?:\s+(?:"((?:[^"\\]|\\.)+)"|(\S+))(?:\s+([\s\S]+))?)?\s*$/;
const USAGE = 'To whisper, write /w name text. A name with spaces goes into quotes: /w "name" text.';

/** Return {text, to} (`to` null for everybody), or {fault} with a sentence for the user. */
export function parse(line) {
  if (line.startsWith("//")) return { text: line.slice(1), to: null };
  const command = /^\/([a-z]+)(\s|$)/i.exec(line)?.[1];
  if (command === undefined) return { text: line, to: null };
  // What was meant for one must not be said to all because of another chat's habits: /msg, /tell.
  if (command !== "w") return { fault: `There is no command /${command}. ${USAGE} Two slashes begin a line with one.` };
  const match = WHISPER.exec(line);
  const to = match?.[1]?.replace(/\\(.)/g, "$1") ?? match?.[2];
  const text = match?.[3]?.trimEnd();
  return to && text ? { text, to } : { fault: USAGE };
}

/** The start of a whisper to `name`, to be typed on. */
export function whisperTo(name) {
  const plain = /^[^\s"\\]+$/.test(name);
  return `/w ${plain ? name : `"${name.replace(/["\\]/g, "\\$&")}"`} `;
}
