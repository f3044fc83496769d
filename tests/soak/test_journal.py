"""The journal of the soak sees what it is there for: it cannot pass by blindness."""

import pytest

from tests.soak.journal import Journal, Stay, Stop


@pytest.fixture
def journal() -> Journal:
    return Journal(limit=10)


def welcome(offset: int, *, epoch: str = "e", recovered: bool = False) -> dict:
    return {"epoch": epoch, "offset": offset, "recovered": recovered}


def enter(journal: Journal, name: str, offset: int = 0, stop: Stop | None = None, *, recovered: bool = False) -> Stay:
    return journal.enter(name, "lobby", stop, welcome(offset, recovered=recovered))


def kinds(journal: Journal) -> list[str]:
    assert len(journal.faults.first) == sum(journal.faults.counts.values())
    return [fault.kind for fault in journal.faults.first]


def test_what_everybody_hears_once_and_in_order_is_no_fault(journal: Journal) -> None:
    ann, bob = enter(journal, "ann"), enter(journal, "bob")
    for offset, tag in enumerate("abc", 1):
        ann.hear(offset, tag)
        ann.ack(offset, tag)
        bob.hear(offset, tag)
    late = enter(journal, "cy", 3)
    journal.settle([ann, bob, late])

    assert kinds(journal) == []
    assert (journal.heard, journal.acks) == (6, 3)


def test_a_message_that_is_left_out_is_lost(journal: Journal) -> None:
    ann = enter(journal, "ann")
    ann.hear(1, "a")
    ann.hear(3, "c")

    assert kinds(journal) == ["lost"]
    assert "ann in lobby, epoch e, from 0 to 1, hears 3, 'c'" in journal.faults.first[0].facts


def test_a_message_that_does_not_arrive_at_the_end_is_lost(journal: Journal) -> None:
    ann, bob = enter(journal, "ann"), enter(journal, "bob")
    ann.hear(1, "a")
    journal.settle([ann, bob])

    assert kinds(journal) == ["lost"]
    assert "bob" in journal.faults.first[0].facts


def test_the_last_message_that_was_acked_and_is_heard_by_nobody_is_lost_and_unheard(journal: Journal) -> None:
    ann = enter(journal, "ann")
    ann.ack(1, "a")
    journal.settle([ann])

    assert kinds(journal) == ["lost", "unheard"]


def test_what_was_acked_in_a_channel_that_everybody_has_left_must_have_been_heard(journal: Journal) -> None:
    enter(journal, "ann").ack(1, "a")
    journal.settle([])

    assert kinds(journal) == ["unheard"]


def test_a_message_that_comes_twice_is_doubled(journal: Journal) -> None:
    ann = enter(journal, "ann")
    for offset, tag in ((1, "a"), (2, "b"), (2, "b"), (3, "c")):
        ann.hear(offset, tag)

    assert kinds(journal) == ["doubled"]


def test_messages_in_another_order_are_found(journal: Journal) -> None:
    ann = enter(journal, "ann")
    for offset, tag in ((1, "a"), (3, "c"), (2, "b"), (4, "d")):
        ann.hear(offset, tag)

    assert kinds(journal) == ["lost", "swapped"]


def test_two_that_hear_the_same_messages_in_another_order_are_found(journal: Journal) -> None:
    ann, bob = enter(journal, "ann"), enter(journal, "bob")
    for offset, tag in enumerate("ab", 1):
        ann.hear(offset, tag)
    for offset, tag in enumerate("ba", 1):
        bob.hear(offset, tag)

    assert set(kinds(journal)) == {"changed", "repeated"}


def test_an_ack_of_something_else_than_was_heard_there_is_found_whichever_comes_first(journal: Journal) -> None:
    ann, bob = enter(journal, "ann"), enter(journal, "bob")
    ann.hear(1, "a")
    bob.ack(1, "b")
    bob.ack(2, "c")
    ann.hear(2, "d")
    journal.settle([])

    assert kinds(journal) == ["changed", "changed"]


def test_a_message_that_is_published_again_when_it_is_said_again_is_found(journal: Journal) -> None:
    ann = enter(journal, "ann")
    ann.ack(1, "a")
    ann.hear(1, "a")
    ann.hear(2, "a")

    assert kinds(journal) == ["repeated"]


def test_who_has_recovered_goes_on_where_it_stopped(journal: Journal) -> None:
    ann = enter(journal, "ann")
    ann.hear(1, "a")
    again = enter(journal, "ann", 3, ann.stop, recovered=True)
    again.hear(2, "b")
    again.hear(3, "c")
    journal.settle([again])

    assert kinds(journal) == []
    assert journal.recoveries == 1


def test_a_gap_that_is_not_filled_is_lost(journal: Journal) -> None:
    again = enter(journal, "ann", 3, Stop("e", 1), recovered=True)
    again.hear(3, "c")

    assert kinds(journal) == ["lost"]


def test_what_comes_again_after_a_return_is_doubled(journal: Journal) -> None:
    ann = enter(journal, "ann")
    ann.hear(1, "a")
    enter(journal, "ann", 1, ann.stop, recovered=True).hear(1, "a")

    assert kinds(journal) == ["doubled"]


@pytest.mark.parametrize("stop", [None, Stop("another", 1), Stop("e", 4)])
def test_who_cannot_have_recovered_is_not_told_so(journal: Journal, stop: Stop | None) -> None:
    enter(journal, "ann", 3, stop, recovered=True)

    assert kinds(journal) == ["forgotten"]


@pytest.mark.parametrize(("offset", "faults"), [(2, ["forgotten"]), (12, ["forgotten"]), (13, []), (1, [])])
def test_who_can_recover_does(journal: Journal, offset: int, faults: list[str]) -> None:
    enter(journal, "ann", offset, Stop("e", 2))

    assert kinds(journal) == faults
