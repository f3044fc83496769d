"""One channel's log in a Redis, as this process hears it: without holes, or with a word about them.

What is published is heard by its topic.  Where that has a gap, after a time without a connection for one, the stream is
read; what comes meanwhile waits, and is sorted in behind.  So whatever happens to the connection, a channel is told each
event once and in order, or that its log goes on from another place.
"""

from collections.abc import Sequence
from datetime import timedelta
from logging import Logger
from random import uniform
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event as Flag

from chat.archive.base import Archive
from chat.broker import parcel
from chat.broker.base import Place, Subscriber
from chat.broker.feeding import Feeder
from chat.broker.parcel import Parcel
from chat.broker.recent import Recent
from chat.broker.scripts import BEGIN, STATE
from chat.bus import Bus
from chat.bus.lease import Standing
from chat.clock import Clock
from chat.errors import BrokerUnavailable, ChannelClosed
from chat.event import LOGGED, Published
from chat.orders import End
from chat.registry.base import ChannelRecord, Fate, new_epoch

ENTRIES: Final = 100  # batches that are read from the stream at once
HELD: Final = 1000  # parcels that wait while it is read; what of the others is not logged is lost
FILLED: Final = 1000  # events that are fetched from the archive for those that are connected
LEAP: Final = 1 << 20  # by which a new epoch leaves behind what the old one may still be found to have had
LEASED: Final = 0.1  # seconds between two looks whether this process may tell anything
REST: Final = 1.0  # seconds between two attempts to read the stream


class Keys(NamedTuple):
    """Those of one log that have no date."""

    meta: bytes
    stream: bytes
    topic: bytes


class _State(NamedTuple):
    place: Place
    begin: int
    archived: int
    is_closed: bool
    parcels: list[Parcel]


