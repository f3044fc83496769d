"""From a log in a Redis into the archive: of all processes that hear the log one does it, in order and without holes.

Up to where it is done stands beside the log, and the stream keeps what is not.  So when that process dies another one goes
on where it was; what both of them write is written once, for the archive knows each event by log and offset.
"""

from collections.abc import Sequence
from logging import Logger
from random import uniform
from typing import Final

import gevent
from gevent.event import AsyncResult

from chat.archive.base import Archive
from chat.broker.base import Place
from chat.broker.parcel import Parcel
from chat.broker.recent import Recent
from chat.broker.scripts import ADVANCE, CLAIM
from chat.bus import Bus
from chat.bus.lease import Standing
from chat.errors import BrokerUnavailable, NotStorable
from chat.event import LOGGED, Logged
from chat.registry.base import ChannelRecord

BATCH: Final = 256  # events in one append
ENTRIES: Final = 16  # batches that are read from the stream at once
REST: Final = 1.0  # seconds between two attempts


class Feeder:
    """What one process does for the archive of one log; without an archive nothing."""

    def __init__(
        self,
        record: ChannelRecord,
        meta: bytes,
        recent: Recent,
        *,
        bus: Bus,
        archive: Archive | None,
        lease: Standing,
        log: Logger,
    ) -> None:
        self._name = record.name
        self._tag = record.log
        self._meta = meta
        self._stream = bus.key(record.log, "stream")
        self._recent = recent
        self._bus = bus
        self._archive = archive
        self._lease = lease
        self._log = log
        self._epoch = record.epoch
        self._archived = 0
        self._is_mine = False
        self._is_claiming = False
        self._feeding: gevent.Greenlet[[], None] | None = None
        self._lost: list[Logged] = []  # of an earlier epoch, and perhaps not archived

    def begin(self, epoch: str, archived: int) -> None:
        """Go on from there, if nobody else does.  Never yields."""
        self._epoch, self._archived = epoch, archived
        self.claim("")

    def claim(self, after: str) -> None:
        """Archive from now on, if nobody does, or only the process `after` did.  Never yields."""
        if self._archive is not None and not self._is_mine and not self._is_claiming:
            self._is_claiming = True
            answer = self._bus.run(CLAIM, self._tag, [self._meta], [self._lease.process, after])
            answer.rawlink(self._claimed)

    def _claimed(self, answer: "AsyncResult[tuple[bytes, bytes]]") -> None:
        """Called in the hub."""
        self._is_claiming = False
        if not answer.successful():
            return
        who, archived = answer.value or (b"", b"0")
        self._is_mine = who.decode() == self._lease.process
        self._archived = int(archived)
        self.wake()

    def wake(self) -> None:
        """There may be something to be archived.  Never yields."""
        if self._has_work() and (self._feeding is None or self._feeding.ready()):
            self._feeding = gevent.spawn(self._feed)

    def _has_work(self) -> bool:
        return bool(self._lost) or (self._is_mine and self._archived < self._recent.last)

    def rescue(self, place: Place) -> None:
        """The log goes on from `place`: what was heard until now may be nowhere but here.  Never yields."""
        if self._archive is not None:
            self._lost += self._recent.first_past(self._recent.last - len(self._recent), len(self._recent)) or []
        self._is_mine = False
        self.begin(*place)
        self.wake()

    def read_stream(self, after: int, until: int) -> list[Logged]:
        """All that the stream has past offset `after`, up to `until`.  Blocks.  Raises: BrokerUnavailable."""
        found: list[Logged] = []
        while after < until and (more := self._next_in_stream(after)):
            found += more
            after = more[-1].offset
        return [event for event in found if event.offset <= until]

    def flush(self, seconds: float) -> None:
        """Return when all that was heard is archived, or after that time.  Blocks."""
        self.wake()
        if self._feeding is not None:
            self._feeding.join(seconds)

    def stop(self) -> None:
        """Archive no more.  Never yields."""
        self._is_mine = False
        self._lost = []
        if self._feeding is not None:
            gevent.spawn(self._feeding.kill)

    def _feed(self) -> None:
        while self._has_work():
            try:
                if self._lost:
                    self._feed_lost()
                else:
                    self._feed_next()
            except BrokerUnavailable as exc:
                self._log.error("channel %r: what was said cannot be archived now: %s", self._name, exc)
                gevent.sleep(uniform(REST / 2, REST))  # noqa: S311

    def _feed_lost(self) -> None:
        assert self._archive is not None
        first, last = self._lost[0].offset, self._lost[-1].offset
        kept = {event.offset for event in self._archive.read(self._tag, first - 1, last - first + 1)}
        self._append([event for event in self._lost if event.offset not in kept])
        self._lost = [event for event in self._lost if event.offset > last]

    def _feed_next(self) -> None:
        events = self._recent.first_past(self._archived, BATCH)
        if events is None:
            events = self._next_in_stream(self._archived)
        self._append(events)
        last = events[-1].offset if events else self._recent.last  # nothing there: what is gone cannot be archived
        if self._bus.call(ADVANCE, self._tag, [self._meta], [self._lease.process, self._epoch, last]):
            self._archived = last
        else:
            self._is_mine = False

    def _next_in_stream(self, after: int) -> list[Logged]:
        words = ("XRANGE", self._stream, f"{after + 1}-0", "+", "COUNT", ENTRIES)
        entries = self._bus.do(self._tag, *words)
        events = [event for entry in entries for event in Parcel.of_entry(self._epoch, entry).events()]
        return [event for event in events if isinstance(event, LOGGED) and event.offset > after]

    def _append(self, events: Sequence[Logged]) -> None:
        """A batch with something that the archive refuses is tried again in parts."""
        assert self._archive is not None
        if not events:
            return
        try:
            self._archive.append(self._tag, events)
        except NotStorable:
            if len(events) == 1:
                self._log.error("channel %r: event %d cannot be archived", self._name, events[0].offset)
                return
            half = len(events) // 2
            self._append(events[:half])
            self._append(events[half:])
