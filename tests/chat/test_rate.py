"""How much of something is allowed in how much time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.rate import Rate


def spent(rate: Rate, until: float, now: float, most: int = 1000) -> tuple[int, float]:
    """How many pass at once, and the moment afterwards."""
    for count in range(most):
        after = rate.spend(until, now)
        if after is None:
            return count, until
        until = after
    return most, until


# Large and odd moments, because the clock's zero may be years back and floats are not exact.
NOWS = [0.0, 0.1, 1.7, 1e3 + 1 / 3, 86_400.123456, 1e7 / 3, 1e8 / 7]


@pytest.mark.parametrize("now", NOWS)
@pytest.mark.parametrize("per_second", [0.1, 1 / 3, 1, 3, 10, 99.9])
@pytest.mark.parametrize("burst", [1, 2, 30, 60])
def test_exactly_a_burst_passes_at_once(per_second: float, burst: int, now: float) -> None:
    rate = Rate.per_second(per_second, burst)

    assert spent(rate, 0.0, now)[0] == burst


@pytest.mark.parametrize("now", NOWS)
@pytest.mark.parametrize("per_second", [0.1, 1 / 3, 1, 3, 10, 99.9])
def test_in_the_long_run_the_rate_passes(per_second: float, now: float) -> None:
    rate = Rate.per_second(per_second, 5)
    _, until = spent(rate, 0.0, now)

    passed = 0
    for step in range(1, 1001):  # ten looks in the time of one
        count, until = spent(rate, until, now + step * rate.interval / 10)
        passed += count

    assert passed == 100


def test_right_before_its_time_nothing_passes_and_right_then_one() -> None:
    rate = Rate.per_second(4, 2)
    _, until = spent(rate, 0.0, 100.0)

    assert spent(rate, until, 100.24)[0] == 0
    assert spent(rate, until, 100.25)[0] == 1
    assert spent(rate, until, 100.49)[0] == 1
    assert spent(rate, until, 100.5)[0] == 2
    assert spent(rate, until, 1e6)[0] == 2


def test_being_refused_changes_nothing() -> None:
    rate = Rate.per_second(1, 1)
    until = rate.spend(0.0, 10.0)
    assert until is not None

    assert [rate.spend(until, 10.5) for _ in range(3)] == [None] * 3
    assert rate.spend(until, 11.0) == 12.0


def test_many_at_once_pass_together_or_not_at_all() -> None:
    rate = Rate.per_second(10, 60)

    assert rate.spend(0.0, 5.0, 61) is None
    until = rate.spend(0.0, 5.0, 60)
    assert until == pytest.approx(11.0)
    assert rate.spend(until, 5.0, 1) is None
    assert rate.spend(until, 6.0, 11) is None
    assert rate.spend(until, 6.0, 10) == pytest.approx(12.0)


def test_none_of_something_is_always_allowed() -> None:
    rate = Rate.per_second(1, 1)
    until = rate.spend(0.0, 10.0)
    assert until is not None

    assert rate.spend(until, 10.0, 0) == until


@pytest.mark.parametrize("until", [0.0, 1e9])
def test_a_rate_of_zero_is_no_limit(until: float) -> None:
    assert Rate.per_second(0, 0).spend(until, 5.0, 10**9) == until


def test_a_burst_that_is_no_whole_number_is_cut() -> None:
    assert spent(Rate.per_second(1.5, 4.5), 0.0, 7.0)[0] == 4


@given(
    st.sampled_from([0.1, 1.0, 3.0, 10.0]),
    st.integers(1, 60),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 5)), max_size=100),
)
def test_in_no_span_of_time_more_passes_than_the_burst_and_the_rate(
    per_second: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    rate = Rate.per_second(per_second, burst)
    now, until, passed = 0.0, 0.0, list[tuple[float, int]]()

    for wait, count in asked:
        now += wait
        if (after := rate.spend(until, now, count)) is not None:
            until = after
            passed.append((now, count))

    for start, (begun, _) in enumerate(passed):
        span = now - begun
        assert sum(count for _, count in passed[start:]) <= burst + span * per_second + 0.01
