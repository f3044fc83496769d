"""What a turn is waited for; how it is written is in test_fanout.py, and what the log is taking in test_slow_log.py."""

from time import perf_counter

import gevent
import pytest

from chat.pace import HOLD, HOLD_MOST, Pace
from chat.turn import yield_turn
from tests.chat.steps import wait_until

TOOK = HOLD_MOST / HOLD  # seconds for a turn, so that the next one is waited for as long as can be
ROUNDS = 20


@pytest.fixture
def items() -> list[str]:
    """What waits."""
    return []


@pytest.fixture
def pace(items) -> Pace:
    pace = Pace(lambda: len(items))
    pace.wait_for_log = lambda _patience: None
    return pace


def hear(pace: Pace, items: list[str], *processes: str) -> None:
    for process in processes:
        items.append(process)
        pace.heard(process)
        pace.more()


def turn(pace: Pace, items: list[str], took: float = TOOK) -> None:
    """Write all that waits."""
    pace.begins()
    until = perf_counter() + took
    while perf_counter() < until:
        pass
    pace.ends(len(items))
    items.clear()


def is_held(pace: Pace) -> bool:
    """Whether the next turn does not begin by itself within some turns of the hub."""
    waiting = gevent.spawn(pace.await_more)
    for _ in range(5):
        yield_turn()
    is_held = not waiting.ready()
    waiting.join()
    return is_held


def held(pace: Pace, items: list[str], *then: str, between: bool = False) -> int:
    """In how many rounds the words of `then` are held after a turn in which p1 and p2 have spoken."""
    count = 0
    for _ in range(ROUNDS):
        hear(pace, items, "p1", "p2")
        turn(pace, items)
        if between:
            items.append("an answer")
            turn(pace, items, 0.0)
        hear(pace, items, *then)
        count += is_held(pace)
        turn(pace, items)
    return count


def test_one_of_those_who_have_spoken_is_not_enough(pace, items):
    assert held(pace, items, "p1") > ROUNDS / 2


def test_all_of_them_are(pace, items):
    assert held(pace, items, "p2", "p1") == 0


def test_so_is_as_much_as_there_was(pace, items):
    assert held(pace, items, "p1", "p1") == 0


def test_an_answer_to_one_alone_changes_nothing(pace, items):
    assert held(pace, items, "p1", between=True) > ROUNDS / 2


def test_after_a_pause_nobody_is_awaited(pace, items):
    hear(pace, items, "p1", "p2")
    turn(pace, items)
    over = perf_counter() + HOLD_MOST
    wait_until(lambda: perf_counter() > over)
    hear(pace, items, "p1")

    assert not is_held(pace)


def test_where_nothing_is_ever_on_its_way_nobody_is_awaited(pace, items):
    pace.wait_for_log = None

    assert held(pace, items, "p1") == 0


def test_so_is_an_answer_that_makes_it_as_much(pace, items):
    hear(pace, items, "p1", "p2")
    turn(pace, items)
    hear(pace, items, "p1")
    waiting = gevent.spawn(pace.await_more)
    yield_turn()
    items.append("an answer")
    pace.more()
    yield_turn()

    assert waiting.ready()
