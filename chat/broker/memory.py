"""The broker of a single process: offsets, the recent log, and straight on to the channel."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from chat.archive.base import Archive
from chat.broker.base import Broker, OnEvents
from chat.clock import Clock, SystemClock
from chat.event import Logged, Message, Published
from chat.registry.base import ChannelRecord

REMEMBERED: Final = 300.0  # seconds in which a message that is said again, by the same id, is not said twice
MOST: Final = 100_000  # ids remembered in one channel: 300 a second for all that time
RECENT: Final = 1000  # events a channel keeps for those who come back; the default of CHAT_RESUME_LIMIT


class _Log:
    """One channel's recent log."""

    __slots__ = ("epoch", "offset", "on_events", "recent", "said")

    def __init__(self, record: ChannelRecord, on_events: OnEvents, keep: int) -> None:
        self.epoch = record.epoch
        self.offset = record.offset
        self.on_events = on_events
        self.recent: deque[Message] = deque(maxlen=keep)
        self.said: dict[tuple[str, str], tuple[int, float]] = {}  # (sender, id) -> offset, until when; oldest first

    def knows(self, event: Published, now: float) -> bool:
        """Whether this very message was logged already; then it gets its offset."""
        if not isinstance(event, Message) or not event.id:
            return False
        offset, until = self.said.get((event.sender, event.id), (0, 0.0))
        if until <= now:
            return False
        event.offset = offset
        return True

    def offset_of(self, event: Published) -> int:
        """Where it stands, 0 when it is not logged.  Of two that say the same one is logged."""
        if not isinstance(event, Message):
            return 0
        return event.offset or self.said[event.sender, event.id][0]

    def remember(self, logged: Sequence[Message], now: float) -> None:
        """Know `logged` again, for a while."""
        for event in logged:
            if event.id:
                self.said.pop((event.sender, event.id), None)
                self.said[event.sender, event.id] = event.offset, now + REMEMBERED
        while self.said and (len(self.said) > MOST or next(iter(self.said.values()))[1] <= now):
            del self.said[next(iter(self.said))]


class MemoryBroker(Broker):
    """Yields only where the archive does.  A channel publishes from one greenlet, so its batches never overlap."""

    def __init__(self, archive: Archive | None = None, *, recent: int = RECENT, clock: Clock | None = None) -> None:
        self._archive = archive
        self._clock = clock or SystemClock()
        self._keep = recent
        self._logs: dict[str, _Log] = {}

    def open(self, record: ChannelRecord, on_events: OnEvents) -> None:
        self._logs[record.key] = _Log(record, on_events, self._keep)

    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int]:
        log = self._logs[key]
        now = self._clock.monotonic()
        fresh = _without_repeats([event for event in events if not log.knows(event, now)])
        logged = [event for event in fresh if isinstance(event, Message)]
        for offset, event in enumerate(logged, log.offset + 1):
            event.offset = offset
        if self._archive is not None and logged:
            self._archive.append(log.epoch, logged)
        log.offset += len(logged)
        log.recent.extend(logged)
        log.remember(logged, now)
        if fresh:
            log.on_events(fresh)
        return [log.offset_of(event) for event in events]

    def read(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        log = self._logs[key]
        missed = log.offset - after
        if not 0 <= missed <= limit:
            return None
        if missed > len(log.recent):
            return None if self._archive is None else self._archive.read(log.epoch, after, limit)
        return list(log.recent)[-missed:] if missed else []

    def last(self, key: str) -> int:
        return self._logs[key].offset

    def close(self, key: str) -> None:
        self._logs.pop(key, None)


def _without_repeats(events: Sequence[Published]) -> list[Published]:
    """Leave out messages that say the same as an earlier one of the batch."""
    seen: set[tuple[str, str]] = set()
    fresh: list[Published] = []
    for event in events:
        if isinstance(event, Message) and event.id:
            if (event.sender, event.id) in seen:
                continue
            seen.add((event.sender, event.id))
        fresh.append(event)
    return fresh
