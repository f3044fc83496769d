"""One channel's log in a Redis, as this process hears it: without holes, or with a word about them.

What is published is heard by its topic.  Where that has a gap, after a time without a connection for one, the stream is
read; what comes meanwhile waits, and is sorted in behind.  So whatever happens to the connection, a channel is told each
event once and in order, or that its log goes on from another place.
"""

from collections.abc import Sequence
from datetime import timedelta
from random import uniform
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event as Flag

from chat.broker import parcel
from chat.broker.base import Place, Subscriber
from chat.broker.feeding import Feeder, Means
from chat.broker.parcel import Parcel
from chat.broker.recent import Recent
from chat.broker.said import Said
from chat.broker.scripts import BEGIN, STATE
from chat.errors import BrokerUnavailable, ChannelClosed
from chat.event import LOGGED, Logged, Published, Whisper
from chat.orders import End, Greet
from chat.packed import Packed
from chat.past import identity
from chat.registry.base import ChannelRecord, Fate, new_epoch

ENTRIES: Final = 100  # batches that are read from the stream at once
HELD: Final = 1000  # parcels that wait while it is read; what of more is not logged is lost
FILLED: Final = 1000  # events that are fetched from the archive for those that are connected
LEAP: Final = 1 << 20  # by which a new epoch leaves behind what the old one may still be found to have had
LEASED: Final = 0.1  # seconds between two looks whether this process may tell anything


class Keys(NamedTuple):
    """Those of one log that have no date."""

    meta: bytes
    stream: bytes
    topic: bytes


class _State(NamedTuple):
    epoch: str
    base: int
    """The offset before its first event."""
    offset: int
    archived: int
    is_closed: bool
    parcels: list[Parcel]

    @classmethod
    def of_answer(cls, answer: list[Any]) -> "_State":
        """What a script says."""
        epoch, base, offset, archived, closed, entries = answer
        parcels = [Parcel.of_entry(epoch.decode(), entry) for entry in entries]
        return cls(epoch.decode(), int(base), int(offset), int(archived), bool(closed), parcels)


