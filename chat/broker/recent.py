"""The last events of one channel's log, without holes up to its end: for those who come back, and for history.

They are kept in batches, packed where they came so, for few are ever looked at again.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from chat.event import Deleted, Edited, Logged, Past
from chat.packed import Packed
from chat.past import erased, fold, is_about

MERGED: Final = 64  # events that are kept as one batch, where they come one by one and not packed
SOON: Final = 1 / 60  # of the age, between the first of them and the last, which goes by so much too early


class _Batch(NamedTuple):
    """Events without holes; packed they are messages, none of which was deleted."""

    first: int
    events: list[Logged] | Packed
    added: float

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1

    def may_be_about(self, offset: int) -> bool:
        """Whether something in it may be the message at `offset`, or have changed it."""
        return not isinstance(self.events, Packed) or self.first <= offset <= self.last


class Recent:
    """At most `keep` events, none for longer than `age` seconds; `last` is the offset of the last event of all.

    Whole batches go, so that nearly one more may be held, which nobody is shown.  The times are those of Clock.monotonic.
    What was deleted has no text here either.
    """

    __slots__ = ("_age", "_batches", "_held", "_keep", "last")

    def __init__(self, last: int, keep: int, age: float) -> None:
        self.last = last
        self._keep = keep
        self._age = age
        self._batches: deque[_Batch] = deque()
        self._held = 0  # events in all batches

    def __len__(self) -> int:
        return min(self._held, self._keep)

    def fill(self, tail: Sequence[Logged], now: float, ages: Sequence[float]) -> None:
        """Begin with what of `tail` leads to `last` without a hole; `ages` are theirs."""
        offset = self.last - len(tail)
        for index, event in enumerate(tail, 1):
            if event.offset == offset + index:
                self._append(event.offset, [event], now - ages[index - 1])
        for event in tail:
            if isinstance(event, Deleted):
                self._erase(event.target)
        self._forget(now)

    def add(self, events: Sequence[Logged], now: float) -> None:
        """Go on with `events`; where their offsets do not follow `last`, nothing before the hole is kept."""
        if isinstance(events, Packed):
            self._go_on(events.first, events, now)
        else:
            for begin, end in _runs(events):
                self._go_on(events[begin].offset, [*events[begin:end]], now)
        self._forget(now)

    def skip(self, last: int) -> None:
        """Go on past `last`: what was logged up to there is no longer to be had."""
        self._batches.clear()
        self._held = 0
        self.last = last

    def past(self, after: int, limit: int, now: float) -> list[Logged] | None:
        """Everything past offset `after`; None when that is more than `limit`, or not all here."""
        self._forget(now)
        missed = self.last - after
        if not 0 <= missed <= min(limit, len(self)):
            return None
        return self._between(after + 1, self.last)

    def first_past(self, after: int, limit: int) -> list[Logged] | None:
        """The first `limit` past offset `after`, however old; None when they do not begin there."""
        return None if after < self.last - len(self) else self._between(after + 1, after + limit)

    def begins(self, now: float) -> int:
        """The offset of the first event, that of the next one where there is none."""
        self._forget(now)
        return self.last - len(self) + 1

    def find(self, offset: int) -> Past | None:
        """The message at `offset`, if it is here."""
        begins = self.last - len(self) + 1
        events = (event for batch in self._batches if batch.may_be_about(offset) for event in batch.events)
        return next(iter(fold(event for event in events if event.offset >= begins and is_about(event, offset))), None)

    def messages(self) -> list[Past]:
        """All messages that are here, as they now are."""
        return fold(self._between(self.last - len(self) + 1, self.last))

    def _go_on(self, first: int, events: list[Logged] | Packed, now: float) -> None:
        if first != self.last + 1:
            self.skip(first - 1)
        self._append(first, events, now)
        self.last += len(events)
        if not isinstance(events, Packed):
            for event in events:
                if isinstance(event, Deleted) or (isinstance(event, Edited) and self._is_deleted(event.target)):
                    self._erase(event.target)

    def _append(self, first: int, events: list[Logged] | Packed, added: float) -> None:
        if isinstance(events, Packed) or not self._is_extended(events, added):
            self._batches.append(_Batch(first, events, added))
        self._held += len(events)

    def _is_extended(self, events: list[Logged], added: float) -> bool:
        """Add `events` to the last batch, where that is possible."""
        end = self._batches[-1] if self._batches else None
        if end is None or isinstance(end.events, Packed) or len(end.events) >= MERGED:
            return False
        if added > end.added + self._age * SOON:
            return False
        end.events.extend(events)
        return True

    def _between(self, first: int, last: int) -> list[Logged]:
        found: list[Sequence[Logged]] = []
        for batch in reversed(self._batches):
            if batch.last < first:
                break
            if batch.first <= last:
                found.append(batch.events[max(first - batch.first, 0) : last - batch.first + 1])
        return [event for events in reversed(found) for event in events]

    def _erase(self, target: int) -> None:
        for index, batch in enumerate(self._batches):
            events = [*batch.events] if batch.may_be_about(target) else []
            if any(is_about(event, target) for event in events):
                found = [erased(event) if is_about(event, target) else event for event in events]
                self._batches[index] = batch._replace(events=found)

    def _is_deleted(self, target: int) -> bool:
        apart = (batch.events for batch in self._batches if not isinstance(batch.events, Packed))
        return any(isinstance(event, Deleted) and event.target == target for events in apart for event in events)

    def _forget(self, now: float) -> None:
        while self._batches:
            begin = self._batches[0]
            rest = self._held - len(begin.events)
            if rest < self._keep and begin.added > now - self._age:
                break
            self._batches.popleft()
            self._held = rest


def _runs(events: Sequence[Logged]) -> Iterator[tuple[int, int]]:
    """Where each part without holes begins and ends."""
    begin = 0
    for end in range(1, len(events) + 1):
        if end == len(events) or events[end].offset != events[end - 1].offset + 1:
            yield begin, end
            begin = end
