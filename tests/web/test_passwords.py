"""Passwords: which are too weak, and what they are hashed with."""

import gevent
import pytest
from argon2 import PasswordHasher, extract_parameters

from web.passwords import HASHER, MAX_LENGTH, NOBODY, THREADS, WAITING, Passwords, TooManyLogins, WeakPassword

GOOD = "correct horse"


def test_what_is_checked_for_an_unknown_name_costs_as_much_as_a_real_hash(passwords: Passwords) -> None:
    assert extract_parameters(NOBODY) == extract_parameters(HASHER.hash(GOOD))
    assert HASHER.verify(NOBODY, "nobody has this"), "so the whole of it is computed"
    assert not passwords.matches("nobody has this", None)


def test_others_go_on_while_a_password_is_hashed(passwords: Passwords) -> None:
    order: list[str] = []

    def hash_one() -> None:
        passwords.hash(GOOD, "ann")
        order.append("hashed")

    hashing = gevent.spawn(hash_one)
    other = gevent.spawn(order.append, "other")  # a hash on the hub would come first
    hashing.get()
    other.get()

    assert order == ["other", "hashed"]


def test_a_hash_too_many_is_refused_at_once_and_the_others_are_done(passwords: Passwords) -> None:
    waiting = [gevent.spawn(passwords.matches, GOOD, None) for _ in range(THREADS + WAITING)]
    gevent.idle()

    with pytest.raises(TooManyLogins):
        passwords.matches(GOOD, None)

    gevent.joinall(waiting, raise_error=True)
    assert passwords.matches(GOOD, passwords.hash(GOOD, "ann"))


def test_a_damaged_hash_matches_nothing(passwords: Passwords) -> None:
    assert not passwords.matches(GOOD, "$argon2id$damaged")


@pytest.mark.parametrize("password", ["", "seven 7", "x" * (MAX_LENGTH + 1)])
def test_a_password_of_the_wrong_length_is_refused(passwords: Passwords, password: str) -> None:
    with pytest.raises(WeakPassword, match=r"^a password has 8 to 1024 characters$"):
        passwords.hash(password, "ann")


@pytest.mark.parametrize("password", ["password", "PassWord1", "12345678", "iloveyou", "\uff11\uff12\uff13\uff145678"])
def test_a_password_that_many_people_use_is_refused_however_it_is_written(passwords: Passwords, password: str) -> None:
    with pytest.raises(WeakPassword, match="many people use"):
        passwords.hash(password, "ann")


@pytest.mark.parametrize("password", ["Zebedee Quux", "zebedee quux", "ZEBEDEE QUUX2026", "\uff3aebedee Quux\uff11"])
def test_a_password_that_is_the_user_name_is_refused_and_so_it_is_with_digits_after_it(
    passwords: Passwords, password: str
) -> None:
    with pytest.raises(WeakPassword, match="is the user name, or that with digits after it"):
        passwords.hash(password, "Zebedee Quux")


@pytest.mark.parametrize("password", ["ann and 7 others", "7annotated", "x" * 8, "x" * MAX_LENGTH, "\U0001f600" * 8])
def test_any_other_password_will_do(passwords: Passwords, password: str) -> None:
    assert passwords.matches(password, passwords.hash(password, "ann"))


def test_the_list_of_common_ones_is_read_once_however_many_want_it(passwords: Passwords) -> None:
    both = [gevent.spawn(passwords._common_ones) for _ in range(2)]
    gevent.joinall(both, raise_error=True)

    assert both[0].value is both[1].value
    assert len(both[0].value) > 10_000


@pytest.mark.parametrize("costs", [{"time_cost": 1}, {"memory_cost": 64}])
def test_a_hash_with_other_costs_is_renewed_and_one_with_those_of_today_is_kept(
    passwords: Passwords, costs: dict[str, int]
) -> None:
    today = passwords.hash(GOOD, "ann")
    yesterday = PasswordHasher(**{"time_cost": 2, "memory_cost": 19456, "parallelism": 1, **costs}).hash(GOOD)

    assert passwords.renewed(GOOD, today) is None
    renewed = passwords.renewed(GOOD, yesterday)
    assert renewed
    assert passwords.matches(GOOD, renewed)
    assert passwords.renewed(GOOD, renewed) is None
