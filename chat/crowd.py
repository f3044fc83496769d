"""Folds the joins and leaves of a large room.

Each join told to each member makes a storm of joins quadratic: 5,000 users entering would be 12 million frames.  So above
a size they are collected, and told together, at most every quarter of a second.  The larger the room, the less a single
name says, and the more it costs to say it.
"""

from typing import Final, NamedTuple

from chat.event import User

LARGE: Final = 100  # users; above it joins and leaves are folded
PERIOD: Final = 0.25  # seconds between two folded notices, or more:
NOTICES: Final = 5_000  # frames a second that a channel spends on them: 10,000 members hear of each other every 2 s
LISTED: Final = 100  # names in one notice, and in one welcome; the count is always true


def period(count: int) -> float:
    """Seconds between two folded notices to `count` users."""
    return max(PERIOD, count / NOTICES)


class Changes(NamedTuple):
    """What a folded notice tells."""

    came: list[User]
    here: list[User]
    """Who has another name, or came back."""
    went: list[str]
    gone: list[str]
    """Who came and went again."""


class Crowd:
    """Who came, went or changed their name since the last notice.

    Who is as before is not mentioned, where nobody else tells of who comes and goes.  Where other processes do, one of them
    may have told of an earlier change meanwhile: so the last one is mentioned in any case.
    """

    __slots__ = ("_changes", "_others_tell")

    def __init__(self, *, others_tell: bool = False) -> None:
        self._others_tell = others_tell
        self._changes: dict[str, tuple[User | None, User | None]] = {}  # username: as last told, as it is now

    def __bool__(self) -> bool:
        return bool(self._changes)

    def join(self, user: User) -> None:
        """Somebody came."""
        self._change(user.username, None, user)

    def rename(self, before: User, user: User) -> None:
        """Somebody who is here has another display name."""
        self._change(user.username, before, user)

    def leave(self, user: User) -> None:
        """Somebody went."""
        self._change(user.username, user, None)

    def _change(self, username: str, before: User | None, now: User | None) -> None:
        told, _ = self._changes.pop(username, (before, None))
        if told != now or self._others_tell:
            self._changes[username] = told, now

    def take(self) -> Changes:
        """Return what there is, and begin anew."""
        changes, self._changes = self._changes, {}
        return Changes(
            came=[now for told, now in changes.values() if now and not told],
            here=[now for told, now in changes.values() if now and told],
            went=[username for username, (told, now) in changes.items() if told and not now],
            gone=[username for username, (told, now) in changes.items() if not told and not now],
        )
