"""What shares a transaction, and what becomes of it when somebody leaves, or when it fails."""

from collections.abc import Sequence
from traceback import extract_tb

import gevent
import pytest
from gevent.event import Event

from chat.errors import DatabaseUnavailable, NotStorable
from chat.grouping import Grouping


class Ledger:
    """Notes each transaction as it begins; none ends before `go`."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.culprits = ""
        self.lost = ""
        self.go = Event()

    def write(self, letters: Sequence[str]) -> None:
        self.begun.append("".join(letters))
        self.go.wait(5)
        if set(letters) & set(self.culprits):
            raise NotStorable
        if set(letters) & set(self.lost):
            raise DatabaseUnavailable


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def grouping(ledger) -> Grouping[str]:
    return Grouping(ledger.write, (NotStorable,))


def put_all(grouping: Grouping[str], letters: str) -> list[gevent.Greenlet]:
    def put(letter: str) -> None:
        try:
            grouping.put(letter)
        except (DatabaseUnavailable, NotStorable) as exc:
            raise gevent.GreenletExit from exc  # a value, which gevent does not print

    greenlets = [gevent.spawn(put, letter) for letter in letters]
    gevent.idle()
    return greenlets


@pytest.fixture
def putting(ledger, grouping) -> list[gevent.Greenlet]:
    """Four that put theirs at once: the first begins a transaction, the others wait for the next one."""
    first = put_all(grouping, "d")
    assert ledger.begun == ["d"]
    return first + put_all(grouping, "cba")


def finish(greenlets: list[gevent.Greenlet]) -> list[bool]:
    """Wait for all; return whose thing was written, as they were told."""
    gevent.joinall(greenlets, timeout=5)
    assert all(greenlet.dead for greenlet in greenlets)
    return [not isinstance(greenlet.value, gevent.GreenletExit) for greenlet in greenlets]


def test_one_that_comes_alone_is_written_at_once(ledger, grouping):
    ledger.go.set()

    for letter in "abc":
        grouping.put(letter)

    assert ledger.begun == ["a", "b", "c"]


def test_all_that_come_meanwhile_share_the_next_one_in_the_order_of_coming(ledger, putting):
    ledger.go.set()

    assert finish(putting) == [True] * 4
    assert ledger.begun == ["d", "cba"]


def test_those_who_come_again_as_soon_as_they_are_done_share_one_again(ledger, grouping):
    ledger.go.set()

    def put_again(letter: str) -> None:
        for _ in range(3):
            grouping.put(letter)

    greenlets = [gevent.spawn(put_again, letter) for letter in "abcd"]
    gevent.joinall(greenlets, timeout=5, raise_error=True)

    assert ["".join(sorted(letters)) for letters in ledger.begun] == ["abcd"] * 3


def test_who_leaves_before_it_begins_is_not_in_it(ledger, putting):
    putting[2].kill(block=False)
    gevent.idle()
    ledger.go.set()

    assert finish(putting) == [True, True, False, True]
    assert ledger.begun[1:] == ["ca"]


def test_when_it_dies_with_who_began_it_the_next_one_does_it_for_the_others(ledger, putting):
    putting[0].kill(block=False)
    gevent.idle()
    assert ledger.begun[1:] == ["cba"]
    putting[1].kill(block=False)  # who began that one
    gevent.idle()
    ledger.go.set()

    assert finish(putting) == [False, False, True, True]
    assert ledger.begun[2:] == ["ba"]


def test_who_is_killed_while_others_write_for_it_has_not_left_before_that_is_done(ledger, putting):
    putting[0].kill(block=False)
    gevent.idle()
    putting[3].kill(block=False)
    gevent.idle()

    assert not putting[3].ready()  # else the channel could be taken by somebody, and then be put back behind their back
    ledger.go.set()
    assert finish(putting) == [False, True, True, False]


def test_when_it_fails_all_who_share_it_are_told_and_the_next_one_is_tried(ledger, putting):
    ledger.lost = "db"
    ledger.go.set()

    assert finish(putting) == [False] * 4
    assert ledger.begun == ["d", "cba"]


def test_what_all_are_told_does_not_grow_with_each_of_them(ledger, grouping):
    ledger.lost = "a"
    ledger.go.set()
    depths: list[int] = []

    def put(letter: str) -> None:
        try:
            grouping.put(letter)
        except DatabaseUnavailable as exc:
            depths.append(len(extract_tb(exc.__traceback__)))

    gevent.joinall([gevent.spawn(put, letter) for letter in "abcd"], timeout=5, raise_error=True)

    assert depths == [2] * 4  # `put`, and the grouping's own


def test_what_is_refused_is_tried_in_halves_until_only_the_culprits_are_told(ledger, grouping, putting):
    ledger.culprits = "xy"
    more = put_all(grouping, "xefyg")
    ledger.go.set()

    assert finish(more) == [False, True, True, False, True]
    assert finish(putting) == [True] * 4
    assert ledger.begun == ["d", "cbaxefyg", "cbax", "cb", "ax", "a", "x", "efyg", "ef", "yg", "y", "g"]


def test_a_fault_while_it_is_tried_in_halves_is_told_to_that_part_alone(ledger, grouping, putting):
    ledger.culprits, ledger.lost = "x", "g"
    more = put_all(grouping, "xefg")
    ledger.go.set()

    assert finish(more) == [False, True, False, False]
    assert finish(putting) == [True] * 4
    assert ledger.begun == ["d", "cbaxefg", "cba", "xefg", "xe", "x", "e", "fg"]
