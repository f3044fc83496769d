"""How much waiting a peer may cause, and what earns it back."""

import gevent
import pytest

from web.websocket.limits import HttpLimits
from web.websocket.pace import Pace


@pytest.fixture
def pace(clock) -> Pace:
    return Pace(HttpLimits(io_timeout=30.0, io_rate=500.0), clock)


def wait(pace: Pace, clock, seconds: float) -> None:
    with pace:
        clock.advance(seconds)


def test_waits_add_up(pace, clock):
    wait(pace, clock, 10)
    wait(pace, clock, 12)

    assert pace.left == 8


def test_time_between_waits_does_not_count(pace, clock):
    clock.advance(1000)
    wait(pace, clock, 1)
    clock.advance(1000)

    assert pace.left == 29


def test_a_byte_now_and_then_is_too_slow(pace, clock):
    wait(pace, clock, 29)
    pace.earn(1)

    assert pace.left == pytest.approx(1.002)


def test_who_keeps_the_rate_has_all_the_time_of_the_world(pace, clock):
    for _ in range(1000):
        wait(pace, clock, 20)
        pace.earn(20 * 500)

    assert pace.left == 30


def test_nobody_saves_time_up(pace, clock):
    pace.earn(1 << 30)

    assert pace.left == 30


def test_where_there_is_no_rate_any_byte_earns_all_and_none_nothing(clock):
    pace = Pace(HttpLimits(io_timeout=30.0, io_rate=0), clock)
    wait(pace, clock, 29)
    pace.earn(0)
    assert pace.left == 1

    pace.earn(1)

    assert pace.left == 30


def test_who_has_no_time_left_need_not_begin(pace, clock):
    wait(pace, clock, 31)  # of which the last second was our own delay

    assert pace.left == 0
    with pytest.raises(TimeoutError), pace:
        raise AssertionError


def test_a_wait_ends_when_the_time_does():
    pace = Pace(HttpLimits(io_timeout=0.02))

    with pytest.raises(TimeoutError), gevent.Timeout(5), pace:
        gevent.get_hub().switch()

    assert pace.left == 0
