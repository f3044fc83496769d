// Whether a channel can have a name, told while it is typed.  Pure; the server has the last word (chat/names.py).

const LONGEST = 64; // characters after NFC
const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;

/** The name as the server will write it. */
export const normal = (text) => text.trim().normalize("NFC");

/** Return "" or a sentence about what is wrong with a normal name. */
export function fault(name) {
  const length = [...name].length;
  if (length > LONGEST) return `This name has ${length} characters, and at most ${LONGEST} are allowed.`;
  if (name.includes("/")) return "A channel’s name cannot have a / in it.";
  const char = FORBIDDEN.exec(name)?.[0];
  if (char) return `The character ${codePoint(char)} is not allowed in names.`;
  return "";
}

export const codePoint = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
