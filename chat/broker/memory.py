"""The broker of a single process: offsets, the recent log, and straight on to the channel.

Write-ahead with an archive.  When an append fails in a way that leaves open whether it was kept, the next one reads first
what the archive has: what is there is heard and keeps its offset, so that no offset is used twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeAlias

from chat.archive.base import Archive
from chat.broker.base import Broker, Place, Subscriber
from chat.broker.recent import Recent
from chat.broker.said import MOST, REMEMBERED, Key, Said, key_of
from chat.clock import Clock, SystemClock
from chat.errors import ChannelClosed, ChatError, NotStorable
from chat.event import LOGGED, Logged, Past, Published
from chat.orders import Order
from chat.past import page
from chat.registry.base import ChannelRecord

RECENT: Final = 1000  # events that a channel keeps for those who come back
RECENT_AGE: Final = 3600.0  # seconds for which it does
ADOPTED: Final = 1000  # events read at once after an append of unknown outcome

Which: TypeAlias = Key | int  # one of a batch: as it is known again, or as an object


class _Log:
    """One channel's log."""

    __slots__ = ("in_doubt", "name", "recent", "said", "subscriber")

    def __init__(self, record: ChannelRecord, subscriber: Subscriber, recent: Recent) -> None:
        self.name = record.log
        self.subscriber: Subscriber | None = subscriber  # None when the channel has ended
        self.recent = recent
        self.said = Said()
        self.in_doubt = False  # the archive may have more than was heard

    def tell(self, events: Sequence[Published], now: float) -> None:
        """Take what is in the log now, and tell of it; not of whispers that were heard before."""
        heard: list[Published] = []
        for event in events:
            if isinstance(event, LOGGED) or self.said.offset(key_of(event), now) is None:
                heard.append(event)
                self.said.add_all([event], now)
        self.recent.add([event for event in heard if isinstance(event, LOGGED)], now)
        if heard and self.subscriber is not None:
            self.subscriber.heard(heard)


