import gevent
import pytest

from chat.inbox import Inbox
from tests.chat.steps import never_yields, wait_until


@pytest.fixture
def inbox() -> Inbox[int]:
    return Inbox(3)


def fill(inbox: Inbox[int], many: int) -> None:
    for number in range(many):
        inbox.force(number)


def put(inbox: Inbox[int], number: int, timeout: float = 5.0) -> bool:
    if not inbox.wait_for_space(timeout):
        return False
    inbox.force(number)
    return True


def test_what_was_put_first_is_taken_first(inbox):
    assert [put(inbox, number) for number in (1, 2, 3)] == [True, True, True]

    assert inbox.take(10) == [1, 2, 3]
    assert len(inbox) == 0


def test_no_more_is_taken_than_asked_for(inbox):
    fill(inbox, 5)

    assert inbox.take(2) == [0, 1]
    assert inbox.take(2) == [2, 3]
    assert inbox.take(2) == [4]


def test_it_is_full_at_the_bound(inbox):
    fill(inbox, 2)
    assert not inbox.full

    inbox.force(2)
    assert inbox.full


def test_what_is_forced_goes_past_the_bound_and_never_yields(inbox):
    with never_yields():
        fill(inbox, 10)

    assert len(inbox) == 10


def test_space_that_does_not_come_in_time_is_not_waited_for_any_longer(inbox):
    fill(inbox, 3)

    assert put(inbox, 99, timeout=0.01) is False
    assert inbox.take(10) == [0, 1, 2]


def test_a_sender_waits_for_space(inbox):
    fill(inbox, 3)
    putting = gevent.spawn(put, inbox, 3)
    gevent.idle()
    assert not putting.ready()

    assert inbox.take(1) == [0]

    assert putting.get(timeout=2) is True
    assert inbox.take(10) == [1, 2, 3]


def test_of_many_senders_no_more_than_fit_get_in(inbox):
    fill(inbox, 3)
    putting = [gevent.spawn(put, inbox, number) for number in range(10, 20)]
    gevent.idle()
    taken = inbox.take(10)
    wait_until(lambda: inbox.full)
    gevent.idle()
    assert len(inbox) == 3

    while len(taken) < 13:
        taken += inbox.take(10)

    assert gevent.joinall(putting, timeout=2) == putting
    assert sorted(taken) == [0, 1, 2, *range(10, 20)]


def test_a_reader_waits_for_work(inbox):
    taking = gevent.spawn(inbox.take, 10)
    gevent.idle()
    assert not taking.ready()

    inbox.force(7)

    assert taking.get(timeout=2) == [7]


def test_what_arrives_before_the_reader_has_its_turn_is_one_batch(inbox):
    taking = gevent.spawn(inbox.take, 10)
    gevent.idle()
    fill(inbox, 3)

    assert taking.get(timeout=2) == [0, 1, 2]


def test_somebody_elses_deadline_is_not_ours(inbox):
    fill(inbox, 3)

    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.01) as deadline:
        put(inbox, 3)

    assert caught.value is deadline
    assert len(inbox) == 3


def test_what_was_taken_and_is_held_counts_until_it_is_let_go(inbox):
    fill(inbox, 3)
    for _ in inbox.take(10):
        inbox.hold()

    assert inbox.full
    assert inbox.load == 3
    inbox.let_go(1)
    assert not inbox.full
    assert len(inbox) == 0


def test_who_waits_for_space_gets_it_when_something_held_is_let_go(inbox):
    fill(inbox, 3)
    for _ in inbox.take(10):
        inbox.hold()
    waiting = gevent.spawn(put, inbox, 99)
    gevent.idle()
    assert not waiting.ready()

    inbox.let_go(1)

    assert waiting.get(timeout=2) is True
    assert inbox.take(10) == [99]
