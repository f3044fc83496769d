// The channels that this page is in.  Many, so that one sees where something new is said; beyond that the one that was visited
// longest ago is left: what is said there meanwhile is counted by the server, and read in its history.

const MOST = 20; // each may hold 2,000 lines

export class Rooms {
  #rooms = new Map(); // by name, in the order of the last visit

  /** `create(name)` makes a Room; `limit()` is how many the server allows on one connection. */
  constructor({ create, limit, store }) {
    Object.assign(this, { create, limit, store });
  }

  /** Enter the channels of the last time. */
  restore() {
    for (const name of this.store.get("open", [])) this.visit(name);
  }

  /** Return the channel's room. */
  visit(name) {
    const room = this.get(name) ?? this.create(name);
    this.#rooms.delete(name);
    this.#rooms.set(name, room);
    if (this.#rooms.size > Math.min(MOST, this.limit())) this.#leaveOne(room);
    this.#keep();
    return room;
  }

  leave(name) {
    this.get(name).remove();
    this.#rooms.delete(name);
    this.#keep();
  }

  get(name) {
    return this.#rooms.get(name);
  }

  /** Whether something has been said in any of them that is not confirmed. */
  get hasUnsent() {
    return this.open.some((room) => room.hasUnsent);
  }

  /** The last one visited at the end. */
  get open() {
    return [...this.#rooms.values()];
  }

  #leaveOne(visited) {
    const others = this.open.filter((room) => room !== visited);
    this.leave((others.find((room) => !room.hasUnsent) ?? others[0]).name);
  }

  #keep() {
    this.store.set("open", [...this.#rooms.keys()]);
  }
}