class MemoryBroker(Broker):
    """Yields only where the archive does."""

    shared = False

    def __init__(
        self,
        archive: Archive | None = None,
        *,
        recent: int = RECENT,
        age: float = RECENT_AGE,
        clock: Clock | None = None,
    ) -> None:
        """Of each channel at most `recent` events are kept here, each for `age` seconds at most."""
        self._archive = archive
        self._keep = recent
        self._age = age
        self._clock = clock or SystemClock()
        self._logs: dict[str, _Log] = {}

    @property
    def waits(self) -> bool:
        return self._archive is not None

    def open(self, record: ChannelRecord, subscriber: Subscriber) -> Place:
        log = _Log(record, subscriber, Recent(record.offset, self._keep, self._age))
        if self._archive is not None and record.offset:
            self._fill(log, self._archive)
        self._logs[record.key] = log
        return Place(record.epoch, record.offset)

    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError]:
        log = self._log(key)
        if any(isinstance(event, LOGGED) for event in events):
            self._adopt(log)
        outcomes, fresh = _sift(log, events, self._clock.monotonic())
        return self._tell(log, events, outcomes, fresh, self._append(log, fresh))

    def publish_at_once(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError] | None:
        log = self._log(key)
        outcomes, fresh = _sift(log, events, self._clock.monotonic())
        if fresh and (log.in_doubt or not self._is_kept_at_once(log, fresh)):
            return None
        return self._tell(log, events, outcomes, fresh, {})

    def tell(self, key: str, order: Order) -> None:
        log = self._log(key)
        if log.subscriber is not None:
            log.subscriber.told(order)

    def said(self, key: str, sender: str, id: str) -> int:
        log = self._log(key)
        self._adopt(log)
        return log.said.offset((sender, id), self._clock.monotonic()) or 0

    def recent(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        return self._log(key).recent.past(after, limit, self._clock.monotonic())

    def read(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        found = self.recent(key, after, limit)
        log = self._log(key)
        missed = log.recent.last - after
        if found is not None or self._archive is None or not 0 < missed <= limit:
            return found
        archived = self._archive.read(log.name, after, missed)
        return archived if len(archived) == missed and archived[0].offset == after + 1 else None

    def find(self, key: str, offset: int) -> Past | None:
        log = self._log(key)
        self._adopt(log)  # a delete of unknown outcome may have been kept
        begins = log.recent.begins(self._clock.monotonic())
        if self._archive is None or begins <= offset:
            return log.recent.find(offset)
        return self._archive.find(log.name, offset)

    def history(
        self, key: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> tuple[list[Past], bool]:
        log = self._log(key)
        begins = log.recent.begins(self._clock.monotonic())
        found, more = page(log.recent.messages(), before=before, after=after, limit=limit)
        if self._archive is None or begins <= (1 if after is None else after + 1) or (after is None and more):
            return found, more
        heard = log.recent.last + 1
        before = heard if before is None else min(before, heard)
        return self._archive.history(log.name, before=before, after=after, limit=limit)

    def last(self, key: str) -> int:
        return self._log(key).recent.last

    def look_round(self) -> None:
        """Nobody loses anything here."""

    def close(self, key: str, subscriber: Subscriber | None = None) -> None:
        log = self._logs.get(key)
        if log is not None and subscriber in (None, log.subscriber):
            log.subscriber = None
            del self._logs[key]

    def _fill(self, log: _Log, archive: Archive) -> None:
        """Go on with what an earlier process knew."""
        now, date = self._clock.monotonic(), self._clock.now()
        tail = archive.tail(log.name, self._keep, date - timedelta(seconds=self._age))
        log.recent.fill(tail, now, [(date - event.date).total_seconds() for event in tail])
        for sender, id, offset, said in archive.ids(log.name, date - timedelta(seconds=REMEMBERED), MOST):
            log.said.add((sender, id), offset, now - max((date - said).total_seconds(), 0.0))

    def _log(self, key: str) -> _Log:
        try:
            return self._logs[key]
        except KeyError:
            raise ChannelClosed(key.partition("/")[0]) from None

    def _tell(
        self,
        log: _Log,
        events: Sequence[Published],
        outcomes: dict[Which, int | ChatError],
        fresh: Sequence[Logged],
        refused: Mapping[Which, ChatError],
    ) -> Sequence[int | ChatError]:
        """Tell of `events`, of which the `fresh` ones are in the log now; return what has become of each."""
        outcomes.update({_which(event): event.offset for event in fresh})
        outcomes.update(refused)
        kept = {id(event) for event in fresh if _which(event) not in refused}
        log.tell([event for event in events if not isinstance(event, LOGGED) or id(event) in kept], self._clock.monotonic())
        return [outcomes[_which(event)] if isinstance(event, LOGGED) else 0 for event in events]

    def _is_kept_at_once(self, log: _Log, events: Sequence[Logged]) -> bool:
        _number(events, log.recent.last)
        return self._archive is None or self._archive.append_at_once(log.name, events)

    def _append(self, log: _Log, events: Sequence[Logged]) -> dict[Which, ChatError]:
        """Number `events`, and write them ahead; return those that the archive refuses, and why.

        A batch with such an event is tried again in halves, and numbered anew, so that it leaves no hole.
        """
        refused: dict[Which, ChatError] = {}
        last, parts = log.recent.last, [events]
        while parts:
            part = parts.pop()
            _number(part, last)
            try:
                self._write(log, part)
            except NotStorable as exc:
                if len(part) == 1:
                    refused[_which(part[0])] = exc
                else:
                    half = len(part) // 2
                    parts += [part[half:], part[:half]]
            else:
                last += len(part)
        return refused

    def _write(self, log: _Log, events: Sequence[Logged]) -> None:
        if self._archive is None or not events:
            return
        try:
            self._archive.append(log.name, events)
        except NotStorable:
            raise
        except BaseException:  # also of who kills this greenlet, while a thread goes on to write
            log.in_doubt = True
            raise

    def _adopt(self, log: _Log) -> None:
        """Take over what the archive has kept although it said that it had failed.

        What retention has taken meanwhile nobody hears, but its offsets are used.
        """
        while log.in_doubt and self._archive is not None:
            end = self._archive.last(log.name)
            found = self._archive.read(log.name, log.recent.last, ADOPTED)
            log.in_doubt = bool(found) and found[-1].offset < end
            log.tell(found, self._clock.monotonic())
            if not found and end > log.recent.last:
                log.recent.skip(end)


def _sift(log: _Log, events: Iterable[Published], now: float) -> tuple[dict[Which, int | ChatError], list[Logged]]:
    """Return where those stand that were logged before, and those that were not, without repeats."""
    known: dict[Which, int | ChatError] = {}
    fresh: dict[Which, Logged] = {}
    for event in events:
        if isinstance(event, LOGGED):
            offset = log.said.offset(key_of(event), now)
            if offset is None:
                fresh.setdefault(_which(event), event)
            else:
                known[_which(event)] = offset
    return known, list(fresh.values())


def _number(events: Iterable[Logged], last: int) -> None:
    for offset, event in enumerate(events, last + 1):
        event.offset = offset


def _which(event: Logged) -> Which:
    return key_of(event) or id(event)
