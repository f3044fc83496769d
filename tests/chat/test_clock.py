from datetime import UTC, timedelta

import gevent
import pytest
from gevent.event import Event as Flag

from chat.clock import Clock, SystemClock
from chat.testing import TurnedClock
from tests.chat.steps import never_yields


@pytest.fixture(params=[SystemClock, TurnedClock])
def clock(request) -> Clock:
    return request.param()


def turn(clock: Clock, flag: Flag) -> bool:
    """Let a hundredth of a second pass; return whether `flag` is set then."""
    if isinstance(clock, TurnedClock):
        clock.advance(0.01)
    return flag.wait(0.05)


def test_the_date_is_aware_in_utc_and_whole_milliseconds(clock):
    now = clock.now()

    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0


def test_it_never_goes_back(clock):
    times = [clock.monotonic() for _ in range(100)]

    assert times == sorted(times)


def test_a_timer_calls_once(clock):
    flag, calls = Flag(), []
    clock.later(0.001, lambda: (calls.append(1), flag.set()))
    assert turn(clock, flag)
    assert not turn(clock, Flag())

    assert calls == [1]


def test_a_cancelled_timer_does_not_call(clock):
    flag = Flag()
    timer = clock.later(0.001, flag.set)
    timer.cancel()

    assert not turn(clock, flag)


def test_cancelling_is_idempotent_also_after_the_call(clock):
    flag = Flag()
    timer = clock.later(0.001, flag.set)
    assert turn(clock, flag)
    timer.cancel()
    timer.cancel()

    assert flag.is_set()


def test_setting_and_cancelling_a_timer_never_yields(clock):
    with never_yields():
        clock.later(5.0, lambda: None).cancel()


def test_a_timer_can_be_set_anew_from_its_own_call(clock):
    flag = Flag()
    clock.later(0.001, lambda: clock.later(0.001, flag.set))

    assert turn(clock, flag)


def test_a_timer_is_not_early_where_the_hub_was_kept_busy_before_it_was_set():
    clock, over = SystemClock(), Flag()
    fired: list[float] = []

    def work() -> None:  # in a turn that a timer began: there the hub does not look at its clock again
        began = clock.monotonic()
        while clock.monotonic() - began < 0.02:
            pass
        set_at = clock.monotonic()
        clock.later(0.01, lambda: (fired.append(clock.monotonic() - set_at), over.set()))

    clock.later(0.001, work)
    assert over.wait(2)

    assert fired[0] > 0.009


def test_a_timer_that_is_due_much_later_keeps_nobody_waiting():
    timer = SystemClock().later(3600.0, lambda: None)
    ended = gevent.wait(timeout=2)
    timer.cancel()

    assert ended is True


def test_a_turned_clock_stands_still():
    clock = TurnedClock()

    assert clock.now() == clock.now()
    assert clock.monotonic() == clock.monotonic()


def test_a_turned_clock_calls_in_order_and_each_at_its_own_time():
    clock, calls = TurnedClock(), []
    for seconds in (3.0, 1.0, 2.0, 1.0):
        clock.later(seconds, lambda seconds=seconds: calls.append((seconds, clock.monotonic())))

    clock.advance(2.5)

    assert calls == [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]
    assert clock.monotonic() == 2.5


def test_a_turned_clock_turns_its_date_too():
    clock = TurnedClock()
    before = clock.now()
    clock.advance(61.5)

    assert clock.now() - before == timedelta(seconds=61.5)


def test_what_falls_due_meanwhile_is_called_too():
    clock, calls = TurnedClock(), []
    clock.later(1.0, lambda: clock.later(1.0, lambda: calls.append(clock.monotonic())))
    clock.advance(5.0)

    assert calls == [2.0]
