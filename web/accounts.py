"""The standalone site's users: who has registered, what they call themselves, and who knows the password.

An embedding application has users of its own and needs nothing of this.  Accounts live in the same database as the chat;
a name is given away once, for a username is a permanent identity.
"""

import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from unicodedata import normalize

from flask_login import UserMixin
from sqlalchemy import ColumnElement, DateTime, Index, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from chat.clock import Clock, SystemClock
from chat.database import Base, Database
from chat.errors import ChatError, InvalidUser
from chat.names import check_display_name, check_username
from web.passwords import Passwords
from web.slowdown import Slowdown

# Default_Ignorable_Code_Point without those of category Cf and Cn, which no name can hold: they are drawn as nothing, so
# "ann" with one of them looks like "ann".  toNFKC_Casefold leaves them out (Unicode 3.13, D146).
INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

HANDED_OUT: Final = timedelta(hours=24)  # for which a password that the operator chose lets somebody in

NOBODY: Final = "\n"  # the key of all names that cannot exist; no name holds a line break


class NameTaken(ChatError):
    """Somebody has that name, or one that reads the same."""

    code = "name_taken"
    text = "this name is taken"


class WrongLogin(ChatError):
    """No such user, or not that user's password; which of the two is not told."""

    code = "wrong_login"
    text = "the name or the password is wrong"


class NoAccount(ChatError):
    """There is no account of that name."""

    code = "no_account"

    def __init__(self, username: str = "") -> None:
        self.username = username

    def __str__(self) -> str:
        return f"nobody is called {self.username!r} here"


class AccountRow(Base):
    """One registered user."""

    __tablename__ = "chat_accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    """The username as `name_key` folds it."""
    password_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    display_name: Mapped[str] = mapped_column(default="")
    display_key: Mapped[str | None]
    """The display name as `name_key` folds it."""
    password_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When a password that the operator handed out stops to let anybody in; none of the user's own does."""
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Since when nobody may log in as this user."""


Index("chat_accounts_display_key", AccountRow.display_key)


@dataclass(frozen=True, slots=True)
class Account(UserMixin):  # type: ignore[misc]  # flask-login has no types
    """A user as the rest of the site sees it."""

    id: int
    username: str
    display_name: str = ""
    """What others read in place of the username; "" is none."""
    sid: str = ""
    """The login by which they are here; "" outside of one.  No secret."""
    token: str = field(default="", repr=False, compare=False)
    """What proves that login, of which the database has a hash; "" outside of one."""
    proof: str = field(default="", repr=False, compare=False)
    """The hash that their password was just checked against; "" where none was."""

    def get_id(self) -> str:
        """What flask-login keeps in the session: a login and not the account, so that it can be ended here."""
        return self.token


def name_key(username: str) -> str:
    """Return what all names that read the same have in common.  Raises: InvalidUser."""
    folded = normalize("NFKC", normalize("NFKC", username).casefold())
    key = INVISIBLE.sub("", folded).strip()
    if not key:
        raise InvalidUser(username, "has nothing visible in its name")
    return key


class Accounts:
    """Register, verify and change.  `database` is asked in requests only: there is none before the worker runs.

    `address` is where somebody asks from, as `web.address.network` returns it.
    """

    def __init__(
        self, database: Callable[[], Database], passwords: Passwords, slowdown: Slowdown, clock: Clock | None = None
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._slowdown = slowdown
        self._clock = clock or SystemClock()

    def register(self, username: str, password: str, address: str = "") -> Account:
        """Make an account.  Blocks.

        Raises: InvalidUser, NameTaken, WeakPassword, TooManyAttempts, TooManyLogins, DatabaseUnavailable.
        """
        name = check_username(username)
        key = name_key(name)
        with self._slowdown.attempt("", address):
            if self._database().look(lambda session: _is_taken(session, key)):  # before the hash, which is the dear part
                self._slowdown.failed("", address)  # or one could ask for all names
                raise NameTaken
            stored = self._passwords.hash(password, name)
            row = AccountRow(username=name, key=key, password_hash=stored, created_at=datetime.now(UTC))
            self._slowdown.failed("", address)  # it worked, but nobody needs many
            try:
                return self._database().run(lambda session: _insert(session, row))
            except IntegrityError as exc:  # somebody took the name while the password was hashed
                raise NameTaken from exc

    def verify(self, username: str, password: str, address: str = "") -> Account:
        """Return the account whose password this is.  Blocks, for seconds after many failures.

        Raises: WrongLogin, after as much work for a name that is unknown or disabled too; TooManyAttempts, TooManyLogins,
        DatabaseUnavailable.
        """
        key = _key_or_nobody(username)
        with self._slowdown.attempt(key, address):
            found = self._database().look(lambda session: _find(session, key, self._clock.now()))
            account, stored = found or (None, None)
            if not self._passwords.matches(password, stored) or account is None or stored is None:
                self._slowdown.failed(key, address)
                raise WrongLogin
            self._slowdown.succeeded(key)
        proof = self._renew(account, password, stored)
        if proof is None:
            return self.verify(username, password, address)
        return replace(account, proof=proof)

    def _renew(self, account: Account, password: str, stored: str) -> str | None:
        """Give a hash the costs of today; return the one that is stored now, None where somebody else has replaced it."""
        with suppress(ChatError):  # this can wait for another login
            if renewed := self._passwords.renewed(password, stored):
                done = self._database().run(lambda session: _replace(session, account.id, stored, renewed))
                return renewed if done else None
        return stored

    def password_change(self, account: Account, current: str, new: str, address: str = "") -> Callable[[Session], None]:
        """Return what sets a new password, in a transaction in which more can be done.  Blocks.

        Raises: WeakPassword, and what `verify` raises.  What is returned raises WrongLogin when the password was changed
        since.
        """
        proof = self.verify(account.username, current, address).proof
        stored = self._passwords.hash(new, account.username)

        def change(session: Session) -> None:
            if not _replace(session, account.id, proof, stored):
                raise WrongLogin
            _set(session, account.id, password_until=None)

        return change

    def set_display_name(self, account: Account, name: str) -> None:
        """Set what others read, in NFC; "" is nothing.  Blocks.

        Raises: InvalidUser, DatabaseUnavailable; NameTaken when it reads like somebody else's user name.
        """
        checked = check_display_name(name) if name else ""
        key = name_key(checked) if checked else None
        self._database().run(lambda session: _set_display_name(session, account.id, checked, key))

    # For the operator

    def hand_out_password(self, username: str, ended: Callable[[Session, int], None]) -> tuple[str, bool]:
        """Give a user a new random password, good for HANDED_OUT unless the user changes it.  Blocks.

        Return it, and whether it lets the user in: not while the account is disabled.
        `ended` gets the account's id in the same transaction.  Raises: NoAccount, TooManyLogins, DatabaseUnavailable.
        """
        password = secrets.token_urlsafe(12)  # 96 bits
        stored = self._passwords.hash(password, username)
        until = self._clock.now() + HANDED_OUT
        return password, self._change(username, ended, password_hash=stored, password_until=until)

    def disable(self, username: str, ended: Callable[[Session, int], None]) -> None:
        """Let nobody log in as this user until `enable`; the name stays taken.  Blocks.  Raises: as above."""
        self._change(username, ended, disabled_at=self._clock.now())

    def enable(self, username: str) -> bool:
        """Take `disable` back; tell whether that lets the user in.  Blocks.  Raises: as above.

        It does not where the password was handed out and has run out.
        """
        return self._change(username, None, disabled_at=None)

    def _change(self, username: str, ended: Callable[[Session, int], None] | None, **values: object) -> bool:
        """Tell whether the user may log in afterwards."""

        def change(session: Session) -> bool:
            id = find_id(session, username)
            _set(session, id, **values)
            if ended is not None:
                ended(session, id)
            may_enter = select(AccountRow.id).where(AccountRow.id == id, *_may_enter(self._clock.now()))
            return session.scalar(may_enter) is not None

        return self._database().run(change)

    def close(self) -> None:
        """End the threads that hash.  Blocks; idempotent.  The database is not ours to close."""
        self._passwords.close()


def account_of(row: AccountRow, sid: str = "", token: str = "") -> Account:
    """Return the account in a row, and the login by which it is here."""
    return Account(row.id, row.username, row.display_name, sid, token)


def find_id(session: Session, username: str) -> int:
    """Return the id of the account of that name, however it is written.  Raises: NoAccount."""
    id = session.scalar(select(AccountRow.id).where(AccountRow.key == _key_or_nobody(username)))
    if id is None:
        raise NoAccount(username)
    return id


def _key_or_nobody(username: str) -> str:
    """A name that cannot exist gets the key that nobody has."""
    try:
        return name_key(check_username(username))
    except InvalidUser:
        return NOBODY


def _may_enter(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Of accounts: what lets somebody log in who has the password."""
    is_good = or_(AccountRow.password_until.is_(None), AccountRow.password_until > now)
    return AccountRow.disabled_at.is_(None), is_good


