"""Whatever breaks, each process hears all that was acked once and in one order, and the archive has just that."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.archive import MemoryArchive
from chat.broker import feeding
from chat.bus import Bus
from chat.errors import ChatError
from chat.event import Message, Past
from chat.past import fold
from chat.testing import TurnedClock
from tests.chat.broker.processes import (
    Process,
    attempt,
    cut,
    deafen,
    insist,
    settled,
    snapshot,
    unanswered,
    way_into,
)
from tests.chat.contracts.hearing import DATE, LOBBY
from tests.chat.contracts.troubled import Troubled
from tests.chat.steps import wait_until
from tests.valkey import RedisServer

pytestmark = pytest.mark.logs_errors

PATIENCE = 10.0  # seconds for what takes a tenth of one on an idle machine
EXAMPLES = settings.default.max_examples // 5  # each takes a good tenth of a second
WHO = st.integers(0, 1)
IDS = st.lists(st.sampled_from(["", "", "k1", "k2", "k3", "k4"]), min_size=1, max_size=4)
SAY = st.tuples(st.just("say"), WHO, IDS)
BREAK = st.tuples(st.sampled_from(["cut", "deafen", "say unanswered", "say while it breaks"]), WHO, IDS)
TROUBLE = st.tuples(st.sampled_from(["fail", "fail unnoticed", "lag", "catch up"]), WHO, IDS)
DIE = st.tuples(st.sampled_from(["die", "leave"]), WHO, IDS)
LOSE = st.tuples(st.sampled_from(["flush", "lose the last"]), WHO, IDS)


class Model:
    """Two processes at a time, and what was said in them."""

    def __init__(self, server: RedisServer, recent: int) -> None:
        self.server = server.lend()
        self.recent = recent
        self.clock = TurnedClock()
        self.archive = MemoryArchive(self.clock)
        self.acked: list[tuple[int, str]] = []
        self.perhaps: set[str] = set()  # what was said without an id, and not answered
        self.dead: list[str] = []
        self.number = 0
        self.histories: list[tuple[list[Past], bool]] = []  # of the living, in the end
        self.ways: list[Troubled] = []
        self.all: list[Process] = []
        self.living: list[Process] = []
        for _ in range(2):
            self.living.append(self.start())

    def start(self) -> Process:
        bus = Bus(self.server.unix_url, logging.getLogger("chat"))
        bus.start()
        self.ways.append(way_into(self.archive))
        self.all.append(Process(f"p{len(self.all) + 1}", bus, self.ways[-1], self.clock, self.recent))
        return insist(self.all[-1].open, PATIENCE)

    def way(self, who: int) -> Troubled:
        return self.ways[self.all.index(self.living[who])]

    def events(self, ids: list[str]) -> list[Message]:
        """Texts tell them apart, but for those with the same id."""
        events = []
        for id in ids:
            self.number += 1
            date = DATE + timedelta(milliseconds=self.number)
            events.append(Message("ada", id or f"text {self.number}", date, id))
        return events

    def publish(self, who: int, events: list[Message]) -> None:
        """What has an id is said again until it is acked, perhaps elsewhere."""

        def is_acked() -> bool:
            nonlocal who, events
            if not events:
                return True
            found = attempt(self.living[who].broker.publish, LOBBY.key, events).get()
            if not isinstance(found, ChatError):
                self.acked += [(int(offset), event.text) for offset, event in zip(found, events, strict=True)]
                return True
            self.perhaps |= {event.text for event in events if not event.id}
            events = [event for event in events if event.id]
            who = 1 - who
            return False

        wait_until(is_acked, PATIENCE)

    def do(self, what: str, who: int, ids: list[str]) -> None:
        events = self.events(ids)
        if what == "say":
            self.publish(who, events)
        elif what == "say unanswered":
            with unanswered(self.server, *self.living):
                saying = gevent.spawn(self.publish, who, events)
            saying.get()
        elif what == "say while it breaks":
            both = [gevent.spawn(self.publish, who, events), gevent.spawn(self.publish, 1 - who, self.events(ids))]
            gevent.sleep(0)
            cut(self.server)
            gevent.joinall(both, raise_error=True)
        elif what in ("cut", "deafen"):
            (cut if what == "cut" else deafen)(self.server)
        elif what in ("die", "leave"):
            self.replace(who, what)
        elif what == "flush":
            self.server.ask("FLUSHALL")
        elif what == "lose the last":
            forget = snapshot(self.server)
            self.publish(who, events)
            forget()
        else:
            self.trouble(what, self.way(who))

    def trouble(self, what: str, way: Troubled) -> None:
        if what in ("lag", "catch up"):
            (way.go.clear if what == "lag" else way.go.set)()
        else:
            way.faults.append("kept" if what == "fail unnoticed" else "unavailable")

    def replace(self, who: int, how: str) -> None:
        gone = self.living[who]
        if how == "die":
            gone.die()
            self.dead.append(gone.name)
        else:
            self.way(who).go.set()
            gone.close()
        self.living[who] = self.start()

    def settle(self) -> None:
        for way in self.ways:
            way.go.set()
            way.faults.clear()
        with gevent.Timeout(PATIENCE):
            while not self.have_all_heard(f"last {self.number}"):
                pass
        for name in self.dead:
            insist(partial(self.living[0].broker.forget, LOBBY.log, name), PATIENCE)
        wait_until(self.is_archived, PATIENCE)

    def have_all_heard(self, text: str) -> bool:
        """Those that are not connected yet may find out only later that they have lost something."""
        self.publish(0, self.events([text]))
        with suppress(AssertionError):
            wait_until(lambda: all(process.texts[-1:] == [text] for process in self.living), 0.5)
            return settled(*self.living)
        return False

    def is_archived(self) -> bool:
        self.clock.advance(feeding.PATIENCE)
        _, offset, archived = self.living[0].look()
        return offset == archived

    def stop(self) -> None:
        for process in self.all:
            process.broker.stop()
            process.bus.close()


def heard(process: Process, after: int) -> list[tuple[int, str]]:
    return [(event.offset, event.text) for event in process.heard.events if event.offset > after]


@pytest.fixture(scope="module")
def server(running_valkey: RedisServer) -> Iterator[RedisServer]:
    yield running_valkey
    running_valkey.bring_back()


def run(server: RedisServer, steps: list[tuple[str, int, list[str]]], recent: int) -> Model:
    model = Model(server, recent)
    try:
        for step in steps:
            model.do(*step)
        model.settle()
        model.histories = [
            insist(partial(process.broker.history, LOBBY.key, limit=1000), PATIENCE) for process in model.living
        ]
    finally:
        model.stop()
    return model


@given(steps=st.lists(st.one_of(SAY, SAY, BREAK, TROUBLE, DIE), max_size=12))
@settings(max_examples=EXAMPLES)
def test_where_nothing_is_lost_each_hears_everything_once_and_the_archive_has_it(server, steps):
    model = run(server, steps, recent=5)

    log = [(event.offset, event.text) for event in model.archive.read(LOBBY.log, 0, 1000)]
    assert [offset for offset, _ in log] == list(range(1, len(log) + 1))
    assert len({text for _, text in log}) == len(log), "said twice"
    assert set(model.acked) <= set(log)
    assert {text for _, text in log} - {text for _, text in model.acked} <= model.perhaps
    assert model.histories == [(fold(model.archive.read(LOBBY.log, 0, 1000)), False)] * 2
    for process in model.living:
        assert process.heard.places == []
        assert heard(process, 0) == log[process.place.offset :]
    for process in model.all:
        there = heard(process, 0)
        assert there == log[process.place.offset : process.place.offset + len(there)]


@given(steps=st.lists(st.one_of(SAY, SAY, BREAK, TROUBLE, LOSE), max_size=10))
@settings(max_examples=EXAMPLES)
def test_where_something_is_lost_all_are_told_and_go_on_together(server, steps):
    model = run(server, steps, recent=1000)

    log = {event.offset: event.text for event in model.archive.read(LOBBY.log, 0, 1000)}
    for process in model.living:
        assert {offset for offset, _ in heard(process, 0)} <= set(log), "heard, and not archived"
    assert set(log.items()) <= set(model.acked) | {(offset, text) for offset, text in log.items() if text in model.perhaps}
    p1, p2 = model.living
    assert p1.epoch == p2.epoch
    base = max(process.heard.places[-1].offset if process.heard.places else 0 for process in model.living)
    assert heard(p1, base) == heard(p2, base)
    assert {one for one in model.acked if one[0] > base} <= set(heard(p1, base))
    for process in model.living:
        places = iter([*process.heard.places, None])
        ends = next(places)
        last = 0
        for offset, _ in heard(process, 0):
            while ends is not None and offset > ends.offset:
                last, ends = ends.offset, next(places)
            assert offset == last + 1
            last = offset
