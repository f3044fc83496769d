// The channels that this page has entered.  Several stay open, so that one sees where something new is said; beyond that
// the one that was visited longest ago is left, and goes on where it stopped when one comes back.

const MOST = 6; // a server lets one user have 20 connections by default: three tabs like this one

export class Rooms {
  #rooms = new Map(); // by name, in the order of the last visit

  /** `create(name)` makes a Room. */
  constructor({ create, store }) {
    Object.assign(this, { create, store });
  }

  /** Open the channels of the last time. */
  restore() {
    for (const name of this.store.get("open", [])) this.visit(name);
  }

  /** Return the channel's room, open. */
  visit(name) {
    const room = this.get(name) ?? this.create(name);
    this.#rooms.delete(name);
    this.#rooms.set(name, room);
    room.open();
    const open = this.open;
    if (open.length > MOST) (open.find((other) => other !== room && other.outbox.isEmpty) ?? open[0]).close();
    this.#keep();
    return room;
  }

  /** Leave it; who comes back finds what was said. */
  leave(name) {
    this.get(name).close();
    this.#keep();
  }

  get(name) {
    return this.#rooms.get(name);
  }

  /** Those that are open, the last one visited at the end. */
  get open() {
    return [...this.#rooms.values()].filter((room) => room.isOpen);
  }

  #keep() {
    this.store.set("open", this.open.map(({ name }) => name));
  }
}
