"""How often one user may ask."""

from weakref import WeakSet

import pytest

from chat.errors import RateLimited
from chat.rate import Rate
from chat.testing import TurnedClock
from web.throttle import SWEEP, Throttle


class Name(str):
    """A name that tells whether it is remembered."""


@pytest.fixture
def throttle(clock: TurnedClock) -> Throttle:
    return Throttle(Rate.per_second(2, 3), clock)


def allowed(throttle: Throttle, username: str, most: int = 100) -> int:
    """How many requests in a row pass."""
    for count in range(most):
        try:
            throttle.spend(username)
        except RateLimited:
            return count
    return most


def test_a_burst_passes_and_no_more(throttle: Throttle) -> None:
    assert allowed(throttle, "ann") == 3


def test_who_is_refused_is_told_how_long_one_more_takes(throttle: Throttle) -> None:
    allowed(throttle, "ann")

    with pytest.raises(RateLimited) as caught:
        throttle.spend("ann")

    assert caught.value.retry_after == 0.5


def test_after_that_time_one_more_passes_and_being_refused_costs_nothing(throttle: Throttle, clock: TurnedClock) -> None:
    for _ in range(10):
        allowed(throttle, "ann")

    clock.advance(0.49)
    assert allowed(throttle, "ann") == 0
    clock.advance(0.01)
    assert allowed(throttle, "ann") == 1


def test_one_user_costs_another_nothing(throttle: Throttle) -> None:
    allowed(throttle, "ann")

    assert allowed(throttle, "bob") == 3


def test_a_rate_of_zero_is_no_limit(clock: TurnedClock) -> None:
    assert allowed(Throttle(Rate.per_second(0, 3), clock), "ann") == 100


def test_without_a_limit_nobody_is_remembered(clock: TurnedClock) -> None:
    throttle, names = Throttle(Rate.per_second(0, 3), clock), WeakSet()
    for number in range(10):
        name = Name(number)
        names.add(name)
        throttle.spend(name)
    del name

    assert len(names) == 0


def test_however_many_users_come_those_who_are_refused_are_not_forgotten(clock: TurnedClock) -> None:
    throttle = Throttle(Rate.per_second(1, 3), clock)
    allowed(throttle, "ann")

    for number in range(2 * SWEEP):
        throttle.spend(f"user {number}")

    assert allowed(throttle, "ann") == 0


def test_users_who_have_their_full_allowance_again_are_forgotten(throttle: Throttle, clock: TurnedClock) -> None:
    names = WeakSet()
    for number in range(SWEEP):
        name = Name(number)
        names.add(name)
        throttle.spend(name)
    del name
    assert len(names) == SWEEP

    clock.advance(1)
    throttle.spend("ann")

    assert len(names) == 0


def test_a_crowd_that_has_to_be_remembered_is_not_swept_at_every_request(clock: TurnedClock) -> None:
    looks = 0

    class Moment(float):
        """When a name has its full allowance again; tells of each look at it."""

        def __gt__(self, other: float) -> bool:
            nonlocal looks
            looks += 1
            return float(self) > other

    class Watched(Rate):
        def spend(self, until: float, now: float, count: int = 1) -> float | None:
            return Moment(now + 1.0)

    throttle = Throttle(Watched(1.0, 3.0), clock)

    for number in range(8 * SWEEP):
        throttle.spend(f"user {number}")

    assert SWEEP <= looks <= 8 * SWEEP
