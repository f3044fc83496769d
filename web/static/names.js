// What people are called, as far as the server has told.  Anybody may choose any display name, so the user name, which is
// nobody else's, always stands beside it.

import { make } from "./dom.js";

const HUES = 8; // as in page.css

export class Names {
  #names = new Map(); // user name -> display name

  /** Learn of one member, {user, name?}. */
  learn({ user, name }) {
    if (name) this.#names.set(user, name);
    else this.#names.delete(user);
  }

  of(user) {
    return this.#names.get(user) ?? user;
  }

  /** Elements that name a user: the display name and, where it is another, the user name. */
  label(user, className = "from") {
    const name = this.of(user);
    const shown = [make("bdi", { className }, name)];
    if (name !== user) shown.push(" ", make("bdi", { className: "handle" }, user));
    return shown;
  }

  /** A picture to tell people apart by at a glance: an initial, in a colour that goes with the user name. */
  avatar(user) {
    const hue = [...user].reduce((hash, char) => Math.imul(hash ^ char.codePointAt(0), 0x01000193), 0x811c9dc5); // FNV-1a
    return make("span", { className: `avatar hue-${(hue >>> 16) % HUES}`, "aria-hidden": "true" }, initial(this.of(user)));
  }
}

/** The first character as a reader counts them, which may be several code points. */
function initial(name) {
  const first = Intl.Segmenter ? [...new Intl.Segmenter().segment(name)][0].segment : [...name][0];
  return first.toLocaleUpperCase();
}