class Follower:
    """Hears one log from `begin` on: a `chat.bus.Listener`."""

    def __init__(
        self,
        record: ChannelRecord,
        subscriber: Subscriber,
        recent: Recent,
        *,
        bus: Bus,
        archive: Archive | None,
        lease: Standing,
        clock: Clock,
        log: Logger,
    ) -> None:
        self.record = record
        self.keys = Keys(*(bus.key(record.log, kind) for kind in ("meta", "stream", "topic")))
        self.place = Place(record.epoch, 0)
        self.recent = recent
        self.feeder = Feeder(record, self.keys.meta, recent, bus=bus, archive=archive, lease=lease, log=log)
        self._subscriber: Subscriber | None = subscriber  # None once it has ended
        self._bus = bus
        self._lease = lease
        self._archive = archive
        self._clock = clock
        self._log = log
        self._held: list[Parcel] | None = []  # while the stream is read
        self._told = Flag()
        self._reading: gevent.Greenlet[[], None] | None = None

    def is_for(self, subscriber: Subscriber | None) -> bool:
        """Whether that is who hears; None is anybody."""
        return subscriber is None or subscriber is self._subscriber

    # `chat.bus.Listener`

    def heard(self, payload: bytes) -> None:
        """Take what was published."""
        if self._subscriber is None:
            return
        if payload.startswith(parcel.ORDER):
            self._subscriber.told(parcel.unpacked(payload))
        else:
            self._sort_in(parcel.read(payload))

    def returned(self) -> None:
        """Read what was published meanwhile."""
        if self._subscriber is not None:
            self.catch_up()

    # What the broker calls

    def begin(self, keep: int) -> Place:
        """Find out where the log stands, and have at hand up to `keep` of its last events.  Blocks.

        Raises: BrokerUnavailable, ChannelClosed.
        """
        state = self._look(-keep) or self._make()
        if state.is_closed:
            raise ChannelClosed(self.record.name)
        while state.parcels and state.parcels[-1].last < state.place.offset:
            more = self._look(state.parcels[-1].last + 1)
            if more is None or more.place.epoch != state.place.epoch or not more.parcels:
                raise BrokerUnavailable
            state = more._replace(parcels=[*state.parcels, *more.parcels])
        self.place = state.place
        self.recent.skip(state.place.offset)
        tail = [event for held in state.parcels for event in held.events() if isinstance(event, LOGGED)]
        now, date = self._clock.monotonic(), self._clock.now()
        self.recent.fill(tail, now, [max((date - event.date) / timedelta(seconds=1), 0.0) for event in tail])
        self.feeder.begin(self.place.epoch, state.archived)
        self._release()
        return self.place

    def catch_up(self) -> None:
        """Have read what is missing.  Never yields."""
        if self._held is None:
            self._held = []
        if self._reading is None or self._reading.ready():
            self._reading = gevent.spawn(self._read)

    def wait_caught_up(self, seconds: float) -> None:
        """Return when nothing is missing, or after that time.  Blocks."""
        if self._reading is not None:
            self._reading.join(seconds)

    def wait_told(self, place: Place, seconds: float) -> None:
        """Return when the channel has been told of what is at `place`, or of another epoch, or after that time.  Blocks."""
        with gevent.Timeout(seconds, exception=False):  # type: ignore[arg-type]
            while self.place.epoch == place.epoch and self.recent.last < place.offset and self._subscriber is not None:
                self._told.clear()
                self._told.wait()

    def stop(self) -> None:
        """Tell the channel nothing any more.  Never yields."""
        self._subscriber = None
        self._told.set()
        if self._reading is not None:
            gevent.spawn(self._reading.kill)

    # Hearing

    def _sort_in(self, heard: Parcel) -> None:
        if self._held is not None:
            if len(self._held) < HELD:
                self._held.append(heard)
        elif not self._lease.is_valid or heard.epoch != self.place.epoch or heard.first > self.recent.last + 1:
            self._held = [heard]
            self.catch_up()
        else:
            self._take(heard)

    def _take(self, heard: Parcel) -> None:
        events = heard.events()
        if heard.first <= self.recent.last:  # the stream had it already
            events = [event for event in events if not isinstance(event, LOGGED) or event.offset > self.recent.last]
        self._tell(events)

    def _tell(self, events: Sequence[Published]) -> None:
        logged = [event for event in events if isinstance(event, LOGGED)]
        if logged:
            self.recent.add(logged, self._clock.monotonic())
            self.feeder.wake()
        if events and self._subscriber is not None:
            self._subscriber.heard(events)
        self._told.set()

    def _release(self) -> None:
        """Take what has waited."""
        held, self._held = self._held or [], None
        for heard in held:
            self._sort_in(heard)

    # Reading

    def _read(self) -> None:
        while self._subscriber is not None:
            try:
                if self._lease.is_valid and self._read_on():
                    self._release()
                    if self._held is None:
                        return
                elif not self._lease.is_valid:
                    gevent.sleep(LEASED)
            except BrokerUnavailable:
                gevent.sleep(uniform(REST / 2, REST))  # noqa: S311

    def _read_on(self) -> bool:
        """Tell what the stream has; return whether that was all.  Blocks.  Raises: BrokerUnavailable."""
        last = self.recent.last
        state = self._look(max(last, 1))
        if state is None:
            self._begin_anew("")
            return False
        if state.is_closed and self._subscriber is not None:
            self._subscriber.told(End())
            return True
        if state.place.epoch != self.place.epoch:
            self._move(Place(state.place.epoch, max(state.begin, state.place.offset - FILLED)))
            return False
        if state.place.offset < last or self._differs(state.parcels):
            self._log.error("channel %r: the Redis has lost a part of its log", self.record.name)
            self._begin_anew(self.place.epoch)
            return False
        ahead = [one for one in state.parcels if one.last > last]
        if ahead and ahead[0].first > last + 1 and not self._fill_from_archive(ahead[0].first - 1):
            self._move(Place(self.place.epoch, ahead[0].first - 1))
        for one in ahead:
            self._take(one)
        is_gone = not ahead and state.place.offset > last  # in no stream any more
        if is_gone and not self._fill_from_archive(state.place.offset):
            self._move(state.place)
        return self.recent.last >= state.place.offset

    def _look(self, first: int) -> _State | None:
        found: list[Any] = self._bus.call(STATE, self.record.log, [self.keys.meta, self.keys.stream], [first, ENTRIES])
        if not found:
            return None
        epoch, offset, begin, archived, closed, entries = found
        place = Place(epoch.decode(), int(offset))
        return _State(
            place, int(begin), int(archived), bool(closed), [Parcel.of_entry(place.epoch, entry) for entry in entries]
        )

    def _differs(self, parcels: Sequence[Parcel]) -> bool:
        """Whether what was heard last is another event there: then somebody was acked what is lost."""
        found = self.recent.first_past(self.recent.last - 1, 1)
        if not found or not parcels:
            return False
        heard = found[0]
        if not parcels[0].first <= heard.offset <= parcels[0].last:
            return False
        there = next(event for event in parcels[0].events() if isinstance(event, LOGGED) and event.offset == heard.offset)
        return (type(there), there.sender, there.id, there.date) != (type(heard), heard.sender, heard.id, heard.date)

    def _fill_from_archive(self, until: int) -> bool:
        after = self.recent.last
        if self._archive is None or until - after > FILLED:
            return False
        found = self._archive.read(self.record.log, after, until - after)
        if len(found) != until - after or found[0].offset != after + 1:
            return False
        self._tell(found)
        return True

    # Another place

    def _make(self) -> _State:
        """Begin the log: of a new channel where it stands, otherwise under another epoch."""
        record = self.record
        if record.fate is Fate.NEW:
            self._begin("", record.epoch, 0)
        else:
            last = max(record.offset, self._archive.last(record.log) if self._archive is not None else 0)
            self._begin("", new_epoch(), last + LEAP if last else 0)
        state = self._look(1)
        if state is None:
            raise BrokerUnavailable
        return state

    def _begin_anew(self, epoch: str) -> None:
        """End that epoch; "": the log is gone."""
        last = max(self.recent.last, self._archive.last(self.record.log) if self._archive is not None else 0)
        self._move(self._begin(epoch, new_epoch(), last + LEAP))

    def _begin(self, old: str, new: str, offset: int) -> Place:
        keys = [self.keys.meta, self.keys.stream]
        epoch, at = self._bus.call(BEGIN, self.record.log, keys, [old, new, offset])
        return Place(epoch.decode(), int(at))

    def _move(self, place: Place) -> None:
        """What was heard and is nowhere else is kept before it is forgotten here."""
        if place.epoch != self.place.epoch:
            self.feeder.rescue(place)
        self.place = place
        self.recent.skip(place.offset)
        if self._subscriber is not None:
            self._subscriber.moved(place)
        self._told.set()
