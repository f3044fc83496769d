"""The broker of many processes: the log of each channel is a stream in a Redis, and one script appends and publishes.

What is said is in the stream before anybody hears it, in the order in which the server took it, whoever said it; and every
process hears it by the channel's topic.  An archive follows the stream.  What the Redis promises of what it was told is
promised here, no more: see docs/scaling.md.
"""

from collections.abc import Sequence, Set
from datetime import UTC, datetime, timedelta
from logging import Logger, getLogger
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from chat.archive.base import Archive
from chat.broker import parcel
from chat.broker.base import Broker, Place, Subscriber
from chat.broker.feeding import REST, Means
from chat.broker.following import HELD, Follower
from chat.broker.memory import RECENT, RECENT_AGE
from chat.broker.recent import Recent
from chat.broker.said import REMEMBERED, key_of
from chat.broker.scripts import END, FORGET, LEAVE, PUBLISH
from chat.bus import Bus, Topic
from chat.bus.lease import Standing
from chat.clock import Clock, SystemClock
from chat.errors import BrokerUnavailable, ChannelClosed, ChatError
from chat.event import LOGGED, NOTICES, Joined, Left, Logged, Notice, Past, Presence, Published, Whisper
from chat.orders import End, Greet, Order
from chat.past import changed, fold, page
from chat.registry.base import ChannelRecord

TOGETHER: Final = 1000  # events that one script takes
UNARCHIVED: Final = 10_000  # events of one log that wait for an archive; then nothing more is said
ATTEMPTS: Final = 3  # where the log goes on from another place
ECHO: Final = 1.0  # seconds for what was published to be heard here
AFTERWARDS: Final = 3600  # seconds for which the stream of a channel that nobody has loaded is kept
SKEW: Final = 10_000  # milliseconds by which the clocks of hosts may differ
BUCKET: Final = round(REMEMBERED * 1000) + 2 * SKEW  # milliseconds for which what is said goes into one hash
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
_KINDS: Final = {Joined: "j", Left: "l", Presence: "s"}  # what the script has to know of who comes and goes


class _Open(NamedTuple):
    """One channel that is open here."""

    follower: Follower
    topic: Topic


