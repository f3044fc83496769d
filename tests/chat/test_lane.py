import gevent
import pytest
from gevent import GreenletExit
from gevent.event import Event as Flag

from chat.lane import Lane
from chat.testing import chat_greenlets
from tests.chat.steps import never_yields


class Work:
    """Waits at its gate with each batch."""

    def __init__(self) -> None:
        self.gate = Flag()
        self.done: list[list[int]] = []

    def __call__(self, batch: list[int]) -> None:
        self.gate.wait()
        self.done.append(list(batch))


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def lane(work) -> Lane[int]:
    return Lane(work, waits=True)


def put(lane: Lane[int], *items: int) -> None:
    for item in items:
        lane.put(item)
    lane.go()


def test_what_is_put_while_a_batch_is_under_way_is_the_next_one(lane, work):
    put(lane, 1, 2)
    gevent.idle()
    for item in (3, 4, 5):
        put(lane, item)
    work.gate.set()
    lane.wait()

    assert work.done == [[1, 2], [3, 4, 5]]
    assert not lane


def test_nothing_is_done_before_it_is_said_so(lane, work):
    work.gate.set()
    lane.put(1)
    gevent.idle()
    assert work.done == []

    lane.go()
    gevent.idle()
    assert work.done == [[1]]


def test_putting_and_going_never_yield(lane):
    with never_yields():
        put(lane, 1, 2, 3)

    assert lane
    lane.give_up()


def test_one_with_nothing_to_do_has_no_greenlet(lane, work):
    work.gate.set()
    put(lane, 1)
    assert len(chat_greenlets()) == 1
    lane.wait()
    gevent.idle()

    assert chat_greenlets() == []
    lane.go()
    assert chat_greenlets() == []


def test_where_the_work_does_not_wait_it_is_done_at_once(work):
    work.gate.set()
    lane = Lane(work, waits=False)
    with never_yields():
        put(lane, 1, 2)

    assert work.done == [[1, 2]]


def test_what_can_be_done_at_once_takes_no_turn_and_no_greenlet(work):
    done: list[list[int]] = []
    lane = Lane(work, waits=True, at_once=lambda batch: done.append(list(batch)) is None)
    with never_yields():
        put(lane, 1, 2)
        lane.put(3)
        lane.wait()

    assert done == [[1, 2], [3]]
    assert (work.done, bool(lane), chat_greenlets()) == ([], False, [])


def test_what_cannot_is_done_in_its_place_and_what_comes_behind_is_not_tried(work):
    tried: list[list[int]] = []

    def at_once(batch: list[int]) -> bool:
        tried.append(list(batch))
        put(lane, 3)
        return False

    lane = Lane(work, waits=True, at_once=at_once)
    put(lane, 1, 2)
    put(lane, 4)
    gevent.idle()
    put(lane, 5)
    work.gate.set()
    lane.wait()

    assert tried == [[1, 2]]
    assert work.done == [[1, 2, 3, 4], [5]]


def test_what_is_put_while_something_is_done_at_once_is_the_next_batch():
    done: list[list[int]] = []

    def at_once(batch: list[int]) -> bool:
        done.append(list(batch))
        if batch == [1]:
            put(lane, 2)
        return True

    lane = Lane(pytest.fail, waits=True, at_once=at_once)
    put(lane, 1)

    assert done == [[1], [2]]
    assert not lane


def test_one_that_fails_at_once_after_all_holds_up_nothing(work):
    def at_once(batch: list[int]) -> bool:
        if batch == [1]:
            raise ZeroDivisionError
        return False

    lane = Lane(work, waits=True, at_once=at_once)
    with pytest.raises(ZeroDivisionError):
        put(lane, 1)
    work.gate.set()
    put(lane, 2)
    lane.wait()

    assert work.done == [[2]]


def test_who_waits_does_not_wait_for_what_is_put_later():
    seen: list[list[int]] = []
    second = Flag()

    def work(batch: list[int]) -> None:
        if seen:
            second.wait()
        seen.append(list(batch))

    lane = Lane(work, waits=True)
    put(lane, 1)
    waiting = gevent.spawn(lane.wait)
    gevent.sleep(0)
    put(lane, 2)

    waiting.get(timeout=2)
    assert seen == [[1]]
    second.set()
    lane.wait()
    assert seen == [[1], [2]]


def test_what_is_given_up_is_returned_and_nobody_waits_for_it(lane, work):
    put(lane, 1)
    gevent.idle()
    put(lane, 2, 3)
    waiting = gevent.spawn(lane.wait)
    gevent.idle()

    assert lane.give_up() == [1, 2, 3]
    waiting.get(timeout=2)
    assert not lane
    work.gate.set()
    gevent.idle()
    assert work.done == [[1]]  # it was under way


def test_who_waits_until_it_is_idle_waits_for_what_is_put_meanwhile_too(lane, work):
    put(lane, 1)
    waiting = gevent.spawn(lane.wait_idle, 5.0)
    gevent.idle()
    put(lane, 2)
    work.gate.set()

    waiting.get(timeout=2)
    assert work.done == [[1], [2]]


def test_and_no_longer_than_its_patience(lane, work):
    put(lane, 1)
    lane.wait_idle(0.001)

    assert lane
    work.gate.set()
    lane.wait()


def test_where_it_is_idle_nobody_waits(lane):
    with never_yields():
        lane.wait_idle(5.0)


def test_a_batch_that_fails_after_all_holds_up_nothing():
    done: list[list[int]] = []

    def work(batch: list[int]) -> None:
        if 1 in batch:
            raise GreenletExit
        done.append(list(batch))

    lane = Lane(work, waits=True)
    put(lane, 1)
    lane.wait()
    put(lane, 2)
    lane.wait()

    assert done == [[2]]
    assert not lane
    assert not lane.is_busy
