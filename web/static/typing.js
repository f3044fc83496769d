// Who is typing in a channel.  The server tells at most every 3 s, and never that somebody has stopped.

const SHOWN = 5_000; // ms
const NAMED = 3; // users; beyond, nobody is named

export class Typing {
  #timers = new Map(); // user name -> what forgets it

  /** `onChange()` when somebody begins or stops. */
  constructor(onChange) {
    this.onChange = onChange;
  }

  get users() {
    return [...this.#timers.keys()];
  }

  begin(user) {
    const isNew = !this.#timers.has(user);
    clearTimeout(this.#timers.get(user));
    this.#timers.set(user, setTimeout(() => this.stop(user), SHOWN));
    if (isNew) this.onChange();
  }

  stop(user) {
    clearTimeout(this.#timers.get(user));
    if (this.#timers.delete(user)) this.onChange();
  }

  clear() {
    for (const user of this.users) this.stop(user);
  }
}

/** What is told of `users`: nodes, of which `label(user)` makes those that name one. */
export function typingLine(users, label) {
  if (users.length === 0) return [];
  if (users.length > NAMED) return ["Several people are typing…"];
  const named = users.flatMap((user, place) => [place === 0 ? "" : place === users.length - 1 ? " and " : ", ", ...label(user)]);
  return [...named, users.length === 1 ? " is typing…" : " are typing…"];
}
