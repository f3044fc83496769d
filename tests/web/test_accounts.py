"""Accounts: names that are given away once, what their users are called, and passwords."""

import threading
from collections.abc import Callable

import gevent
import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chat.database import Database, upgrade
from chat.errors import InvalidUser
from chat.testing import TurnedClock
from tests.postgres import OneDatabase
from web.accounts import Account, AccountRow, Accounts, NameTaken, WrongLogin
from web.passwords import HASHER, Passwords, WeakPassword
from web.schema import ACCOUNTS
from web.slowdown import ACCOUNT_DELAYS, ADDRESS_DELAYS, Slowdown, TooManyAttempts

GOOD, BETTER = "correct horse", "battery staple"
HOME, AWAY = "192.0.2.1", "198.51.100.7"
PATIENCE = 10.0  # seconds


@pytest.fixture
def accounts(database: Database, passwords: Passwords, clock: TurnedClock) -> Accounts:
    return Accounts(lambda: database, passwords, Slowdown(clock))


def stored_hash(database: Database, username: str) -> str:
    found = database.run(lambda session: session.scalar(select(AccountRow.password_hash).filter_by(username=username)))
    assert found is not None
    return found


def test_who_has_registered_is_known_by_name_and_password(accounts: Accounts) -> None:
    account = accounts.register("ann", GOOD)

    assert accounts.verify("ann", GOOD) == account
    assert account.username == "ann"


def test_a_name_is_kept_as_it_was_written_and_found_however_it_is_written(accounts: Accounts) -> None:
    accounts.register("Ann", GOOD)

    assert accounts.verify("aNN", GOOD).username == "Ann"


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann", "wrong horse"), ("bob", GOOD), ("", GOOD), ("ann\u200b", GOOD), ("ann", "x" * 2000), ("ann", "\udc80" * 9)],
)
def test_an_unknown_name_and_a_wrong_password_are_refused_alike(accounts: Accounts, name: str, password: str) -> None:
    accounts.register("ann", GOOD)

    with pytest.raises(WrongLogin, match=r"^the name or the password is wrong$"):
        accounts.verify(name, password)


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


def test_a_weak_password_is_refused_and_the_name_stays_free(accounts: Accounts) -> None:
    with pytest.raises(WeakPassword):
        accounts.register("ann", "password1")

    accounts.register("ann", GOOD)


# Hashes of yesterday


def test_a_hash_with_the_costs_of_yesterday_is_renewed_by_a_right_password(accounts: Accounts, database: Database) -> None:
    account = accounts.register("ann", GOOD)
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(GOOD)
    database.run(lambda session: session.execute(update(AccountRow).values(password_hash=weak)) and None)

    with pytest.raises(WrongLogin):
        accounts.verify("ann", "wrong horse")
    assert stored_hash(database, "ann") == weak

    assert accounts.verify("ann", GOOD) == account
    renewed = stored_hash(database, "ann")
    assert extract_parameters(renewed) == extract_parameters(HASHER.hash(GOOD))
    assert accounts.verify("ann", GOOD) == account
    assert stored_hash(database, "ann") == renewed, "once"


def test_all_who_log_in_at_once_when_the_costs_have_changed_have_the_same_proof(
    accounts: Accounts, database: Database
) -> None:
    accounts.register("ann", GOOD)
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(GOOD)
    database.run(lambda session: session.execute(update(AccountRow).values(password_hash=weak)) and None)

    verifying = [gevent.spawn(accounts.verify, "ann", GOOD) for _ in range(3)]
    gevent.joinall(verifying, timeout=10)

    assert {greenlet.get().proof for greenlet in verifying} == {stored_hash(database, "ann")}


# Changing


def test_a_new_password_takes_the_place_of_the_old_one(accounts: Accounts, database: Database) -> None:
    account = accounts.register("ann", GOOD)

    database.run(accounts.password_change(account, GOOD, BETTER))

    assert accounts.verify("ann", BETTER) == account
    with pytest.raises(WrongLogin):
        accounts.verify("ann", GOOD)


