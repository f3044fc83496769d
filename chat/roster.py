"""Who is in a channel, as those are told who come."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from chat.clock import Clock
from chat.crowd import LISTED
from chat.event import NOTICES, Joined, Left, Notice, Published, User
from chat.presence import Presence

KEPT: Final = 0.25  # seconds for which the names that were read serve all who come to a large room
READS: Final = 3  # where something is told in the middle of each, the last one has to do


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
        self._readers = 0
        self._told: list[Notice] = []  # while there are any
        self._resets = 0
        self._kept: tuple[User, ...] = ()  # of a large room
        self._kept_until = 0.0

    def told(self, events: Sequence[Published]) -> None:
        """The members hear these.  Never yields."""
        if not self._readers and self._clock.monotonic() >= self._kept_until:
            return
        notices = [event for event in events if isinstance(event, NOTICES)]
        if self._readers:
            self._told += notices
        if notices and self._kept:
            self._kept = _after(notices, self._kept)

    def reset(self) -> None:
        """They may not have heard all, or nobody knows any more who is here.  Never yields."""
        self._resets += 1
        self._kept = ()

    def read(self) -> tuple[tuple[User, ...], int]:
        """The users by name, and their count.  May block.  Raises: ChatError."""
        self._readers += 1
        try:
            for _ in range(READS):
                resets = self._resets
                users, count = self._read()
                if resets == self._resets:
                    break
            return users, count
        finally:
            self._readers -= 1
            if not self._readers:
                self._told = []

    def _read(self) -> tuple[tuple[User, ...], int]:
        if not self._kept or self._clock.monotonic() >= self._kept_until:
            begin = len(self._told)
            found = self._presence.users(self._key, LISTED)
            users = _after(self._told[begin:], found)
            if len(found) < LISTED:  # all; who comes by another process before we count is heard of yet, and counted then
                return users, len(users)
            self._kept, self._kept_until = users, self._clock.monotonic() + KEPT
        count = self._count()
        return self._kept[:LISTED], count

    def _count(self) -> int:
        for _ in range(READS):
            begin = len(self._told)
            count = self._presence.count(self._key)
            if len(self._told) == begin:
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
