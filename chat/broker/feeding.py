"""From a log in a Redis into the archive: of all processes that hear the log one does it, in order and without holes.

Up to where it is done stands beside the log, and the stream keeps what is not.  So when that process dies another one goes
on where it was; what both of them write is written once, for the archive knows each event by log and offset.
"""

from collections.abc import Sequence
from logging import Logger
from random import uniform
from typing import Final, NamedTuple

import gevent
from gevent.event import AsyncResult

from chat.archive.base import Archive
from chat.broker.parcel import Parcel
from chat.broker.recent import Recent
from chat.broker.scripts import ADVANCE, CLAIM
from chat.bus import Bus
from chat.bus.lease import Standing
from chat.clock import Clock, Timer
from chat.errors import BrokerUnavailable, NotStorable
from chat.event import LOGGED, Logged
from chat.past import identity
from chat.registry.base import ChannelRecord

BATCH: Final = 256  # events in one append
ENTRIES: Final = 32  # batches that are read from the stream at once
LOST: Final = 10_000  # events that wait here because they may be nowhere else; what comes on top is lost
PATIENCE: Final = 10.0  # seconds for what was heard to be archived, or tried; then somebody else does it
REST: Final = 1.0  # seconds between two attempts, to archive something or to read the stream


class Means(NamedTuple):
    """What all logs of one process are followed and archived with."""

    bus: Bus
    archive: Archive | None
    lease: Standing
    clock: Clock
    log: Logger
    rest: float = REST
    """Seconds between two attempts at what fails."""


class Feeder:
    """What one process does for the archive of one log; without an archive nothing."""

    def __init__(self, record: ChannelRecord, meta: bytes, recent: Recent, means: Means) -> None:
        self._name = record.name
        self._tag = record.log
        self._meta = meta
        self._stream = means.bus.key(record.log, "stream")
        self._recent = recent
        self._bus, self._archive, self._lease, self._clock, self._log, self._rest = means
        self._epoch = record.epoch
        self._archived = 0  # as was last known here
        self._is_mine = False
        self._is_claiming = False
        self._is_stopped = False
        self._timer: Timer | None = None
        self._feeding: gevent.Greenlet[[], None] | None = None
        self._lost: list[Logged] = []  # of earlier epochs, perhaps in no stream, and perhaps not archived

    def begin(self, epoch: str, archived: int) -> None:
        """Go on from there, if nobody else does.  Never yields."""
        self._epoch, self._archived = epoch, archived
        self._is_mine = False
        self.claim()

    def claim(self) -> None:
        """Archive from now on, if nobody does, or who does it is not heard of any more.  Never yields."""
        if self._archive is not None and not (self._is_mine or self._is_claiming or self._is_stopped):
            self._is_claiming = True
            words = (self._lease.process, self._now(), round(PATIENCE * 1000))
            self._bus.run(CLAIM, self._tag, [self._meta], words).rawlink(self._claimed)

    def _claimed(self, answer: "AsyncResult[list[bytes]]") -> None:
        """Called in the hub."""
        self._is_claiming = False
        if not answer.successful():
            self._look_later()
        elif answer.value:
            who, archived = answer.value
            self._is_mine = who.decode() == self._lease.process
            self._archived = int(archived)
            self.wake()

    def wake(self) -> None:
        """There may be something to be archived.  Never yields."""
        if self._archive is None or self._is_stopped:
            return
        if self._has_work():
            if self._feeding is None or self._feeding.ready():
                self._feeding = gevent.spawn(self._feed)
        elif not self._is_mine and self._archived < self._recent.last:
            self._look_later()

    def _look_later(self) -> None:
        """Whoever does it may have left or died, or be this process, which has not heard that it is to."""
        if self._timer is None and not self._is_stopped:
            self._timer = self._clock.later(PATIENCE, self._look)

    def _look(self) -> None:
        """Called in the hub."""
        self._timer = None
        self.claim()

    def _has_work(self) -> bool:
        return bool(self._lost) or (self._is_mine and self._archived < self._recent.last)

    def rescue(self, epoch: str, archived: int) -> None:
        """The log goes on in that epoch: what was heard until now may be nowhere but here.  Never yields.

        `archived` is beyond what was heard where the Redis has forgotten how much was.
        """
        if self._archive is None:
            return
        held, last = len(self._recent), self._recent.last
        done = min(max(self._archived, archived if archived <= last else 0), last)
        heard = self._recent.first_past(max(done, last - held), held) or []
        room = LOST - len(self._lost)
        if len(heard) > room:
            self._log.error("channel %r: %d events are not archived, and may be lost", self._name, len(heard) - room)
        self._lost += heard[:room]
        self.begin(epoch, archived)
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
        if self._lost:
            self._log.error("channel %r: %d events are not archived, and may be lost", self._name, len(self._lost))
        self._is_stopped = True
        self._is_mine = False
        self._lost = []
        if self._timer is not None:
            self._timer.cancel()
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
                gevent.sleep(uniform(self._rest / 2, self._rest))  # noqa: S311
            except Exception:
                self._log.exception("channel %r: what was said cannot be archived now", self._name)
                gevent.sleep(uniform(self._rest / 2, self._rest))  # noqa: S311
        self.wake()

    def _feed_lost(self) -> None:
        part = _unbroken(self._lost[:BATCH])
        self._append(self._where_nothing_is(part))  # of what is old most is there
        del self._lost[: len(part)]

    def _feed_next(self) -> None:
        last = self._recent.last
        events = self._recent.first_past(self._archived, BATCH)
        if events is None:
            events = _unbroken(self._next_in_stream(self._archived))
        try:
            self._append(events)
        except BrokerUnavailable:
            self._advance(self._archived)  # still at it, so that nobody else need be
            raise
        self._advance(events[-1].offset if events else last)  # nothing there: what is gone cannot be archived

    def _advance(self, archived: int) -> None:
        words = (self._lease.process, self._epoch, archived, self._now())
        self._is_mine = bool(self._bus.call(ADVANCE, self._tag, [self._meta], words))
        if self._is_mine:
            self._archived = archived

    def _now(self) -> int:
        """Milliseconds since 1970."""
        return round(self._clock.now().timestamp() * 1000)

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
        except BrokerUnavailable:
            free = self._where_nothing_is(events)
            if len(free) == len(events):
                raise
            self._append(free)

    def _where_nothing_is(self, events: Sequence[Logged]) -> list[Logged]:
        """Those of `events` that the archive has not, and has no others in their place either.  Blocks.

        Where a Redis has lost what was heard, something else may have been said, and archived, at the same offset.
        """
        assert self._archive is not None
        first, last = events[0].offset, events[-1].offset
        kept = {event.offset: event for event in self._archive.read(self._tag, first - 1, last - first + 1)}
        for event in events:
            if event.offset in kept and identity(kept[event.offset]) != identity(event):
                self._log.error("channel %r: event %d cannot be archived: another one was", self._name, event.offset)
        return [event for event in events if event.offset not in kept]


def _unbroken(events: list[Logged]) -> list[Logged]:
    """The first ones, up to where an epoch has leapt."""
    return [event for index, event in enumerate(events) if event.offset == events[0].offset + index]