class RedisBroker(Broker):
    """Hosts must agree on the time of day to a few seconds: by it what was said lately is known again."""

    shared = True
    waits = True

    def __init__(
        self,
        bus: Bus,
        lease: Standing,
        archive: Archive | None = None,
        *,
        recent: int = RECENT,
        age: float = RECENT_AGE,
        is_presence_here: bool = False,
        clock: Clock | None = None,
        log: Logger | None = None,
        unarchived: int = UNARCHIVED,
        held: int = HELD,
        rest: float = REST,
    ) -> None:
        """`lease` is this process's; the rest is as for `MemoryBroker`.

        With `is_presence_here`, a `RedisPresence` over the same bus knows who is here: who has come or left is told only as
        long as that is true.  `unarchived`, `held` and `rest` stand in for the constants of those names.
        """
        self._is_presence_here = is_presence_here
        self._bus = bus
        self._lease = lease
        self._archive = archive
        self._keep = recent
        self._age = age
        self._unarchived = unarchived
        self._held = held
        self._clock = clock or SystemClock()
        self._means = Means(bus, archive, lease, self._clock, log or getLogger("chat"), rest)
        self._open: dict[str, _Open] = {}

    def open(self, record: ChannelRecord, subscriber: Subscriber) -> Place:
        recent = Recent(record.offset, self._keep, self._age)
        follower = Follower(record, subscriber, recent, self._means, held=self._held)
        self._lease.note(record.key)
        topic = self._bus.subscribe(record.log, follower.keys.topic, follower)
        try:
            place = follower.begin(self._keep)
        except BaseException:
            follower.stop()
            self._bus.unsubscribe(record.log, topic)
            raise
        self._open[record.key] = _Open(follower, topic)
        return place

    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError]:
        follower = self._log(key).follower
        if not self._lease.is_valid:  # others may have told by now that all who are here have left
            raise BrokerUnavailable
        fates: list[int] = []
        for begin in range(0, len(events), TOGETHER):
            fates += self._publish(follower, events[begin : begin + TOGETHER])
        return fates

    def publish_at_once(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError] | None:
        del events  # it always takes a moment
        self._log(key)
        return None

    def tell(self, key: str, order: Order) -> None:
        follower = self._log(key).follower
        tag, topic = follower.record.log, follower.keys.topic
        word = self._bus.shard(tag).publish_word
        if isinstance(order, End):
            keys = [follower.keys.meta, topic, follower.keys.stream, *self._ids(tag)]
            self._bus.call(END, tag, keys, [word, parcel.packed(order), AFTERWARDS])
        else:
            self._bus.do(tag, word, topic, parcel.packed(order))

    def said(self, key: str, sender: str, id: str) -> int:
        tag = self._log(key).follower.record.log
        field = _field(sender, id)
        answers = [self._bus.ask(tag, "HGET", ids, field) for ids in self._ids(tag)]
        for found in [answer.get() for answer in answers]:
            if found is not None:
                offset, at = found.split(b" ")
                if self._now() - int(at) < REMEMBERED * 1000:
                    return int(offset)
        return 0

    def recent(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        return self._log(key).follower.recent.past(after, limit, self._clock.monotonic())

    def read(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        follower = self._log(key).follower
        self._reach(follower, after)
        found: list[Logged] | None = follower.recent.past(after, limit, self._clock.monotonic())
        missed = follower.recent.last - after
        if found is not None or self._archive is None or not 0 < missed <= limit:
            return found
        found = self._archive.read(follower.record.log, after, missed)
        kept = found[-1].offset if found else after
        if kept < after + missed:  # the archive is not that far yet
            found += self._heard_past(follower, kept)
        found = found[:missed]
        return found if len(found) == missed and found[0].offset == after + 1 else None

    def find(self, key: str, offset: int) -> Past | None:
        follower = self._log(key).follower
        self._reach(follower, offset)
        begins = follower.recent.begins(self._clock.monotonic())
        if self._archive is None or begins <= offset:
            return follower.recent.find(offset)
        pending = self._pending(follower)
        found = self._archive.find(follower.record.log, offset)
        if found is None:
            return next((past for past in fold(pending) if past.offset == offset), None)
        return _overlaid(found, pending)

    def history(
        self, key: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> tuple[list[Past], bool]:
        follower = self._log(key).follower
        recent = follower.recent
        begins = recent.begins(self._clock.monotonic())
        found, more = page(recent.messages(), before=before, after=after, limit=limit)
        if self._archive is None or begins <= (1 if after is None else after + 1) or (after is None and more):
            return found, more
        pending = self._pending(follower)
        first = pending[0].offset if pending else recent.last + 1
        until = first if before is None else min(before, first)
        archived, more = self._archive.history(follower.record.log, before=until, after=after, limit=limit)
        together = [*(_overlaid(past, pending) for past in archived), *fold(pending)]
        found, cut = page(together, before=before, after=after, limit=limit)
        return found, more or cut

    def last(self, key: str) -> int:
        return self._log(key).follower.recent.last

    def forget(self, log: str, process: str) -> bool:
        keys = [self._bus.key(log, "meta"), self._bus.key(log, "topic")]
        word = self._bus.shard(log).publish_word
        is_wanting = bool(self._bus.call(FORGET, log, keys, [process, word, parcel.packed(Greet())]))
        if is_wanting:
            for follower, _ in self._open.values():
                if follower.record.log == log:
                    follower.feeder.claim()
        return is_wanting

    def look_round(self) -> None:
        for opened in self._open.values():
            opened.follower.catch_up()

    def close(self, key: str, subscriber: Subscriber | None = None) -> None:
        opened = self._open.get(key)
        if opened is None or not opened.follower.is_for(subscriber):
            return
        del self._open[key]
        follower = opened.follower
        tag = follower.record.log
        self._bus.unsubscribe(tag, opened.topic)
        follower.stop()
        follower.feeder.flush(ECHO)
        follower.feeder.stop()
        keys = [follower.keys.meta, follower.keys.stream]
        self._lease.strike(key)
        self._bus.run(LEAVE, tag, keys, [self._lease.process, int(self._archive is not None), AFTERWARDS])

    def stop(self) -> None:
        """Close whatever is open.  Blocks; idempotent."""
        for key in list(self._open):
            self.close(key)

    # Publishing

    def _publish(self, follower: Follower, events: Sequence[Published]) -> list[int]:
        now = self._clock.monotonic()
        fresh: dict[object, Published] = {}
        for event in events:
            name = key_of(event) or id(event)
            if isinstance(event, LOGGED) or follower.whispered.offset(key_of(event), now) is None:
                fresh.setdefault(name, event)
        told = list(fresh.values())
        offsets = self._append(follower, told) if told else []
        follower.whispered.add_all([event for event in told if isinstance(event, Whisper)], now)
        logged = [name for name, event in fresh.items() if isinstance(event, LOGGED)]
        places = dict(zip(logged, offsets, strict=True))
        return [places[key_of(event) or id(event)] if isinstance(event, LOGGED) else 0 for event in events]

    def _append(self, follower: Follower, events: Sequence[Published]) -> list[int]:
        """Return the offset of each logged one.  Blocks."""
        logged = [event for event in events if isinstance(event, LOGGED)]
        tag = follower.record.log
        keys = [follower.keys.meta, follower.keys.stream, *self._ids(tag), follower.keys.topic, self._listed(tag)]
        lines = parcel.lines_of(events)
        words = [
            self._keep,
            self._unarchived if self._archive is not None else 0,
            "".join(self._kind(event) for event in events),
            lines,
            b"" if len(logged) == len(events) else parcel.lines_of(logged),
            self._lease.process,
            *(_field(event.sender, event.id) if event.id else b"" for event in logged),
            *(self._names(events) if len(logged) < len(events) else ()),
        ]
        word = self._bus.shard(tag).publish_word
        for _ in range(ATTEMPTS):
            place = Place(follower.place.epoch, follower.recent.last)
            answer = self._bus.call(PUBLISH, tag, keys, [word, *place, self._now(), *words])
            if isinstance(answer, list):
                offsets = self._heard(follower, place.epoch, len(logged), *answer[:3])
                if omitted := {name.decode() for names in answer[3:] for name in names}:
                    self._append(follower, _without(events, omitted))
                return offsets
            if answer == b"closed":
                raise ChannelClosed(follower.record.name)
            if answer == b"full":
                raise BrokerUnavailable("too much waits to be archived")
            follower.catch_up()
            follower.wait_caught_up(ECHO)
        raise BrokerUnavailable

    def _kind(self, event: Published) -> str:
        """What the script has to know of it."""
        if isinstance(event, LOGGED):
            return "L"
        return _KINDS.get(type(event), "n") if self._is_presence_here else "n"

    def _names(self, events: Sequence[Published]) -> list[str]:
        """Of whom each notice tells, where the script knows whether it is so."""
        return [_names(event) for event in events if isinstance(event, NOTICES)] if self._is_presence_here else []

    def _heard(
        self, follower: Follower, epoch: str, count: int, archiver: bytes, first: bytes, places: list[bytes] | None = None
    ) -> list[int]:
        if not archiver:
            follower.feeder.claim()
        offsets = [int(place) for place in places] if places else [int(first) + index for index in range(count)]
        if offsets:
            end = Place(epoch, max(offsets))
            follower.wait_told(end, ECHO)
            if follower.place.epoch == epoch and follower.recent.last < end.offset:
                follower.catch_up()
        return offsets

    def _reach(self, follower: Follower, offset: int) -> None:
        """See that `offset` is heard here too, of which somebody knows from another process.  Blocks."""
        if offset > follower.recent.last:
            follower.catch_up()
            follower.wait_caught_up(ECHO)

    def _pending(self, follower: Follower) -> list[Logged]:
        """What was heard and is not archived yet.  Blocks."""
        for _ in range(ATTEMPTS):
            found: list[Any] = self._bus.do(follower.record.log, "HMGET", follower.keys.meta, "epoch", "archived")
            if found[0] == follower.place.epoch.encode():
                return self._heard_past(follower, int(found[1]))
            follower.catch_up()
            follower.wait_caught_up(ECHO)
        raise BrokerUnavailable

    def _heard_past(self, follower: Follower, offset: int) -> list[Logged]:
        last = follower.recent.last
        heard = follower.recent.first_past(offset, max(last - offset, 0))
        return heard if heard is not None else follower.feeder.read_stream(offset, last)

    def _listed(self, tag: str) -> bytes:
        """Where `RedisPresence` has who is listed."""
        return self._bus.key(tag, "listed")

    def _ids(self, tag: str) -> list[bytes]:
        """The hashes with what was said lately, the one for what is said now first.

        A host whose clock is ahead may have begun the next one; otherwise what is known may be in the one before.
        """
        now = self._now()
        bucket, ahead = now // BUCKET, (now + SKEW) // BUCKET
        return [self._bus.key(tag, f"ids:{number}") for number in (bucket, ahead if ahead != bucket else bucket - 1)]

    def _now(self) -> int:
        """Milliseconds since 1970."""
        return (self._clock.now() - EPOCH) // MILLISECOND

    def _log(self, key: str) -> _Open:
        try:
            return self._open[key]
        except KeyError:
            raise ChannelClosed(key.partition("/")[0]) from None


def _names(notice: Notice) -> str:
    """Whom it tells of; in a folded one whether they have come or left as well."""
    if isinstance(notice, Joined):
        return notice.user.username
    if isinstance(notice, Left):
        return notice.username
    return "\n".join([f"+{user.username}" for user in notice.joined] + [f"-{username}" for username in notice.left])


def _without(events: Sequence[Published], omitted: Set[str]) -> list[Published]:
    """The folded notices that tell of some of these, without them."""
    told: list[Published] = []
    for event in events:
        if isinstance(event, Presence):
            joined = tuple(user for user in event.joined if user.username not in omitted)
            left = tuple(username for username in event.left if username not in omitted)
            if (joined, left) != (event.joined, event.left):
                told.append(replace(event, joined=joined, left=left))
    return told


def _field(sender: str, id: str) -> bytes:
    """No name holds a control character."""
    return f"{sender}\0{id}".encode()


def _overlaid(past: Past, pending: Sequence[Logged]) -> Past:
    """As what is not archived yet leaves it."""
    for event in pending:
        if getattr(event, "target", 0) == past.offset:
            past = changed(past, event)
    return past
