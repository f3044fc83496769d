"""Links, ears and buses that are closed in the end, before it is looked whether a greenlet is left."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
import pytest

from chat.bus import Bus, parse
from chat.bus.connecting import Connect, connect_to
from chat.bus.ear import Ear
from chat.bus.link import Link
from tests.chat.bus.peers import Door, Relay, Talker

LOG = logging.getLogger("chat.bus")


class Closer:
    """Closes what it was given, the last one first."""

    def __init__(self) -> None:
        self._given: list[Any] = []

    def keep(self, thing: Any) -> Any:
        self._given.append(thing)
        return thing

    def close(self) -> None:
        with gevent.Timeout(5):
            for thing in reversed(self._given):
                thing.close()


@pytest.fixture
def closer(nothing_left_behind, nothing_crashes) -> Iterator[Closer]:
    closer = Closer()
    yield closer
    closer.close()


def way_to(url: str, deadline: float = 5.0) -> Connect:
    [address] = parse(url)
    where = address.hosts[0] if address.hosts else ()
    return partial(connect_to, address, *where, deadline=deadline)


MakeLink = Callable[..., Link]
MakeEar = Callable[..., Ear]
MakeBus = Callable[..., Bus]


@pytest.fixture
def make_link(closer) -> MakeLink:
    """Make a link to a URL, and start it."""

    def make(url: str, **options: Any) -> Link:
        link = closer.keep(Link("Redis", way_to(url, options.get("deadline", 5.0)), LOG, **options))
        link.start()
        link.wait_tried()
        return link

    return make


@pytest.fixture
def make_ear(closer) -> MakeEar:
    """Make an ear to a URL, and start it."""

    def make(url: str, **options: Any) -> Ear:
        ear = closer.keep(Ear("What is published", way_to(url, options.get("deadline", 5.0)), LOG, **options))
        ear.start()
        ear.wait_tried()
        return ear

    return make


@pytest.fixture
def make_bus(closer) -> MakeBus:
    """Make a bus, and start it, unless it is not to be."""

    def make(urls: str, *, starts: bool = True, **options: Any) -> Bus:
        bus = closer.keep(Bus(urls, LOG, **options))
        if starts:
            bus.start()
        return bus

    return make


@pytest.fixture
def open_door(closer) -> Callable[..., Door]:
    return lambda receive: closer.keep(Door(receive))


@pytest.fixture
def relay(closer, valkey) -> Relay:
    """A way to Valkey that can fall silent."""
    return closer.keep(Relay(valkey.port))


@pytest.fixture
def talker(closer) -> Talker:
    return closer.keep(Talker())
