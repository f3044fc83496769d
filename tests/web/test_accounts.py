"""Accounts and passwords."""

from collections.abc import Iterator

import gevent
import pytest
from argon2 import extract_parameters

from chat.database import Database
from chat.errors import InvalidUser
from web.accounts import TRIES, Accounts, NameTaken, WrongLogin
from web.passwords import HASHER, NOBODY, THREADS, WAITING, Passwords, TooManyLogins, WeakPassword
from web.schema import ACCOUNTS

GOOD = "correct horse"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.fixture
def accounts(passwords: Passwords) -> Iterator[Accounts]:
    database = Database("sqlite:///:memory:", ACCOUNTS)
    yield Accounts(lambda: database, passwords)
    database.close()


def test_who_has_registered_is_known_by_name_and_password(accounts: Accounts) -> None:
    account = accounts.register("ann", GOOD)

    assert accounts.verify("ann", GOOD) == account
    assert accounts.get(account.id) == account
    assert account.username == "ann"


def test_a_name_is_kept_as_it_was_written_and_found_however_it_is_written(accounts: Accounts) -> None:
    accounts.register("Ann", GOOD)

    assert accounts.verify("aNN", GOOD).username == "Ann"


def test_nobody_has_an_id_that_was_never_given_out(accounts: Accounts) -> None:
    assert accounts.get(17) is None


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann", "wrong horse"), ("bob", GOOD), ("", GOOD), ("ann\u200b", GOOD), ("ann", "x" * 2000), ("ann", "\udc80" * 9)],
)
def test_an_unknown_name_and_a_wrong_password_are_refused_alike(accounts: Accounts, name: str, password: str) -> None:
    accounts.register("ann", GOOD)

    with pytest.raises(WrongLogin, match=r"^the name or the password is wrong$"):
        accounts.verify(name, password)


def test_what_is_checked_for_an_unknown_name_costs_as_much_as_a_real_hash(passwords: Passwords) -> None:
    assert extract_parameters(NOBODY) == extract_parameters(HASHER.hash(GOOD))
    assert HASHER.verify(NOBODY, "nobody has this"), "so the whole of it is computed"
    assert not passwords.matches("nobody has this", None)


@pytest.mark.parametrize(
    "other",
    ["ann", "ANN", "\uff21nn", "a\ufe0fnn", "ann\u034f", "ann\u3164"],
    ids=["same", "capitals", "full width", "variation selector", "grapheme joiner", "hangul filler"],
)
def test_a_name_that_reads_like_another_is_taken(accounts: Accounts, other: str) -> None:
    accounts.register("ann", GOOD)

    with pytest.raises(NameTaken):
        accounts.register(other, GOOD)


@pytest.mark.parametrize("name", ["", " ann", "a" * 65, "a\u202eb", "\u3164", "\ufe0f"])
def test_a_name_that_no_user_can_have_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(InvalidUser):
        accounts.register(name, GOOD)


@pytest.mark.parametrize("password", ["", "seven 7", "x" * 1025])
def test_a_password_of_the_wrong_length_is_refused_and_the_name_stays_free(accounts: Accounts, password: str) -> None:
    with pytest.raises(WeakPassword):
        accounts.register("ann", password)

    accounts.register("ann", GOOD)


def test_a_password_typed_on_another_keyboard_is_the_same(accounts: Accounts) -> None:
    accounts.register("ann", "caf\u00e9 cr\u00e8me")

    accounts.verify("ann", "cafe\u0301 cre\u0300me")


def test_of_two_who_want_a_name_at_the_same_time_one_gets_it(accounts: Accounts) -> None:
    both = [gevent.spawn(_outcome, accounts, name) for name in ("ann", "Ann")]
    gevent.joinall(both, raise_error=True)

    assert sorted(str(greenlet.value) for greenlet in both) == ["registered", "taken"]


def _outcome(accounts: Accounts, name: str) -> str:
    try:
        accounts.register(name, GOOD)
    except NameTaken:
        return "taken"
    return "registered"


def test_others_go_on_while_a_password_is_hashed(passwords: Passwords) -> None:
    order: list[str] = []

    def hash_one() -> None:
        passwords.hash(GOOD)
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
    assert passwords.matches(GOOD, passwords.hash(GOOD))


def test_who_guesses_at_one_account_does_not_fill_the_queue_for_all(accounts: Accounts) -> None:
    accounts.register("ann", GOOD)
    accounts.register("bob", GOOD)
    guesses = [gevent.spawn(_guess, accounts, "ann", f"guess {number}") for number in range(60)]
    gevent.idle()

    assert accounts.verify("bob", GOOD).username == "bob"
    gevent.joinall(guesses, raise_error=True)
    assert [guess.value for guess in guesses].count(WrongLogin) == TRIES
    assert accounts.verify("ann", GOOD).username == "ann"


def _guess(accounts: Accounts, name: str, password: str) -> type[Exception]:
    try:
        accounts.verify(name, password)
    except (WrongLogin, TooManyLogins) as exc:
        return type(exc)
    raise AssertionError("the guess was right")


def test_a_damaged_hash_matches_nothing(passwords: Passwords) -> None:
    assert not passwords.matches(GOOD, "$argon2id$damaged")
