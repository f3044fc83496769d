"""Logins: how long they last, and how they are ended from here."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, Session

from chat.database import Database
from chat.errors import DatabaseUnavailable
from chat.testing import TurnedClock
from tests.web.site import settle
from web.accounts import Account, Accounts, WrongLogin
from web.logins import MAX_AGENT, MOST, LoginRow, Logins, expire
from web.passwords import Passwords
from web.slowdown import Slowdown

SESSION, REMEMBERED, LIFETIME = 1000.0, 10_000.0, 100_000.0
AGENT = "Mozilla/5.0"


@pytest.fixture
def ended() -> list[str]:
    """The `sid` of each login that was ended."""
    return []


@pytest.fixture
def logins(database: Database, clock: TurnedClock, ended: list[str]) -> Logins:
    return make_logins(database, clock, ended)


def make_logins(
    database: Database, clock: TurnedClock, ended: list[str], session: float = SESSION, lifetime: float = LIFETIME
) -> Logins:
    return Logins(
        lambda: database, clock, ended.append, session_lifetime=session, remember_lifetime=REMEMBERED, lifetime=lifetime
    )


@pytest.fixture
def accounts(database: Database, passwords: Passwords, clock: TurnedClock) -> Accounts:
    return Accounts(lambda: database, passwords, Slowdown(clock))


@pytest.fixture
def ann(accounts: Accounts) -> Account:
    return accounts.register("ann", "correct horse")


def test_a_login_says_who_it_is_and_has_a_name_that_nobody_guesses(logins: Logins, ann: Account) -> None:
    account = logins.start(ann, AGENT, remember=False)

    assert account.username == "ann"
    assert account.get_id() == account.token
    assert len(account.token) >= 43, "256 bits in base64"
    assert account.token not in repr(account)
    use = logins.find(account.token)
    assert use is not None
    assert use.account == account


@pytest.mark.parametrize("token", ["", "1", "somebody else's"])
def test_what_names_no_login_is_nobody(logins: Logins, ann: Account, token: str) -> None:
    logins.start(ann, AGENT, remember=False)

    assert logins.find(token) is None
    assert logins.recall(token) is None


def test_only_a_remembered_login_can_be_recalled(logins: Logins, ann: Account) -> None:
    kept, other = (logins.start(ann, AGENT, remember=remember) for remember in (True, False))

    use = logins.recall(kept.token)

    assert use is not None
    assert use.account == kept, "the same login"
    assert logins.find(other.token)
    assert logins.recall(other.token) is None


@pytest.mark.parametrize("remember", [False, True])
def test_nothing_that_the_database_holds_of_a_login_lets_anybody_in(
    logins: Logins, ann: Account, database: Database, remember: bool
) -> None:
    account = logins.start(ann, AGENT, remember=remember)

    [row] = database.run(lambda session: session.execute(text("SELECT * FROM chat_logins")).all())

    assert sha256(account.token.encode()).hexdigest() in row
    assert [value for value in row if logins.find(str(value)) or logins.recall(str(value))] == []


@pytest.mark.parametrize(("remember", "lifetime"), [(False, SESSION), (True, REMEMBERED)])
def test_a_login_lasts_as_long_as_it_is_used(
    logins: Logins, ann: Account, clock: TurnedClock, remember: bool, lifetime: float
) -> None:
    account = logins.start(ann, AGENT, remember=remember)
    for _ in range(3):
        clock.advance(lifetime - 1)
        assert logins.find(account.token)

    clock.advance(lifetime)

    assert logins.find(account.token) is None
    assert logins.of(ann) == []


@pytest.mark.parametrize("remember", [False, True])
def test_however_much_a_login_is_used_it_ends_after_its_whole_lifetime(
    database: Database, ann: Account, clock: TurnedClock, ended: list[str], remember: bool
) -> None:
    logins = make_logins(database, clock, ended, lifetime=2.5 * SESSION)
    account = logins.start(ann, AGENT, remember=remember)
    for _ in range(4):
        clock.advance(SESSION / 2)
        assert logins.find(account.token)

    clock.advance(SESSION / 2)

    assert (logins.find(account.token), logins.recall(account.token), logins.of(ann)) == (None, None, [])
    logins.sweep()
    assert ended == [account.sid]


def test_a_token_lasts_no_longer_than_its_login(logins: Logins, ann: Account, clock: TurnedClock) -> None:
    token = logins.start(ann, AGENT, remember=True).token
    clock.advance(REMEMBERED)

    assert logins.recall(token) is None


def test_use_is_written_down_at_most_every_tenth_of_the_lifetime(logins: Logins, ann: Account, clock: TurnedClock) -> None:
    start = clock.now()
    account = logins.start(ann, AGENT, remember=False)
    noted, seen = [], []
    for _ in range(4):
        clock.advance(SESSION / 20)
        use = logins.find(account.token)
        assert use is not None
        noted.append(use.is_noted)
        seen.append(logins.of(ann)[0].seen_at - start)

    assert noted == [False, True, False, True]
    assert seen == [timedelta(seconds=seconds) for seconds in (0, 100, 100, 200)]


class FullDisk:
    """A database in which nothing can be changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, work: Callable[[Session], object]) -> object:
        def checked(session: Session) -> object:
            event.listen(session, "do_orm_execute", refuse_changes)
            return work(session)

        return self._database.run(checked)

    def look(self, work: Callable[[Session], object]) -> object:
        return self._database.look(work)


