// How many messages of a channel one has not read, and how many of them mention one: heard here, or told by the server.
// Pure.  The server knows what was read elsewhere; this page is faster.

export class Unread {
  count = 0;
  mentions = 0;
  #told = 0; // what the server said last
  #readAt = -Infinity;

  /** A message of somebody else came that nobody saw. */
  add(isMention) {
    this.count += 1;
    if (isMention) this.mentions += 1;
  }

  /** All of it was read; the server is told at the time `now`. */
  read(now) {
    this.count = this.mentions = 0;
    this.#readAt = now;
  }

  /**
   * What the server says, to somebody who asked at the time `asked`.  It may be less than was heard here: because it was
   * read elsewhere, or because the server keeps no count, in which case it was never more.
   */
  tell({ unread = 0, mentions = 0 }, asked) {
    if (asked < this.#readAt) return;
    if (unread > this.count || unread < this.#told) Object.assign(this, { count: unread, mentions });
    this.#told = unread;
  }
}