@pytest.mark.parametrize(
    ("current", "new", "error"), [("wrong horse", BETTER, WrongLogin), (GOOD, "ann12345", WeakPassword)]
)
def test_a_password_is_changed_by_its_owner_only_and_to_a_good_one(
    accounts: Accounts, current: str, new: str, error: type[Exception]
) -> None:
    account = accounts.register("ann", GOOD)

    with pytest.raises(error):
        accounts.password_change(account, current, new)

    assert accounts.verify("ann", GOOD) == account


def test_of_two_changes_from_one_password_the_first_stays(accounts: Accounts, database: Database) -> None:
    account = accounts.register("ann", GOOD)
    first, second = (accounts.password_change(account, GOOD, new) for new in (BETTER, "of whoever knew it"))
    database.run(first)

    with pytest.raises(WrongLogin):
        database.run(second)

    assert accounts.verify("ann", BETTER) == account


def display_name(accounts: Accounts) -> str:
    return accounts.verify("ann", GOOD).display_name


@pytest.mark.parametrize("name", ["Ann of Cleves", "ANN", "x" * 64])
def test_a_display_name_is_anything_that_a_name_may_be(accounts: Accounts, name: str) -> None:
    account = accounts.register("ann", GOOD)
    assert display_name(accounts) == ""

    accounts.set_display_name(account, name)
    assert display_name(accounts) == name

    accounts.set_display_name(account, "")
    assert display_name(accounts) == ""


@pytest.mark.parametrize("name", ["x" * 65, "a\u202eb", "\u3164"])
def test_a_display_name_that_no_user_can_have_is_refused(accounts: Accounts, name: str) -> None:
    account = accounts.register("ann", GOOD)

    with pytest.raises(InvalidUser):
        accounts.set_display_name(account, name)

    assert display_name(accounts) == ""


@pytest.mark.parametrize("name", ["bob", "BOB", "\uff22ob", "b\ufe0fob"])
def test_nobody_is_called_like_another_user(accounts: Accounts, name: str) -> None:
    account = accounts.register("ann", GOOD)
    accounts.register("bob", GOOD)

    with pytest.raises(NameTaken):
        accounts.set_display_name(account, name)

    assert display_name(accounts) == ""


