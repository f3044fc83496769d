"""Which offsets share a transaction, and what becomes of them when somebody leaves, or when it fails."""

from collections.abc import Mapping

import gevent
import pytest
from gevent.event import Event

from chat.errors import DatabaseUnavailable
from chat.registry.offsets import Offsets


class Ledger:
    """Notes each transaction as it begins; none ends before `go`."""

    def __init__(self) -> None:
        self.begun: list[Mapping[str, int]] = []
        self.fault: Exception | None = None
        self.go = Event()

    def write(self, offsets: Mapping[str, int]) -> None:
        self.begun.append(offsets)
        self.go.wait(5)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def putting(ledger) -> list[gevent.Greenlet]:
    """Four that put theirs at once: the first begins a transaction, the others wait for the next one."""
    offsets = Offsets(ledger.write)

    def put(name: str, offset: int) -> None:
        try:
            offsets.put(name, offset)
        except DatabaseUnavailable as exc:
            raise gevent.GreenletExit from exc  # a value, which gevent does not print

    greenlets = [gevent.spawn(put, name, offset) for offset, name in enumerate("dcba")]
    gevent.idle()
    assert ledger.begun == [{"d": 0}]
    return greenlets


def finish(greenlets: list[gevent.Greenlet]) -> list[bool]:
    """Wait for all; return whose offset was written, as they were told."""
    gevent.joinall(greenlets, timeout=5)
    assert all(greenlet.dead for greenlet in greenlets)
    return [not isinstance(greenlet.value, gevent.GreenletExit) for greenlet in greenlets]


def test_one_that_comes_alone_is_written_at_once(ledger):
    offsets = Offsets(ledger.write)
    ledger.go.set()

    for number in range(3):
        offsets.put("a", number)

    assert ledger.begun == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_all_that_come_meanwhile_share_the_next_one_in_the_order_of_their_names(ledger, putting):
    ledger.go.set()

    assert finish(putting) == [True] * 4
    assert [list(offsets) for offsets in ledger.begun] == [["d"], ["a", "b", "c"]]


def test_who_leaves_before_it_begins_is_not_in_it(ledger, putting):
    putting[2].kill(block=False)
    gevent.idle()
    ledger.go.set()

    assert finish(putting) == [True, True, False, True]
    assert ledger.begun[1:] == [{"a": 3, "c": 1}]


def test_when_it_dies_with_who_began_it_the_next_one_does_it_for_the_others(ledger, putting):
    putting[0].kill(block=False)
    gevent.idle()
    assert ledger.begun[1:] == [{"a": 3, "b": 2, "c": 1}]
    putting[1].kill(block=False)  # who began that one
    gevent.idle()
    ledger.go.set()

    assert finish(putting) == [False, False, True, True]
    assert ledger.begun[2:] == [{"a": 3, "b": 2}]


def test_who_is_killed_while_others_write_for_it_has_not_left_before_that_is_done(ledger, putting):
    putting[0].kill(block=False)
    gevent.idle()
    putting[3].kill(block=False)
    gevent.idle()

    assert not putting[3].ready()  # else the channel could be taken by somebody, and then be put back behind their back
    ledger.go.set()
    assert finish(putting) == [False, True, True, False]


def test_when_it_fails_all_who_share_it_are_told_and_the_next_one_is_tried(ledger, putting):
    ledger.fault = DatabaseUnavailable()
    ledger.go.set()

    assert finish(putting) == [False] * 4
    assert [len(offsets) for offsets in ledger.begun] == [1, 3]
