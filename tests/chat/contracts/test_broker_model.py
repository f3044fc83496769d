"""Whatever an archive does, no offset is given twice and nothing is heard or acked that is not in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import gevent
from hypothesis import given
from hypothesis import strategies as st

from chat.broker import MemoryBroker
from chat.errors import BrokerUnavailable, NotStorable
from chat.event import Deleted, Edited, Joined, Logged, Message, Published, User, Whisper
from chat.testing import TurnedClock
from tests.chat.contracts.hearing import LOBBY, Heard, publish_somehow
from tests.chat.contracts.troubled import Troubled

IDS = st.sampled_from(["", "", "k1", "k2", "k3"])
SAYINGS = st.one_of(
    st.tuples(st.just("message"), st.sampled_from(["text", "text", "text", "bad"]), IDS),
    st.tuples(st.just("edit"), st.sampled_from(["text", "bad"]), IDS),
    st.tuples(st.sampled_from(["delete", "whisper", "joined"]), st.just("text"), IDS),
)
FAULTS = st.lists(st.sampled_from(["none", "none", "unavailable", "kept", "late"]), max_size=4)
MOMENTS = st.lists(st.sampled_from(["none", "kept", "kept unnoticed"]), max_size=4)
STEPS = st.one_of(
    st.tuples(st.just("publish"), st.lists(SAYINGS, min_size=1, max_size=5), FAULTS, MOMENTS),
    st.tuples(st.just("publish slowly"), st.lists(SAYINGS, min_size=1, max_size=5), FAULTS, st.just([])),
    st.tuples(st.just("reopen"), st.just([]), st.just([]), st.just([])),
    st.tuples(st.just("come late"), st.just([]), st.just([]), st.just([])),
)


@dataclass
class Opening:
    """What was heard from one opening of the channel to its close."""

    after: int
    heard: Heard = field(default_factory=Heard)


class Model:
    """One channel through several processes, and all that its archive does to it."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.archive = Troubled(self.clock)
        self.said = 0
        self.acked: list[tuple[int, Logged]] = []
        self.unlogged: list[Published] = []
        self.openings: list[Opening] = []
        self.reopen()

    def reopen(self) -> None:
        self.broker = MemoryBroker(self.archive, recent=3, clock=self.clock)
        self.openings.append(Opening(self.archive.last(LOBBY.log)))
        self.broker.open(replace(LOBBY, offset=self.openings[-1].after), self.openings[-1].heard)

    def event(self, kind: str, text: str, id: str) -> Published:
        self.said += 1
        date = self.clock.now() + timedelta(microseconds=self.said)  # which tells one from another
        events: dict[str, Published] = {
            "message": Message("ada", text, date, id),
            "edit": Edited(1, "ada", text, date, id),
            "delete": Deleted(1, "ada", date, id),
            "whisper": Whisper("ada", "bob", text, date),
            "joined": Joined(User("bob"), date),
        }
        return events[kind]

    def publish(self, sayings: Sequence[tuple[str, str, str]]) -> None:
        events = [self.event(*saying) for saying in sayings]
        try:
            outcomes = publish_somehow(self.broker, events)
        except BrokerUnavailable:
            return
        assert len(outcomes) == len(events)
        for event, outcome in zip(events, outcomes, strict=True):
            if isinstance(outcome, NotStorable):
                assert getattr(event, "text", "") == "bad" or getattr(event, "id", "")
            elif isinstance(event, Logged):
                assert isinstance(outcome, int)
                self.acked.append((outcome, event))
            else:
                assert outcome == 0
                self.unlogged.append(event)

    def publish_slowly(self, sayings: Sequence[tuple[str, str, str]]) -> None:
        """Meanwhile some say what is not logged, which does not wait."""
        self.archive.go.clear()
        slow = gevent.spawn(self.publish, sayings)
        gevent.idle()
        for _ in range(2):
            self.publish([("whisper", "text", ""), ("joined", "text", "")])
        self.archive.go.set()
        slow.get(timeout=5)

    def step(self, what: str, sayings: Sequence[tuple[str, str, str]], faults: list[str], moments: list[str]) -> None:
        self.archive.faults = list(faults)
        self.archive.moments = list(moments)
        if what == "publish":
            self.publish(sayings)
        elif what == "publish slowly":
            self.publish_slowly(sayings)
        elif what == "reopen":
            self.reopen()
        else:
            self.archive.come_late()
        self.archive.faults = []
        self.archive.moments = []
        self.check()

    def check(self) -> None:
        log = self.archive.read(LOBBY.log, 0, 1000)
        assert [event.offset for event in log] == list(range(1, len(log) + 1)), "a hole"
        ids = [event.id for event in log if event.id]
        assert len(ids) == len(set(ids)), "something is in the log twice"
        for offset, event in self.acked:
            kept = log[offset - 1]
            assert (kept.id, kept.sender) == (event.id, "ada")
            assert event.id or kept.date == event.date, "what was acked is not what is there"
        for opening in self.openings:
            heard = [event for event in opening.heard.events if isinstance(event, Logged)]
            there = log[opening.after : opening.after + len(heard)]
            assert [(event.offset, event.date) for event in heard] == [(event.offset, event.date) for event in there]

    def settle(self) -> None:
        """Once the archive works, whoever says something hears first all that there was."""
        self.archive.come_late()
        for _ in range(2):  # the first may find its offset taken
            self.publish([("message", "last", "")])
        self.check()
        log = self.archive.read(LOBBY.log, 0, 1000)
        assert self.broker.last(LOBBY.key) == len(log)
        assert self.openings[-1].after + sum(isinstance(event, Logged) for event in self.openings[-1].heard.events) == len(
            log
        )
        heard = [event for opening in self.openings for event in opening.heard.events if not isinstance(event, Logged)]
        assert sorted(event.date for event in heard) == sorted(event.date for event in self.unlogged)


@given(st.lists(STEPS, max_size=12))
def test_whatever_the_archive_does_the_log_is_whole_and_everybody_hears_it(steps):
    model = Model()
    for step in steps:
        model.step(*step)
    model.settle()
