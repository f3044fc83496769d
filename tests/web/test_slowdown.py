"""Guessing at passwords: who waits, for how long, and who never does."""

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event as Flag

from chat.testing import TurnedClock
from web.slowdown import (
    ACCOUNT_DELAYS,
    ADDRESS_DELAYS,
    FORGET,
    PAIR,
    REMEMBERED,
    WAITING,
    Slowdown,
    TooManyAttempts,
)

HOME, AWAY = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def slowdown(clock: TurnedClock) -> Slowdown:
    return Slowdown(clock)


class Attempt:
    """One attempt in a greenlet; what it does once it may is the test's."""

    def __init__(self, slowdown: Slowdown, account: str, address: str, then: Callable[[], object] = lambda: None) -> None:
        self.is_made = False
        self.error: TooManyAttempts | None = None
        self._greenlet = gevent.spawn(self._run, slowdown, account, address, then)
        settle()

    def _run(self, slowdown: Slowdown, account: str, address: str, then: Callable[[], object]) -> None:
        try:
            with slowdown.attempt(account, address):
                self.is_made = True
                then()
        except TooManyAttempts as exc:
            self.error = exc


def settle() -> None:
    """Let all greenlets do what they can."""
    gevent.idle()
    gevent.idle()


def wait_of(slowdown: Slowdown, clock: TurnedClock, account: str, address: str) -> float:
    """How long the next attempt has to wait, found by making it; half a second exactly."""
    attempt = Attempt(slowdown, account, address)
    for steps in range(20):
        if attempt.is_made:
            return steps / 2
        clock.advance(0.5)
        settle()
    raise AssertionError("it waits for ever")


def fail(slowdown: Slowdown, account: str, address: str, times: int = 1) -> None:
    for _ in range(times):
        slowdown.failed(account, address)


@pytest.mark.parametrize(
    ("failures", "wait"), [(0, 0), (2, 0), (3, 0.5), (4, 1), (5, 2), (6, 4), (7, 8), (8, 8), (1000, 8)]
)
def test_an_account_waits_twice_as_long_for_each_failure_after_the_third(
    slowdown: Slowdown, clock: TurnedClock, failures: int, wait: float
) -> None:
    fail(slowdown, "ann", "", failures)

    assert wait_of(slowdown, clock, "ann", "") == wait
    assert wait_of(slowdown, clock, "bob", "") == 0


@pytest.mark.parametrize(("failures", "wait"), [(19, 0), (20, 0.5), (21, 1), (22, 2), (23, 4), (1000, 4)])
def test_an_address_has_more_for_free_and_then_waits_at_every_account(
    slowdown: Slowdown, clock: TurnedClock, failures: int, wait: float
) -> None:
    for number in range(failures):
        fail(slowdown, f"guess {number}", AWAY)

    assert wait_of(slowdown, clock, "ann", AWAY) == wait
    assert wait_of(slowdown, clock, "ann", HOME) == 0


def test_the_longer_of_both_counts(slowdown: Slowdown, clock: TurnedClock) -> None:
    fail(slowdown, "ann", AWAY, 23)

    assert wait_of(slowdown, clock, "ann", AWAY) == ACCOUNT_DELAYS[-1]
    assert wait_of(slowdown, clock, "bob", AWAY) == ADDRESS_DELAYS[-1]


def test_failures_are_forgotten_one_by_one(slowdown: Slowdown, clock: TurnedClock) -> None:
    fail(slowdown, "ann", "", 5)

    waits = []
    for _ in range(3):
        waits.append(wait_of(slowdown, clock, "ann", ""))
        clock.advance(FORGET - waits[-1])  # a minute from the one before

    assert waits == [2, 1, 0.5]
    assert wait_of(slowdown, clock, "ann", "") == 0


def test_a_right_password_clears_the_account_and_not_the_address(slowdown: Slowdown, clock: TurnedClock) -> None:
    fail(slowdown, "ann", AWAY, 20)

    slowdown.succeeded("ann")

    assert wait_of(slowdown, clock, "ann", HOME) == 0
    assert wait_of(slowdown, clock, "ann", AWAY) == 0.5


def test_what_comes_all_at_once_counts_as_failed_while_it_is_under_way(slowdown: Slowdown, clock: TurnedClock) -> None:
    answer = Flag()

    attempts = [Attempt(slowdown, f"guess {number}", AWAY, answer.wait) for number in range(30)]

    assert [attempt.is_made for attempt in attempts] == [True] * 20 + [False] * 10
    clock.advance(ADDRESS_DELAYS[-1])
    settle()
    assert all(attempt.is_made for attempt in attempts)
    answer.set()


