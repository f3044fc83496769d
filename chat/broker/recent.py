"""The last events of one channel's log, without holes up to its end: for those who come back, and for history."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from chat.event import Deleted, Edited, Logged, Past
from chat.past import erased, fold, is_about


class Recent:
    """At most `keep` events, none for longer than `age` seconds; `last` is the offset of the last event of all.

    The times are those of Clock.monotonic.  What was deleted has no text here either.
    """

    __slots__ = ("_added", "_age", "_events", "last")

    def __init__(self, last: int, keep: int, age: float) -> None:
        self.last = last
        self._age = age
        self._events: deque[Logged] = deque(maxlen=keep)
        self._added: deque[float] = deque(maxlen=keep)

    def __len__(self) -> int:
        return len(self._events)

    def fill(self, tail: Sequence[Logged], now: float, ages: Sequence[float]) -> None:
        """Begin with what of `tail` leads to `last` without a hole; `ages` are theirs."""
        offset = self.last - len(tail)
        for index, event in enumerate(tail, 1):
            if event.offset == offset + index:
                self._events.append(event)
                self._added.append(now - ages[index - 1])
        for event in tail:
            if isinstance(event, Deleted):
                self._erase(event.target)

    def add(self, events: Sequence[Logged], now: float) -> None:
        """Go on with `events`; where their offsets do not follow `last`, nothing before the hole is kept."""
        for event in events:
            if event.offset != self.last + 1:
                self.skip(event.offset - 1)
            self._events.append(event)
            self._added.append(now)
            self.last = event.offset
            if isinstance(event, Deleted):
                self._erase(event.target)
            elif isinstance(event, Edited) and self._is_deleted(event.target):
                self._events[-1] = erased(event)
        self._forget(now)

    def skip(self, last: int) -> None:
        """Go on past `last`: what was logged up to there is no longer to be had."""
        self._events.clear()
        self._added.clear()
        self.last = last

    def past(self, after: int, limit: int, now: float) -> list[Logged] | None:
        """Everything past offset `after`; None when that is more than `limit`, or not all here."""
        self._forget(now)
        missed, held = self.last - after, len(self._events)
        if not 0 <= missed <= min(limit, held):
            return None
        return list(islice(self._events, held - missed, None))

    def first_past(self, after: int, limit: int) -> list[Logged] | None:
        """The first `limit` past offset `after`, however old; None when they do not begin there."""
        skipped = after - (self.last - len(self._events))
        return None if skipped < 0 else list(islice(self._events, skipped, skipped + limit))

    def begins(self, now: float) -> int:
        """The offset of the first event, that of the next one where there is none."""
        self._forget(now)
        return self.last - len(self._events) + 1

    def find(self, offset: int) -> Past | None:
        """The message at `offset`, if it is here."""
        return next(iter(fold(event for event in self._events if is_about(event, offset))), None)

    def messages(self) -> list[Past]:
        """All messages that are here, as they now are."""
        return fold(self._events)

    def _erase(self, target: int) -> None:
        for index, event in enumerate(self._events):
            if is_about(event, target):
                self._events[index] = erased(event)

    def _is_deleted(self, target: int) -> bool:
        return any(isinstance(event, Deleted) and event.target == target for event in self._events)

    def _forget(self, now: float) -> None:
        while self._added and self._added[0] <= now - self._age:
            self._added.popleft()
            self._events.popleft()