class Follower:
    """Hears one log from `begin` on: a `chat.bus.Listener`."""

    def __init__(
        self, record: ChannelRecord, subscriber: Subscriber, recent: Recent, means: Means, *, held: int = HELD
    ) -> None:
        self.record = record
        self.keys = Keys(*(means.bus.key(record.log, kind) for kind in ("meta", "stream", "topic")))
        self.place = Place(record.epoch, 0)
        self.recent = recent
        self.feeder = Feeder(record, self.keys.meta, recent, means)
        self.whispered = Said()
        self._subscriber: Subscriber | None = subscriber  # None once it has ended
        self._bus, self._archive, self._lease, self._clock, self._log, self._rest = means
        self._most_held = held
        self._held: list[Parcel] | None = []  # while the stream is read; another list, where it has to be read once more
        self._has_begun = False
        self._has_gap = False  # something that is not logged may not have been heard
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
        """Read what was published meanwhile.

        What waits was heard by another connection, perhaps of a server that is not the master any more: of what is logged
        the stream knows better.
        """
        if self._subscriber is not None:
            self._held = []
            self._has_gap = True
            self.catch_up()

    # What the broker calls

    def begin(self, keep: int) -> Place:
        """Find out where the log stands, and have at hand up to `keep` of its last events.  Blocks.

        Raises: BrokerUnavailable, ChannelClosed.
        """
        held: list[Parcel] = []
        self._held = held
        state = self._load(keep)
        self.place = Place(state.epoch, state.offset)
        self.recent.skip(state.offset)
        tail = [event for one in state.parcels for event in one.events() if isinstance(event, LOGGED)]
        now, date = self._clock.monotonic(), self._clock.now()
        self.recent.fill(tail, now, [max((date - event.date) / timedelta(seconds=1), 0.0) for event in tail])
        self.feeder.begin(state.epoch, state.archived)
        self._has_begun = True
        if self._held is held and all(one.epoch == state.epoch and not one.lines for one in held):
            self._held = None
        else:
            self.catch_up()  # once whoever opens it knows the place
        return self.place

    def catch_up(self) -> None:
        """Have read what is missing by now.  Never yields."""
        self._held = list(self._held or ())
        if self._has_begun and (self._reading is None or self._reading.ready()):
            self._reading = gevent.spawn(self._read)

    def wait_caught_up(self, seconds: float) -> None:
        """Return when nothing is missing, or after that time.  Blocks."""
        if self._reading is not None:
            self._reading.join(seconds)

    def wait_told(self, place: Place, seconds: float) -> None:
        """Return when the channel has been told of what is at `place`, or of another epoch, or after that time.  Blocks."""
        if self.recent.last >= place.offset:
            return
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
            if len(self._held) == self._most_held:
                self._held = []  # what of them is logged the stream has too
                self._has_gap = True
            self._held.append(heard)
        elif not self._lease.is_valid or heard.epoch != self.place.epoch or heard.first > self.recent.last + 1:
            self._held = [heard]
            self.catch_up()
        else:
            self._take(heard)

    def _take(self, heard: Parcel) -> None:
        events: Sequence[Published] = heard.messages() or heard.events()
        if heard.first <= self.recent.last:  # the stream had it already
            events = [event for event in events if not isinstance(event, LOGGED) or event.offset > self.recent.last]
        self._tell(events, heard.process)

    def _tell(self, events: Sequence[Published], process: str = "") -> None:
        logged: Sequence[Logged]
        logged = events if isinstance(events, Packed) else [event for event in events if isinstance(event, LOGGED)]
        if logged:
            self.recent.add(logged, self._clock.monotonic())
            self.feeder.wake()
        if len(logged) < len(events):
            self.whispered.add_all([event for event in events if isinstance(event, Whisper)], self._clock.monotonic())
        if events and self._subscriber is not None:
            self._subscriber.heard(events, process)
        self._told.set()

    def _release(self, count: int) -> None:
        """Take what has waited.  The first `count` were there when the log was looked at.

        What of those is logged, and was not in it, is of an epoch that has ended, or was lost.
        """
        held, self._held = self._held or [], None
        for heard in held[:count]:
            if heard.epoch == self.place.epoch:
                self._tell([event for event in heard.events() if not isinstance(event, LOGGED)])
        for heard in held[count:]:
            self._sort_in(heard)
        if self._has_gap and self._subscriber is not None:
            self._has_gap = False
            self._subscriber.told(Greet())

    # Reading

    def _read(self) -> None:
        while self._subscriber is not None:
            held = self._held
            if held is None:
                return
            count = len(held)
            try:
                if not self._lease.is_valid:
                    gevent.sleep(LEASED)
                elif self._read_on() and self._held is held:
                    self._release(count)
            except BrokerUnavailable:
                gevent.sleep(uniform(self._rest / 2, self._rest))  # noqa: S311
            except Exception:
                self._log.exception("channel %r cannot go on", self.record.name)
                gevent.sleep(uniform(self._rest / 2, self._rest))  # noqa: S311

    def _read_on(self) -> bool:
        """Tell what the stream has; return whether that was all.  Blocks.  Raises: BrokerUnavailable."""
        state = self._look(max(self.recent.last, 1))
        if state is None:
            self._begin_anew("")
            return False
        if not state.is_closed and self._is_lost(state):
            self._log.error("channel %r: the Redis has lost a part of its log", self.record.name)
            self._begin_anew(state.epoch)
            return False
        if state.epoch != self.place.epoch:
            self._move(state, state.base)
            return False
        self._read_ahead(state)
        is_all = self.recent.last >= state.offset
        if is_all and state.is_closed and self._subscriber is not None:
            self._has_gap = False
            self._subscriber.told(End())
        return is_all

    def _read_ahead(self, state: _State) -> None:
        ahead = [one for one in state.parcels if one.last > self.recent.last]
        reach = ahead[0].first - 1 if ahead else state.offset  # what is up to there is in no stream any more
        if reach > self.recent.last and not self._fill_from_archive(reach):
            self._move(state, reach)
        for one in ahead:
            self._take(one)

    def _look(self, first: int) -> _State | None:
        found: list[Any] = self._bus.call(STATE, self.record.log, [self.keys.meta, self.keys.stream], [first, ENTRIES])
        return _State.of_answer(found) if found else None

    def _is_lost(self, state: _State) -> bool:
        """Whether something that was heard is not in the log: then somebody was acked what is lost.

        An epoch that begins before the end of what was heard is an earlier one, or who began it had heard less.
        """
        last = self.recent.last
        if state.epoch != self.place.epoch:
            return state.base < last
        heard = self.recent.first_past(last - 1, 1)
        if state.offset < last or not heard or not state.parcels:
            return state.offset < last
        first = state.parcels[0]
        if not first.first <= last <= first.last:
            return False
        logged = [event for event in first.events() if isinstance(event, LOGGED)]
        return identity(logged[last - first.first]) != identity(heard[0])

    def _fill_from_archive(self, until: int) -> bool:
        after = self.recent.last
        if self._archive is None or until - after > FILLED:
            return False
        try:
            found = self._archive.read(self.record.log, after, until - after)
        except BrokerUnavailable:  # what comes from now on shall not wait for it
            return False
        if len(found) != until - after or found[0].offset != after + 1:
            return False
        self._tell(found)
        return True

    # Another place

    def _load(self, keep: int) -> _State:
        """Where the log stands, and its last `keep` events; it is begun where there is none, or not all of it.  Blocks."""
        known = self._known()  # first: so that what is said meanwhile is in the log too
        state = self._look(-keep)
        if state is None or (state.offset < known and not state.is_closed):
            self._make(state, known)
            state = self._look(-keep)
        if state is None:
            raise BrokerUnavailable
        if state.is_closed:
            raise ChannelClosed(self.record.name)
        while state.parcels and state.parcels[-1].last < state.offset:
            more = self._look(state.parcels[-1].last + 1)
            if more is None or more.epoch != state.epoch or not more.parcels:
                raise BrokerUnavailable
            state = more._replace(parcels=[*state.parcels, *more.parcels])
        return state

    def _known(self) -> int:
        """The offset up to which something was said, as is known without the Redis.  Blocks."""
        if self._archive is None or self.record.fate is Fate.NEW:
            return self.record.offset
        return max(self.record.offset, self._archive.last(self.record.log))

    def _make(self, state: _State | None, known: int) -> None:
        """Begin the log: of a new channel where it stands, otherwise under another epoch."""
        if state is not None:
            self._log.error("channel %r: the Redis has lost a part of its log", self.record.name)
            self._begin(state.epoch, new_epoch(), known + LEAP)
        elif self.record.fate is Fate.NEW:
            self._begin("", self.record.epoch, 0)
        else:
            self._begin("", new_epoch(), known + LEAP)  # also where nothing is known: others may have said something

    def _begin_anew(self, epoch: str) -> None:
        """End that epoch; "": the log is gone."""
        state = self._begin(epoch, new_epoch(), self.recent.last + LEAP)
        if state.base >= self.recent.last:  # otherwise who was first had heard less, and that epoch is to end too
            self._move(state, state.base)

    def _begin(self, old: str, new: str, base: int) -> _State:
        """Begin it for all who hear the log."""
        word = self._bus.shard(self.record.log).publish_word
        return _State.of_answer(self._bus.call(BEGIN, self.record.log, self.keys, [old, new, base, word]))

    def _move(self, state: _State, offset: int) -> None:
        """Go on past `offset`.  What was heard and is nowhere else is kept before it is forgotten here."""
        if state.epoch != self.place.epoch:
            self.feeder.rescue(state.epoch, state.archived)
        self.place = Place(state.epoch, offset)
        self.recent.skip(offset)
        if self._subscriber is not None:
            self._subscriber.moved(self.place)
        self._told.set()
