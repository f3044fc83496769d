"""What was said lately in one channel, by sender and id: said again it is the same, not another one."""

from collections.abc import Iterable
from typing import Final, TypeAlias

from chat.event import LOGGED, Published, Whisper

REMEMBERED: Final = 300.0  # seconds
MOST: Final = 100_000  # ids remembered in one channel: 300 a second for all that time

Key: TypeAlias = tuple[str, ...]


def key_of(event: Published) -> Key | None:
    """By what `event` is known again; None when it had no id.  A whisper is another one to somebody else."""
    if isinstance(event, LOGGED) and event.id:
        return event.sender, event.id
    if isinstance(event, Whisper) and event.id:
        return event.sender, event.id, event.to
    return None


class Said:
    """Remembers for 5 minutes.  The times are those of Clock.monotonic."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: dict[Key, tuple[int, float]] = {}  # -> offset, until when; oldest first

    def offset(self, key: Key | None, now: float) -> int | None:
        """Where that stands, 0 when it is not logged; None when it was not said."""
        found = None if key is None else self._said.get(key)
        return found[0] if found is not None and found[1] > now else None

    def add(self, key: Key, offset: int, at: float) -> None:
        """Know it again, for a while."""
        self._said.pop(key, None)
        self._said[key] = offset, at + REMEMBERED

    def add_all(self, events: Iterable[Published], now: float) -> None:
        """Know `events` again, and forget what is too old."""
        for event in events:
            if (key := key_of(event)) is not None:
                self.add(key, event.offset if isinstance(event, LOGGED) else 0, now)
        while self._said and (len(self._said) > MOST or next(iter(self._said.values()))[1] <= now):
            del self._said[next(iter(self._said))]
