// Who is in a channel, as far as the server has told.  In a large one the names are cut; the count is true.

export class Crowd {
  names = new Set();
  count = 0;

  reset(users, count) {
    this.names = new Set(users.map(({ user }) => user));
    this.count = count;
  }

  /** Return whether that was news. */
  join({ user }) {
    if (this.names.has(user)) return false;
    this.names.add(user);
    this.count += 1;
    return true;
  }

  leave({ user }) {
    const known = this.names.delete(user);
    if (known || this.count > this.names.size) this.count -= 1;
  }

  change({ joined, left, count }) {
    for (const { user } of joined) this.names.add(user);
    for (const { user } of left) this.names.delete(user);
    this.count = count;
  }
}