def refuse_changes(state: ORMExecuteState) -> None:
    if not state.is_select:
        raise DatabaseUnavailable


def test_who_is_logged_in_stays_so_while_nothing_can_be_written_down(
    logins: Logins, ann: Account, database: Database, clock: TurnedClock, ended: list[str]
) -> None:
    account = logins.start(ann, AGENT, remember=False)
    clock.advance(SESSION / 2)

    assert make_logins(FullDisk(database), clock, ended).find(account.token) == (account, False)
    assert logins.find(account.token) == (account, True)


def test_the_list_has_the_one_used_last_first_and_nobody_else_s(
    logins: Logins, ann: Account, clock: TurnedClock, database: Database, passwords: Passwords
) -> None:
    bob = Accounts(lambda: database, passwords, Slowdown(clock)).register("bob", "correct horse")
    logins.start(bob, AGENT, remember=False)
    first = logins.start(ann, "first", remember=True)
    clock.advance(1)
    second = logins.start(ann, "second\n" + "x" * 1000, remember=False)

    found = logins.of(ann)

    assert [login.sid for login in found] == [second.sid, first.sid]
    assert [login.agent for login in found] == [("second" + "x" * 1000)[:MAX_AGENT], "first"]
    assert found[0].created_at == found[0].seen_at == clock.now(), "aware, and in UTC"


# Ending


def test_a_login_too_many_ends_the_one_used_longest_ago(
    logins: Logins, ann: Account, accounts: Accounts, clock: TurnedClock, ended: list[str]
) -> None:
    bob = logins.start(accounts.register("bob", "correct horse"), AGENT, remember=False)
    started = []
    for number in range(MOST):
        started.append(logins.start(ann, AGENT, remember=number % 2 == 1))
        clock.advance(1)
    clock.advance(SESSION / 5)
    assert logins.find(started[0].token) is not None
    sids = [account.sid for account in started]
    assert ended == []

    new = logins.start(ann, AGENT, remember=False).sid

    assert ended == [sids[1]]
    assert {login.sid for login in logins.of(ann)} == {new, *sids} - {sids[1]}
    assert logins.find(bob.token) is not None


def test_a_login_too_many_is_not_the_new_one_when_the_clock_was_set_back(
    logins: Logins, ann: Account, database: Database, clock: TurnedClock, ended: list[str]
) -> None:
    first = logins.start(ann, AGENT, remember=False)
    for _ in range(MOST - 1):
        clock.advance(1)
        logins.start(ann, AGENT, remember=False)
    logins = make_logins(database, TurnedClock(clock.now() - timedelta(hours=1)), ended)

    new = logins.start(ann, AGENT, remember=False)

    assert ended == [first.sid]
    assert logins.find(new.token)


def test_a_login_that_was_ended_is_nobody_s_and_its_sockets_are_told(
    logins: Logins, ann: Account, ended: list[str]
) -> None:
    account = logins.start(ann, AGENT, remember=True)
    other = logins.start(ann, AGENT, remember=False)

    logins.end(account.sid)

    assert (logins.find(account.token), logins.recall(account.token)) == (None, None)
    assert logins.find(other.token)
    assert ended == [account.sid]


def test_one_ends_one_s_own_logins_only(
    logins: Logins, ann: Account, ended: list[str], clock: TurnedClock, database: Database, passwords: Passwords
) -> None:
    bob = Accounts(lambda: database, passwords, Slowdown(clock)).register("bob", "correct horse")
    account = logins.start(ann, AGENT, remember=False)
    [login] = logins.of(ann)

    assert not logins.end_one(bob, login.id)
    assert logins.find(account.token)
    assert logins.end_one(ann, login.id)
    assert not logins.end_one(ann, login.id)
    assert ended == [account.sid]


def test_all_others_are_ended_and_the_one_that_stays_has_a_new_token(
    logins: Logins, ann: Account, ended: list[str]
) -> None:
    first, here, last = (logins.start(ann, AGENT, remember=remember) for remember in (False, True, False))

    token = logins.end_others(here, lambda _session: None)

    assert sorted(ended) == sorted([first.sid, last.sid])
    assert [login.sid for login in logins.of(ann)] == [here.sid]
    assert (logins.find(here.token), logins.recall(here.token)) == (None, None)
    use = logins.recall(token)
    assert use is not None
    assert use.account == here


def test_all_are_ended(logins: Logins, ann: Account, ended: list[str]) -> None:
    sids = [logins.start(ann, AGENT, remember=remember).sid for remember in (False, True)]

    logins.end_all(ann)

    assert logins.of(ann) == []
    assert sorted(ended) == sorted(sids)


