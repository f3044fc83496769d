// The channels that this page has entered.  Several stay open, so that one sees where something new is said; beyond that
// the one that was visited longest ago is left, and goes on where it stopped when one comes back.

const MOST = 5; // a server lets one user have 20 connections by default: four tabs like this one
const REMEMBERED = 20; // rooms, open and closed; each may hold 2,000 lines

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
    this.#forget();
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

  /** Whether something has been said in any of them that is not confirmed. */
  get hasUnsent() {
    return [...this.#rooms.values()].some((room) => !room.outbox.isEmpty);
  }

  /** Those that are open, the last one visited at the end. */
  get open() {
    return [...this.#rooms.values()].filter((room) => room.isOpen);
  }

  #forget() {
    if (this.#rooms.size <= REMEMBERED) return;
    const oldest = [...this.#rooms.values()].find((room) => !room.isOpen && room.outbox.isEmpty);
    oldest?.remove();
    this.#rooms.delete(oldest?.name);
  }

  #keep() {
    this.store.set("open", this.open.map(({ name }) => name));
  }
}
