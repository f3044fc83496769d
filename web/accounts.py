"""The standalone site's users: who has registered, and who knows the password.

An embedding application has users of its own and needs nothing of this.  Accounts live in the same database as the chat,
reached through its one thread; a name is given away once, for a username is a permanent identity.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar
from unicodedata import normalize

from flask_login import UserMixin
from sqlalchemy import DateTime, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from chat.database import Base, Database
from chat.errors import ChatError, InvalidUser
from chat.names import check_username
from web.passwords import Passwords, TooManyLogins

T = TypeVar("T")

# Default_Ignorable_Code_Point without those of category Cf and Cn, which no name can hold: they are drawn as nothing, so
# "ann" with one of them looks like "ann".  toNFKC_Casefold leaves them out (Unicode 3.13, D146).
INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


TRIES: Final = 2  # logins of one name at a time: who guesses at one account must not fill the queue for all


class NameTaken(ChatError):
    """Somebody has that name, or one that reads the same."""

    code = "name_taken"
    text = "this name is taken"


class WrongLogin(ChatError):
    """No such user, or not that user's password; which of the two is not told."""

    code = "wrong_login"
    text = "the name or the password is wrong"


class AccountRow(Base):
    """One registered user."""

    __tablename__ = "chat_accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    """The username as `name_key` folds it."""
    password_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True, slots=True, eq=False)  # UserMixin compares by id
class Account(UserMixin):  # type: ignore[misc]  # flask-login has no types
    """A user as the rest of the site sees it."""

    id: int
    username: str


def name_key(username: str) -> str:
    """Return what all names that read the same have in common.  Raises: InvalidUser."""
    folded = normalize("NFKC", normalize("NFKC", username).casefold())
    key = INVISIBLE.sub("", folded).strip()
    if not key:
        raise InvalidUser(username, "has nothing visible in its name")
    return key


class Accounts:
    """Register and verify.  `database` is asked in requests only: there is none before the worker runs."""

    def __init__(self, database: Callable[[], Database], passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords
        self._trying: Counter[str] = Counter()  # logins under way, by key

    def register(self, username: str, password: str) -> Account:
        """Make an account.  Blocks.

        Raises: InvalidUser, NameTaken, WeakPassword, TooManyLogins, DatabaseUnavailable.
        """
        name = check_username(username)
        key = name_key(name)
        if self._database().run(lambda session: _find(session, key)):  # before the hash, which is the dear part
            raise NameTaken
        row = AccountRow(username=name, key=key, password_hash=self._passwords.hash(password), created_at=datetime.now(UTC))
        try:
            return self._database().run(lambda session: _insert(session, row))
        except IntegrityError as exc:  # somebody took the name while the password was hashed
            raise NameTaken from exc

    def verify(self, username: str, password: str) -> Account:
        """Return the account whose password this is.  Blocks.

        Raises: WrongLogin, for an unknown name too and after as much work; TooManyLogins, DatabaseUnavailable.
        """
        key = _key_or_nothing(username)
        if self._trying[key] >= TRIES:
            raise TooManyLogins
        self._trying[key] += 1
        try:
            found = self._database().run(lambda session: _find(session, key))
            account, stored = found or (None, None)
            if not self._passwords.matches(password, stored) or account is None:
                raise WrongLogin
            return account
        finally:
            self._trying[key] -= 1
            if not self._trying[key]:
                del self._trying[key]

    def get(self, id: int) -> Account | None:
        """Return the account.  Blocks.  Raises: DatabaseUnavailable."""
        return self._database().run(lambda session: _get(session, id))

    def close(self) -> None:
        """End the threads that hash.  Blocks; idempotent.  The database is not ours to close."""
        self._passwords.close()


def _key_or_nothing(username: str) -> str:
    """A name that cannot exist gets the key that nobody has."""
    try:
        return name_key(check_username(username))
    except InvalidUser:
        return ""


def _find(session: Session, key: str) -> tuple[Account, str] | None:
    row = session.scalar(select(AccountRow).where(AccountRow.key == key))
    return (Account(row.id, row.username), row.password_hash) if row else None


def _get(session: Session, id: int) -> Account | None:
    row = session.get(AccountRow, id)
    return Account(row.id, row.username) if row else None


def _insert(session: Session, row: AccountRow) -> Account:
    session.add(row)
    session.flush()
    return Account(row.id, row.username)
