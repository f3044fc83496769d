"""Who is in a channel, as those are told who come."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from chat.clock import Clock
from chat.crowd import LISTED
from chat.event import NOTICES, Joined, Left, Notice, Published, User
from chat.presence import Presence

KEPT: Final = 0.25  # seconds for which the names that were read serve all who come to a large room
READS: Final = 3  # where all begins anew in the middle of each, the last one has to do


class Roster:
    """Up to 100 users of one channel, and how many there are.

    Who comes is told of changes from then on.  So what was told while the answer was on its way is seen to here: it may be
    older than that.
    """

    def __init__(self, key: str, presence: Presence, clock: Clock) -> None:
        """`key` is `ChannelRecord.key`."""
        self._key = key
        self._presence = presence
        self._clock = clock
        self._told: list[Notice] = []  # while somebody reads
        self._readers = 0
        self._changes = 0  # so far
        self._resets = 0
        self._kept: tuple[User, ...] = ()  # of a large room
        self._kept_until = 0.0

    def told(self, events: Sequence[Published]) -> None:
        """The members hear these.  Never yields."""
        notices = [event for event in events if isinstance(event, NOTICES)]
        if not notices:
            return
        self._changes += 1
        if self._readers:
            self._told += notices
        if self._kept:
            self._kept = _after(notices, self._kept)

    def reset(self) -> None:
        """They may not have heard all, or nobody knows any more who is here.  Never yields."""
        self._changes += 1
        self._resets += 1
        self._kept = ()

    def read(self) -> tuple[tuple[User, ...], int]:
        """The users by name, and their count.  May block.  Raises: ChatError."""
        for _ in range(READS):
            resets = self._resets
            users, count = self._read()
            if resets == self._resets:
                break
        return users, count

    def _read(self) -> tuple[tuple[User, ...], int]:
        if not self._kept or self._clock.monotonic() >= self._kept_until:
            users, is_all = self._ask()
            if is_all:  # who comes by another process before we count is heard of yet, and counted then
                return users, len(users)
            self._kept, self._kept_until = users, self._clock.monotonic() + KEPT
        count = self._count()
        return self._kept[:LISTED], count

    def _ask(self) -> tuple[tuple[User, ...], bool]:
        """The users, and whether they are all.  Blocks."""
        begin = len(self._told)
        self._readers += 1
        try:
            users = self._presence.users(self._key, LISTED)
            return _after(self._told[begin:], users), len(users) < LISTED
        finally:
            self._readers -= 1
            if not self._readers:
                self._told = []

    def _count(self) -> int:
        for _ in range(READS):
            changes = self._changes
            count = self._presence.count(self._key)
            if changes == self._changes:
                break
        return count


def _after(notices: Iterable[Notice], users: Iterable[User]) -> tuple[User, ...]:
    """Who is here once `notices` were told, where `users` may have been so before some of them, or after."""
    found = {user.username: user for user in users}
    for notice in notices:
        if isinstance(notice, Joined):
            found[notice.user.username] = notice.user
        elif isinstance(notice, Left):
            found.pop(notice.username, None)
        else:
            found |= {user.username: user for user in notice.joined}
            for username in notice.left:
                found.pop(username, None)
    return tuple(sorted(found.values(), key=attrgetter("username")))
