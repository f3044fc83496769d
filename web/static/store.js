// What this tab remembers over a reload or a new login: drafts, and which channels were open.  It ends with the tab,
// and when one logs out, so that the next person at a shared computer finds nothing.

const key = (user, name) => `chat:${encodeURIComponent(user)}:${name}`; // one user's name may begin another's

export class Store {
  #kept = new Map(); // as long as the page lives, also where the browser keeps nothing

  constructor(user) {
    this.user = user;
  }

  /** Return what was kept under `name`, or `otherwise`. */
  get(name, otherwise) {
    if (this.#kept.has(name)) return this.#kept.get(name);
    try {
      return JSON.parse(sessionStorage.getItem(key(this.user, name))) ?? otherwise;
    } catch {
      return otherwise; // forbidden by the browser's settings, or not ours
    }
  }

  /** Keep `value`; nothing that is empty is kept. */
  set(name, value) {
    this.#kept.set(name, value);
    try {
      if (value.length) sessionStorage.setItem(key(this.user, name), JSON.stringify(value));
      else sessionStorage.removeItem(key(this.user, name));
    } catch {
      // Full or forbidden: then it lives as long as the page.
    }
  }

  /** Where a ChatClient of this user keeps what it has to: {storage, key}. */
  get place() {
    return { storage: session(), key: key(this.user, "client") };
  }

  /** Forget everything. */
  clear() {
    this.#kept.clear();
    try {
      for (const found of Object.keys(sessionStorage)) if (found.startsWith(key(this.user, ""))) sessionStorage.removeItem(found);
    } catch {
      // Nothing was kept.
    }
  }
}

function session() {
  try {
    return sessionStorage;
  } catch {
    return null; // forbidden
  }
}
