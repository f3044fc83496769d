"""Whatever is appended to an archive, said again, edited, deleted, trimmed or forgotten, in whatever order: it answers as a
plain list of events would.

`--hypothesis-profile=long` tries some thousands of orders.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import timedelta
from itertools import count, dropwhile, takewhile
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from chat.archive import Archive, Id, MemoryArchive, Unread
from chat.archive.sql import SqlArchive
from chat.database import Database
from chat.event import Deleted, Edited, Logged, Message, Past
from chat.testing import TurnedClock

EXAMPLES = {"memory": 60, "sqlite": 25, "postgresql": 8}
USERS = "ann", "bob"
LOGS = "lobby", "attic"

offsets = st.integers(0, 25)
limits = st.integers(1, 8)
texts = st.sampled_from(["hello", "@bob", "@ann", "@ann and @Bob, both"])
sayings = st.lists(st.tuples(st.sampled_from("mmeedd"), offsets, texts), min_size=2, max_size=8)


class Model:
    """One log: what was said, and what of it is kept."""

    def __init__(self) -> None:
        self.kept: list[Logged] = []
        self.said: dict[int, Logged] = {}  # as it was said, while it is kept
        self.last = 0
        self.marks: dict[str, int] = {}

    def append(self, event: Logged) -> None:
        if event.offset <= self.last:
            return
        self.last = event.offset
        self.said[event.offset] = event
        before = self.find(event.target) if isinstance(event, Edited | Deleted) else None
        kept = copy(event)
        if isinstance(kept, Edited) and before is not None and before.deleted is not None:
            kept.text = ""
        if isinstance(kept, Deleted) and kept.target < kept.offset:  # also edits that have outlasted their message
            for other in self.kept:
                if isinstance(other, Message) and other.offset == kept.target:
                    other.text = ""
                if isinstance(other, Edited) and other.target == kept.target:
                    other.text = ""
        self.kept.append(kept)

    def find(self, offset: int) -> Past | None:
        return next((past for past in self.messages() if past.offset == offset), None)

    def messages(self) -> list[Past]:
        return [self._now(event) for event in self.kept if isinstance(event, Message)]

    def _now(self, message: Message) -> Past:
        later = [event for event in self.kept if event.offset > message.offset]
        deletes = [event for event in later if isinstance(event, Deleted) and event.target == message.offset]
        edits = [event for event in later if isinstance(event, Edited) and event.target == message.offset]
        until = deletes[0].offset if deletes else self.last + 1
        edit = ([None, *(event for event in edits if event.offset < until)])[-1]
        text, rendered = (message.text, message.rendered) if edit is None else (edit.text, edit.rendered)
        dates = None if edit is None else edit.date, deletes[0].date if deletes else None
        return Past(message.offset, message.sender, text, message.date, message.id, rendered, *dates)

    def unread(self, username: str) -> Unread:
        mark = self.marks.get(username)
        waiting = [past for past in self.messages() if past.offset > (mark or 0) and past.deleted is None]
        others = [past.text.casefold() for past in waiting if past.sender != username]
        return Unread(0 if mark is None else len(others), sum(f"@{username}" in text for text in others))

    def drop(self, many: int) -> None:
        for event in self.kept[:many]:
            del self.said[event.offset]
        self.kept = self.kept[many:]


class LogMachine(RuleBasedStateMachine):
    make: ClassVar[Callable[[TurnedClock], Archive]]
    numbers: ClassVar[Iterator[int]] = count()

    @initialize()
    def begin(self) -> None:
        self.clock = TurnedClock()
        self.archive = self.make(self.clock)
        self.prefix = f"{next(self.numbers)}:"  # the databases are those of the examples before
        self.models = {self.prefix + log: Model() for log in LOGS}

    @rule(
        log=st.sampled_from(LOGS),
        which=sayings,
        ago=offsets,
    )
    def append(self, log: str, which: list[tuple[str, int, str]], ago: int) -> None:
        model = self.models[self.prefix + log]
        events: list[Logged] = []
        for offset, (kind, number, text) in enumerate(which, model.last + 1):
            date, id = self.clock.now() - timedelta(seconds=ago), f"id-{offset}" if number % 5 else ""
            sender = ("", *USERS)[number % 3]
            target = max(offset - 1 - number % 6, 0) if number < 20 else number  # close by, so that some meet
            if kind == "m":
                events.append(Message(sender, text, date, id, offset, rendered=number % 2 == 0))
            elif kind == "e":
                events.append(Edited(target, sender, text, date, id, offset, rendered=number % 2 == 0))
            else:
                events.append(Deleted(target, sender, date, id, offset))
        self._append(log, events)

    @rule(log=st.sampled_from(LOGS), many=st.integers(1, 12), more=st.booleans())
    def say_again(self, log: str, many: int, more: bool) -> None:
        model = self.models[self.prefix + log]
        events = list(model.said.values())[-many:]
        events = events if more else events[:2]
        if more:
            events.append(Message("ann", "more", self.clock.now(), "", model.last + 1))
        self._append(log, events)

    def _append(self, log: str, events: Sequence[Logged]) -> None:
        self.archive.append(self.prefix + log, [copy(event) for event in events])
        for event in events:
            self.models[self.prefix + log].append(event)

    @rule(seconds=st.integers(1, 10), is_restart=st.booleans())
    def wait(self, seconds: int, is_restart: bool) -> None:
        self.clock.advance(seconds)
        if is_restart and not isinstance(self.archive, MemoryArchive):
            self.archive.close()
            self.archive = self.make(self.clock)

    @rule(log=st.sampled_from(LOGS), username=st.sampled_from(USERS), offset=offsets)
    def mark(self, log: str, username: str, offset: int) -> None:
        marks = self.models[self.prefix + log].marks
        marks[username] = max(marks.get(username, 0), offset)
        self.archive.mark(self.prefix + log, username, offset)

    @rule(age=st.sampled_from([0, 5, 20]), count=st.sampled_from([0, 6, 12]))
    def trim(self, age: int, count: int) -> None:
        self.archive.trim(age, count)
        before = self.clock.now() - timedelta(seconds=age)
        for model in self.models.values():
            is_spare = [
                (age and event.date < before) or (count and event.offset <= model.last - count) for event in model.kept
            ]
            model.drop(len(list(takewhile(bool, is_spare))))

    @precondition(lambda self: max(model.last for model in self.models.values()) > 30)
    @rule(log=st.sampled_from(LOGS))
    def forget(self, log: str) -> None:
        self.archive.forget([self.prefix + log])
        self.models[self.prefix + log] = Model()

    @rule(log=st.sampled_from(LOGS), offset=offsets, limit=limits, ago=offsets)
    def look(self, log: str, offset: int, limit: int, ago: int) -> None:
        name, model = self.prefix + log, self.models[self.prefix + log]
        since = self.clock.now() - timedelta(seconds=ago)
        young = [event for event in model.kept if event.id and event.date >= since]

        assert self.archive.read(name, offset, limit) == [event for event in model.kept if event.offset > offset][:limit]
        tail = dropwhile(lambda event: event.date < since, model.kept[-limit:])
        assert self.archive.tail(name, limit, since) == list(tail)
        assert self.archive.ids(name, since, limit) == [
            Id(event.sender, event.id, event.offset, event.date) for event in young[-limit:]
        ]
        assert self.archive.last(name) == model.last
        assert self.archive.find(name, offset) == model.find(offset)

    @rule(log=st.sampled_from(LOGS), offset=offsets, limit=limits)
    def look_back(self, log: str, offset: int, limit: int) -> None:
        name, messages = self.prefix + log, self.models[self.prefix + log].messages()
        earlier = [past for past in messages if past.offset < offset]
        later = [past for past in messages if past.offset > offset]

        def page(before: int | None, after: int | None) -> tuple[list[Past], bool]:
            return self.archive.history(name, before=before, after=after, limit=limit)

        assert page(None, None) == (messages[-limit:], len(messages) > limit)
        assert page(offset, None) == (earlier[-limit:], len(earlier) > limit)
        assert page(None, offset) == (later[:limit], len(later) > limit)

    @rule(username=st.sampled_from(USERS))
    def count_unread(self, username: str) -> None:
        expected = {name: model.unread(username) for name, model in self.models.items()}

        assert self.archive.unread(username, list(self.models)) == expected

    def teardown(self) -> None:
        if hasattr(self, "archive"):
            for log in LOGS:
                self.look(log, 0, 1000, 1000)
                self.look_back(log, 0, 1000)
            for username in USERS:
                self.count_unread(username)
            self.archive.forget(list(self.models))
            self.archive.close()


@pytest.fixture(params=EXAMPLES)
def backend(request) -> str:
    return request.param


@pytest.fixture
def database_url(backend, tmp_path, request) -> str:
    return f"sqlite:///{tmp_path}/chat.db" if backend == "sqlite" else request.getfixturevalue("postgres").url


def test_an_archive_answers_as_a_list_of_events_would(backend, request):
    database: Database | None = None if backend == "memory" else request.getfixturevalue("database")

    class Machine(LogMachine):
        @staticmethod
        def make(clock: TurnedClock) -> Archive:
            return MemoryArchive(clock) if database is None else SqlArchive(database, clock)

    many = max(EXAMPLES[backend], settings().max_examples // 60 * EXAMPLES[backend])
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=many,
            stateful_step_count=40,
            derandomize=True,
            phases=(Phase.generate,),  # to look for a shorter example takes minutes on a disk
            suppress_health_check=list(HealthCheck),
        ),
    )
