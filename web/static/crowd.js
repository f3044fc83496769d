// Who is in a channel, as far as the server has told.  In a large one the names are cut; the count is true.

export class Crowd {
  users = new Set(); // user names
  count = 0;

  reset(users, count) {
    this.users = new Set(users.map(({ user }) => user));
    this.count = count;
  }

  /** Return whether that was news. */
  join({ user }) {
    if (this.users.has(user)) return false;
    this.users.add(user);
    this.count += 1;
    return true;
  }

  leave({ user }) {
    const known = this.users.delete(user);
    if (known || this.count > this.users.size) this.count -= 1;
  }

  change({ joined, left, count }) {
    for (const { user } of joined) this.users.add(user);
    for (const { user } of left) this.users.delete(user);
    this.count = count;
  }
}