def _find(session: Session, key: str, now: datetime) -> tuple[Account, str] | None:
    """The account and the hash of a user who may log in."""
    row = session.scalar(select(AccountRow).where(AccountRow.key == key, *_may_enter(now)))
    return (account_of(row), row.password_hash) if row else None


def _is_taken(session: Session, key: str) -> bool:
    """By a user, or by somebody who is shown by that name and would be taken for its user."""
    taken = select(AccountRow.id).where(or_(AccountRow.key == key, AccountRow.display_key == key))
    return session.scalar(taken.limit(1)) is not None


def _hold(session: Session, key: str) -> None:
    """Let nobody else take `key` until the transaction ends, for as user and as display name it is in two columns.  SQLite
    has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))


def _insert(session: Session, row: AccountRow) -> Account:
    _hold(session, row.key)
    if _is_taken(session, row.key):
        raise NameTaken
    session.add(row)
    session.flush()
    return account_of(row)


def _set(session: Session, id: int, **values: object) -> None:
    session.execute(update(AccountRow).where(AccountRow.id == id).values(values))


def _replace(session: Session, id: int, before: str, after: str) -> bool:
    """Replace a hash, unless another one has taken its place meanwhile; tell whether it was replaced."""
    row = update(AccountRow).where(AccountRow.id == id, AccountRow.password_hash == before)
    return session.scalar(row.values(password_hash=after).returning(AccountRow.id)) is not None


def _set_display_name(session: Session, id: int, name: str, key: str | None) -> None:
    if key is not None:
        _hold(session, key)
        if session.scalar(select(AccountRow.id).where(AccountRow.key == key, AccountRow.id != id)) is not None:
            raise NameTaken
    _set(session, id, display_name=name, display_key=key)
