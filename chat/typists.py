"""Who has been told to be typing lately: each keystroke is an event to a client, but news to nobody."""

from typing import Final

PERIOD: Final = 3.0  # seconds between two times that one user is told of; clients show it for 5


class Typists:
    """The users of one channel who type."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # by username; the oldest first

    def __len__(self) -> int:
        return len(self._until)

    def may_tell(self, username: str, now: float) -> bool:
        """Whether it is news that they type; then it is none for a while.  `now` is in seconds.  Never yields."""
        while self._until and (oldest := next(iter(self._until))) and self._until[oldest] <= now:
            del self._until[oldest]
        if username in self._until:
            return False
        self._until[username] = now + PERIOD
        return True
