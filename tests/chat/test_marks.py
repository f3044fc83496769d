"""When marks are written down, and what becomes of those that cannot be."""

from collections.abc import Mapping

import gevent
import pytest
from gevent.event import Event

from chat.archive.marks import Marks, Reader
from chat.errors import BrokerUnavailable

BOB, CY = ("lobby", "bob"), ("lobby", "cy")


class Paper:
    """What was written down, or tried."""

    def __init__(self) -> None:
        self.written: list[Mapping[Reader, int]] = []
        self.fault: Exception | None = None
        self.go = Event()
        self.go.set()

    def write(self, marks: Mapping[Reader, int]) -> None:
        self.written.append(dict(marks))
        self.go.wait(5)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def marks(paper, clock) -> Marks:
    return Marks(paper.write, clock)


def tick(clock) -> None:
    clock.advance(1)
    gevent.idle()


def test_all_of_a_second_are_written_at_once_and_none_twice(marks, paper, clock):
    marks.put(BOB, 1)
    marks.put(CY, 5)
    marks.put(BOB, 2)
    for _ in range(3):
        tick(clock)

    assert paper.written == [{BOB: 2, CY: 5}]
    assert marks.get(BOB) is None


def test_what_cannot_be_written_counts_and_is_tried_again(marks, paper, clock, caplog):
    paper.fault = BrokerUnavailable()
    marks.put(BOB, 2)
    tick(clock)
    assert marks.get(BOB) == 2
    assert len(caplog.messages) == 1
    marks.put(BOB, 1)
    paper.fault = None
    tick(clock)

    assert paper.written == [{BOB: 2}, {BOB: 2}]
    assert marks.get(BOB) is None


def test_while_a_second_s_marks_are_under_way_they_count_and_the_next_ones_wait(marks, paper, clock):
    paper.go.clear()
    marks.put(BOB, 2)
    tick(clock)
    marks.put(BOB, 3)
    marks.put(CY, 1)
    tick(clock)
    assert (marks.get(BOB), marks.get(CY)) == (3, 1)
    assert paper.written == [{BOB: 2}]

    paper.go.set()
    gevent.idle()
    tick(clock)

    assert paper.written == [{BOB: 2}, {BOB: 3, CY: 1}]


def test_whoever_flushes_while_others_are_under_way_waits_for_them(marks, paper, clock):
    paper.go.clear()
    marks.put(BOB, 2)
    tick(clock)
    assert marks.get(BOB) == 2
    marks.put(CY, 1)
    flushing = gevent.spawn(marks.flush)
    gevent.idle()
    assert paper.written == [{BOB: 2}]

    paper.go.set()
    flushing.get(timeout=5)

    assert paper.written == [{BOB: 2}, {CY: 1}]


def test_flush_tells_that_it_could_not(marks, paper):
    paper.fault = BrokerUnavailable()
    marks.put(BOB, 2)

    with pytest.raises(BrokerUnavailable):
        marks.flush()


def test_those_of_logs_that_are_forgotten_are_not_written(marks, paper):
    marks.put(BOB, 2)
    marks.put(("attic", "bob"), 1)
    marks.forget(frozenset({"lobby"}))
    marks.flush()

    assert paper.written == [{("attic", "bob"): 1}]


def test_nor_are_they_tried_again_when_they_were_under_way(marks, paper, clock):
    paper.go.clear()
    paper.fault = BrokerUnavailable()
    marks.put(BOB, 2)
    tick(clock)
    marks.forget(frozenset({"lobby"}))
    assert marks.get(BOB) is None
    paper.go.set()
    gevent.idle()
    paper.fault = None
    tick(clock)

    assert paper.written == [{BOB: 2}]


def test_close_writes_what_waits_and_then_nothing_comes_any_more(marks, paper, clock):
    marks.put(BOB, 2)
    marks.close()
    marks.put(BOB, 3)
    tick(clock)

    assert paper.written == [{BOB: 2}]


def test_nor_when_nothing_had_waited(marks, paper, clock):
    marks.close()
    marks.put(BOB, 3)
    tick(clock)

    assert paper.written == []