def test_of_one_account_and_one_address_two_are_tried_at_a_time(slowdown: Slowdown) -> None:
    answer = Flag()
    for _ in range(PAIR):
        assert Attempt(slowdown, "ann", AWAY, answer.wait).is_made

    refused = Attempt(slowdown, "ann", AWAY)

    assert refused.error is not None
    assert refused.error.retry_after > 0
    assert Attempt(slowdown, "ann", HOME).is_made, "from another address the owner gets through"
    assert Attempt(slowdown, "bob", AWAY).is_made
    answer.set()
    settle()
    assert Attempt(slowdown, "ann", AWAY).is_made


@pytest.mark.parametrize(("account", "address"), [("", ""), ("", AWAY), ("ann", "")])
def test_who_comes_from_nowhere_and_what_concerns_no_account_has_no_such_bound(
    slowdown: Slowdown, clock: TurnedClock, account: str, address: str
) -> None:
    answer = Flag()

    attempts = [Attempt(slowdown, account, address, answer.wait) for _ in range(10)]

    clock.advance(ACCOUNT_DELAYS[-1])
    settle()
    assert all(attempt.is_made for attempt in attempts)
    answer.set()


def test_who_is_refused_is_not_counted(slowdown: Slowdown, clock: TurnedClock) -> None:
    answer = Flag()
    for _ in range(PAIR):
        Attempt(slowdown, "ann", AWAY, answer.wait)
    for _ in range(50):
        assert Attempt(slowdown, "ann", AWAY).error
    answer.set()
    settle()

    assert wait_of(slowdown, clock, "ann", AWAY) == 0


def slow_down(slowdown: Slowdown, address: str) -> None:
    for number in range(20):
        fail(slowdown, f"{address} {number}", address)


def test_an_address_that_takes_all_places_gives_them_up_for_others(slowdown: Slowdown, clock: TurnedClock) -> None:
    slow_down(slowdown, AWAY)
    guesses = [Attempt(slowdown, f"guess {number}", AWAY) for number in range(WAITING)]
    assert not any(guess.is_made or guess.error for guess in guesses)
    fail(slowdown, "ann", AWAY, 4)

    assert Attempt(slowdown, "one guess more", AWAY).error
    owner = Attempt(slowdown, "ann", HOME)

    assert owner.error is None
    assert [guess for guess in guesses if guess.error] == [guesses[-1]], "who came last has to go"
    clock.advance(ACCOUNT_DELAYS[-1])
    settle()
    assert owner.is_made
    assert all(guess.is_made for guess in guesses[:-1])


def test_the_owner_logs_in_while_somebody_guesses_without_end(slowdown: Slowdown, clock: TurnedClock) -> None:
    under_attack = True

    def guess() -> None:
        while under_attack:
            try:
                with slowdown.attempt("ann", AWAY):
                    slowdown.failed("ann", AWAY)
            except TooManyAttempts:
                gevent.sleep(0)

    attackers = [gevent.spawn(guess) for _ in range(10)]
    for _ in range(60):
        clock.advance(1)
        settle_a_little()

    waited = wait_of_owner(slowdown, clock)

    assert 0 < waited <= ACCOUNT_DELAYS[-1]
    under_attack = False
    clock.advance(ACCOUNT_DELAYS[-1])
    gevent.joinall(attackers, timeout=5, raise_error=True)
    assert all(attacker.ready() for attacker in attackers)


def settle_a_little() -> None:
    """Turns for all who want one, though some always want another one."""
    for _ in range(3):
        gevent.sleep(0)


def wait_of_owner(slowdown: Slowdown, clock: TurnedClock) -> float:
    made = Flag()

    def log_in() -> None:
        with slowdown.attempt("ann", HOME):
            made.set()

    owner = gevent.spawn(log_in)
    seconds = 0.0
    while not made.is_set() and seconds < 20:
        settle_a_little()
        clock.advance(0.5)
        seconds += 0.5
        settle_a_little()
    owner.get(timeout=5)
    return seconds


def test_memory_is_bounded_and_those_who_fail_most_are_not_forgotten(slowdown: Slowdown, clock: TurnedClock) -> None:
    fail(slowdown, "ann", "", 7)
    for number in range(2 * REMEMBERED):
        fail(slowdown, f"guess {number}", "")

    assert len(slowdown._accounts._until) <= REMEMBERED
    assert wait_of(slowdown, clock, "ann", "") == ACCOUNT_DELAYS[-1]


def test_nothing_is_kept_of_those_who_have_come_and_gone(slowdown: Slowdown, clock: TurnedClock) -> None:
    fail(slowdown, "ann", AWAY, 20)
    assert wait_of(slowdown, clock, "ann", AWAY) == ACCOUNT_DELAYS[-1]

    assert (slowdown._pairs, slowdown._waiting) == ({}, {})
    assert (slowdown._accounts._under_way, slowdown._addresses._under_way) == ({}, {})
