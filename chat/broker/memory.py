"""The broker of a single process: offsets, the recent log, and straight on to the channel."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from chat.archive.base import Archive
from chat.broker.base import Broker, OnEvents
from chat.event import Message, Published
from chat.registry.base import ChannelRecord

RECENT: Final = 1000  # events a channel keeps for those who come back; the default of CHAT_RESUME_LIMIT


class _Log:
    """One channel's recent log."""

    __slots__ = ("epoch", "name", "offset", "on_events", "recent")

    def __init__(self, record: ChannelRecord, on_events: OnEvents, keep: int) -> None:
        self.name = record.name
        self.epoch = record.epoch
        self.offset = record.offset
        self.on_events = on_events
        self.recent: deque[Message] = deque(maxlen=keep)


class MemoryBroker(Broker):
    """Yields only where the archive does.  A channel publishes from one greenlet, so its batches never overlap."""

    def __init__(self, archive: Archive | None = None, *, recent: int = RECENT) -> None:
        self._archive = archive
        self._keep = recent
        self._logs: dict[str, _Log] = {}

    def open(self, record: ChannelRecord, on_events: OnEvents) -> None:
        self._logs[record.key] = _Log(record, on_events, self._keep)

    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int]:
        log = self._logs[key]
        logged = [event for event in events if isinstance(event, Message)]
        for offset, event in enumerate(logged, log.offset + 1):
            event.offset = offset
        if self._archive is not None and logged:
            self._archive.append(log.name, log.epoch, logged)
        log.offset += len(logged)
        log.recent.extend(logged)
        log.on_events(events)
        return [event.offset if isinstance(event, Message) else 0 for event in events]

    def read(self, key: str, after: int, limit: int) -> Sequence[Message] | None:
        log = self._logs[key]
        missed = log.offset - after
        if not 0 <= missed <= limit:
            return None
        if missed > len(log.recent):
            return None if self._archive is None else self._archive.read(log.name, log.epoch, after, limit)
        return list(log.recent)[-missed:] if missed else []

    def last(self, key: str) -> int:
        return self._logs[key].offset

    def close(self, key: str) -> None:
        self._logs.pop(key, None)