class Lingering:
    """A database whose transactions stay open until they may end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.may_end = threading.Event()

    def run(self, work: Callable[[Session], object]) -> None:
        def linger(session: Session) -> None:
            work(session)
            self.may_end.wait(PATIENCE)

        self._database.run(linger)


def test_who_registers_while_somebody_takes_that_display_name_waits_and_finds_it_taken(
    postgres: OneDatabase, passwords: Passwords, clock: TurnedClock
) -> None:
    upgrade(postgres.url, ACCOUNTS)
    first, second = Database(postgres.url, ACCOUNTS), Database(postgres.url, ACCOUNTS)
    accounts = Accounts(lambda: second, passwords, Slowdown(clock))
    bob, lingering = accounts.register("bob", GOOD), Lingering(first)
    naming = gevent.spawn(Accounts(lambda: lingering, passwords, Slowdown(clock)).set_display_name, bob, "ann")
    try:
        wait_until(lambda: locks(postgres, granted=True) == 1)
        registering = gevent.spawn(accounts.register, "ann", GOOD)
        wait_until(lambda: registering.ready() or locks(postgres, granted=False) == 1)
        lingering.may_end.set()
        gevent.joinall([naming, registering], timeout=PATIENCE)
        assert isinstance(registering.exception, NameTaken)
    finally:
        lingering.may_end.set()
        first.close()
        second.close()


def locks(postgres: OneDatabase, *, granted: bool) -> int:
    """How many hold a name, or wait for one."""
    count = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE datname = %s AND locktype = 'advisory' AND granted = %s"
    )
    with postgres.connect() as connection:
        found = connection.execute(count, [postgres.name, granted]).fetchone()
    assert found is not None
    return int(str(found[0]))


def wait_until(ask: Callable[[], bool]) -> None:
    with gevent.Timeout(PATIENCE):
        while not ask():
            gevent.idle()


def test_nobody_registers_by_a_name_that_another_user_is_shown_by(accounts: Accounts) -> None:
    account = accounts.register("ann", GOOD)
    accounts.set_display_name(account, "Bob")

    with pytest.raises(NameTaken):
        accounts.register("bob", GOOD)

    accounts.set_display_name(account, "")
    accounts.register("bob", GOOD)


# Guessing


def outcome(accounts: Accounts, password: str, address: str, name: str = "ann") -> str:
    try:
        accounts.verify(name, password, address)
    except (WrongLogin, TooManyAttempts) as exc:
        return exc.code
    return "right"


@pytest.mark.parametrize("name", ["ann", "nobody", "a\nb"])
def test_who_guesses_waits_from_the_fourth_time_on_whether_there_is_such_a_user_or_not(
    accounts: Accounts, clock: TurnedClock, name: str
) -> None:
    accounts.register("ann", GOOD)
    for _ in range(3):
        assert outcome(accounts, "a guess", AWAY, name) == "wrong_login"

    fourth = gevent.spawn(outcome, accounts, "a guess", AWAY, name)
    gevent.idle()
    clock.advance(ACCOUNT_DELAYS[3] - 0.01)
    gevent.idle()
    assert not fourth.ready()

    clock.advance(0.01)
    assert fourth.get(timeout=5) == "wrong_login"


def test_the_owner_is_let_in_from_elsewhere_while_somebody_guesses_and_is_not_slow_afterwards(
    accounts: Accounts, clock: TurnedClock
) -> None:
    accounts.register("ann", GOOD)
    for _ in range(3):
        outcome(accounts, "a guess", AWAY)
    guesses = [gevent.spawn(outcome, accounts, "a guess", AWAY) for _ in range(10)]
    gevent.idle()
    assert [guess.value for guess in guesses].count("too_many_attempts") == 8

    owner = gevent.spawn(outcome, accounts, GOOD, HOME)
    gevent.idle()
    assert not owner.ready(), "slowed down"
    clock.advance(ACCOUNT_DELAYS[-1])

    assert owner.get(timeout=5) == "right"
    gevent.joinall(guesses, timeout=5, raise_error=True)
    clock.advance(600)  # what the guesses after it may have left is forgotten
    assert outcome(accounts, GOOD, HOME) == "right"


def test_a_wrong_current_password_is_a_guess_too(accounts: Accounts, clock: TurnedClock) -> None:
    account = accounts.register("ann", GOOD)
    for _ in range(3):
        with pytest.raises(WrongLogin):
            accounts.password_change(account, "a guess", BETTER, AWAY)

    fourth = gevent.spawn(outcome, accounts, GOOD, HOME)
    gevent.idle()
    assert not fourth.ready()

    clock.advance(ACCOUNT_DELAYS[3])
    assert fourth.get(timeout=5) == "right"


def register(accounts: Accounts, name: str, address: str) -> Account | None:
    try:
        return accounts.register(name, GOOD, address)
    except NameTaken:
        return None


def test_registrations_count_towards_the_address_also_when_the_name_is_taken(
    accounts: Accounts, clock: TurnedClock
) -> None:
    for number in range(10):
        assert register(accounts, f"user {number}", AWAY)
        assert register(accounts, f"user {number}", AWAY) is None

    next_one = gevent.spawn(register, accounts, "ann", AWAY)
    gevent.idle()
    assert not next_one.ready()
    assert register(accounts, "bob", HOME)

    clock.advance(ADDRESS_DELAYS[20])
    assert next_one.get(timeout=5)