def test_what_cannot_be_done_first_ends_no_login(logins: Logins, ann: Account, ended: list[str]) -> None:
    account = logins.start(ann, AGENT, remember=False)

    def fail(_session: Session) -> None:
        raise WrongLogin

    with pytest.raises(WrongLogin):
        logins.end_others(ann, fail)

    assert [login.sid for login in logins.of(ann)] == [account.sid]
    assert ended == []


def test_what_is_done_first_is_taken_back_when_no_login_can_be_ended(
    logins: Logins, ann: Account, accounts: Accounts, database: Database
) -> None:
    change = accounts.password_change(ann, "correct horse", "battery staple")
    database.run(lambda session: session.execute(text("ALTER TABLE chat_logins RENAME TO elsewhere")) and None)

    with pytest.raises((DatabaseUnavailable, SQLAlchemyError)):
        logins.end_others(ann, change)

    assert accounts.verify("ann", "correct horse") == ann


def test_a_password_that_was_changed_since_it_was_checked_starts_no_login(
    logins: Logins, ann: Account, accounts: Accounts, database: Database
) -> None:
    early, late = accounts.verify("ann", "correct horse"), accounts.verify("ann", "correct horse")
    logins.start(early, AGENT, remember=False)

    database.run(accounts.password_change(ann, "correct horse", "battery staple"))

    with pytest.raises(WrongLogin):
        logins.start(late, AGENT, remember=False)
    logins.start(accounts.verify("ann", "battery staple"), AGENT, remember=False)
    assert len(logins.of(ann)) == 2


@pytest.mark.parametrize("whose", ["ann's", "all"])
def test_logins_that_another_process_has_expire_let_nobody_in_and_are_swept(
    logins: Logins, ann: Account, accounts: Accounts, ended: list[str], database: Database, whose: str
) -> None:
    own = [logins.start(ann, AGENT, remember=remember) for remember in (False, True)]
    bob = logins.start(accounts.register("bob", "correct horse"), AGENT, remember=False)

    database.run(lambda session: expire(session, ann.id if whose == "ann's" else None))

    over = own if whose == "ann's" else [*own, bob]
    assert [account for account in (*own, bob) if logins.find(account.token) is None] == over
    assert ended == []
    logins.sweep()
    assert sorted(ended) == sorted(account.sid for account in over)


def test_an_account_that_was_disabled_since_its_password_was_checked_starts_no_login(
    logins: Logins, ann: Account, accounts: Accounts
) -> None:
    checked = accounts.verify("ann", "correct horse")
    accounts.disable("ann", expire)

    with pytest.raises(WrongLogin):
        logins.start(checked, AGENT, remember=False)


# The sweep


def test_the_sweep_ends_what_has_expired_and_goes_on(
    logins: Logins, ann: Account, clock: TurnedClock, ended: list[str], database: Database
) -> None:
    first = logins.start(ann, AGENT, remember=False)
    logins.begin()
    clock.advance(SESSION / 2)
    settle(database)
    second = logins.start(ann, AGENT, remember=False)
    kept = logins.start(ann, AGENT, remember=True)

    clock.advance(SESSION / 2)
    settle(database)
    assert ended == [first.sid]
    clock.advance(SESSION / 2)
    settle(database)
    assert ended == [first.sid, second.sid]

    logins.stop()
    left = database.run(lambda session: list(session.scalars(select(LoginRow.sid))))
    assert left == [kept.sid]


@pytest.mark.parametrize(("lifetime", "interval"), [(86_400.0, 60.0), (40.0, 10.0)])
def test_it_sweeps_every_minute_and_more_often_when_lifetimes_are_short(
    database: Database, ann: Account, clock: TurnedClock, ended: list[str], lifetime: float, interval: float
) -> None:
    logins = make_logins(database, clock, ended, lifetime)
    account = logins.start(ann, AGENT, remember=False)
    clock.advance(lifetime)
    logins.begin()

    clock.advance(interval - 0.01)
    settle(database)
    assert ended == []
    clock.advance(0.01)
    settle(database)

    assert ended == [account.sid]
    logins.stop()


def test_a_sweep_that_fails_is_followed_by_another(
    logins: Logins, ann: Account, clock: TurnedClock, ended: list[str], database: Database
) -> None:
    account = logins.start(ann, AGENT, remember=False)
    clock.advance(SESSION)
    database.run(lambda session: session.execute(text("ALTER TABLE chat_logins RENAME TO away")) and None)
    logins.begin()
    clock.advance(60)
    settle(database)

    database.run(lambda session: session.execute(text("ALTER TABLE away RENAME TO chat_logins")) and None)
    clock.advance(60)
    settle(database)

    logins.stop()
    assert ended == [account.sid]


def test_a_sweep_that_was_stopped_does_not_come(
    logins: Logins, ann: Account, clock: TurnedClock, ended: list[str], database: Database
) -> None:
    logins.start(ann, AGENT, remember=False)
    logins.begin()
    logins.stop()
    logins.stop()

    clock.advance(10 * SESSION)
    settle(database)

    assert ended == []
    assert database.run(lambda session: session.scalar(select(LoginRow.sid)))
