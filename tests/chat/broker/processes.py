"""Several processes over one Redis, as these tests have them, and what is done to their connections."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import gevent

from chat.archive import Archive, MemoryArchive
from chat.broker import following
from chat.broker.redis import RedisBroker
from chat.bus import Bus
from chat.errors import BrokerUnavailable, ChatError
from chat.event import LOGGED, Message
from chat.registry import ChannelRecord, Fate
from chat.testing import TurnedClock
from chat.turn import yield_turn
from tests.chat.contracts.hearing import DATE, LOBBY, Alive, Heard
from tests.chat.contracts.troubled import Troubled
from tests.chat.steps import wait_until
from tests.valkey import RedisServer

T = TypeVar("T")

LEAP = following.LEAP
REST = 0.05  # seconds: what is tried again is tried again soon
KNOWN = replace(LOBBY, fate=Fate.PUT_BACK)
META, STREAM = b"chat:{l1}:meta", b"chat:{l1}:stream"  # of the lobby
TOPIC = b"chat:{l1}:topic"


class Process:
    """One process, which hears the lobby once it has opened it."""

    def __init__(
        self, name: str, bus: Bus, archive: Archive | None, clock: TurnedClock, recent: int, **limits: int
    ) -> None:
        self.name = name
        self.bus = bus
        self.lease = Alive(name)
        self.broker = RedisBroker(bus, self.lease, archive, recent=recent, clock=clock, rest=REST, **limits)
        self.heard = Heard()

    def open(self, record: ChannelRecord | None = None) -> "Process":
        """It was p1 that has made it."""
        self.place = self.broker.open(record or (LOBBY if self.name == "p1" else KNOWN), self.heard)
        return self

    def say(self, *texts: str) -> list[int]:
        """Each with itself as its id."""
        return [int(offset) for offset in self.broker.publish(LOBBY.key, [said(text) for text in texts])]

    def insist(self, *texts: str) -> list[int]:
        """The same, over and over until it is taken."""
        return insist(lambda: self.say(*texts), 10)

    def close(self) -> None:
        self.broker.close(LOBBY.key)

    def die(self) -> None:
        """Never to be heard of again."""
        self.bus.close()
        for opened in self.broker._open.values():
            opened.follower.stop()
            opened.follower.feeder.stop()
        self.broker._open.clear()
        gevent.idle()

    @property
    def texts(self) -> list[str]:
        return self.heard.texts

    @property
    def offsets(self) -> list[int]:
        """Of what was heard and is logged."""
        return [event.offset for event in self.heard.events if isinstance(event, LOGGED)]

    @property
    def epoch(self) -> str:
        return self.heard.places[-1].epoch if self.heard.places else self.place.epoch

    @property
    def last(self) -> int:
        return self.broker.last(LOBBY.key)

    def look(self) -> tuple[str, int, int]:
        """What the Redis says of the lobby: epoch, offset, and up to where it is archived.  None of it: "", 0, 0."""
        epoch, offset, archived = self.bus.do(LOBBY.log, "HMGET", META, "epoch", "offset", "archived")
        return (epoch or b"").decode(), int(offset or 0), int(archived or 0)


Start = Callable[..., Process]


def said(text: str, sender: str = "ada") -> Message:
    return Message(sender, text, DATE, text)


def archived(archive: Archive) -> list[str]:
    return [event.text for event in archive.read(LOBBY.log, 0, 1 << 30)]


def way_into(archive: MemoryArchive, kind: type[Troubled] = Troubled) -> Troubled:
    """That of one process: it can fail, or be slow, alone."""
    way = kind(archive._clock)
    way._logs = archive._logs
    return way


def attempt(call: Callable[..., T], *args: object) -> "gevent.Greenlet[..., T | ChatError]":
    """Begin it; the greenlet's value is what it returns, or the error."""

    def run() -> T | ChatError:
        try:
            return call(*args)
        except ChatError as exc:
            return exc

    return gevent.spawn(run)


def insist(call: Callable[[], T], seconds: float) -> T:
    """Call it over and over until it is answered."""
    answers: list[T] = []

    def is_answered() -> bool:
        with suppress(ChatError):
            answers.append(call())
        return bool(answers)

    wait_until(is_answered, seconds)
    return answers[0]


def settled(*processes: Process) -> bool:
    """Whether all have heard of all that is in the log."""
    try:
        epoch, offset, _ = processes[0].look()
    except BrokerUnavailable:
        return False
    return all((process.epoch, process.last) == (epoch, offset) for process in processes)


def cut(server: RedisServer) -> None:
    """Hang up on all processes."""
    server.run("CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub")


def deafen(server: RedisServer) -> None:
    """Hang up where they hear, not where they ask."""
    server.run("CLIENT KILL TYPE pubsub")


Forget = Callable[[], None]


def snapshot(server: RedisServer) -> Forget:
    """Return what brings the server back to where it is now, and hangs up on all, as a replica that was behind does."""
    with server.client() as client:
        keys = client.keys("*")
        with client.pipeline() as pipeline:  # in one go, or what is asked meanwhile would be done between two keys
            for key in keys:
                pipeline.dump(key)
            kept = dict(zip(keys, pipeline.execute(), strict=True))

    def forget() -> None:
        with server.client() as client, client.pipeline() as pipeline:
            pipeline.flushall()
            for key, value in kept.items():
                pipeline.restore(key, 0, value)
            pipeline.client_kill_filter(_type="pubsub")
            pipeline.client_kill_filter(_type="normal", skipme=True)
            pipeline.execute()

    return forget


@contextmanager
def unanswered(server: RedisServer, *processes: Process) -> Iterator[None]:
    """What these ask inside is done, but their connections break before it is answered.

    The server finds it waiting when it goes on, and behind it that they have hung up.
    """
    links = [process.bus.shard(LOBBY.log)._link for process in processes]
    server.pause()
    try:
        yield
        yield_turn()  # it is asked
        wait_until(lambda: not any(link._out for link in links))  # and written
        for link in links:
            link.hang_up()
    finally:
        server.resume()
