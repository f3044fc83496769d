"""Who is logged in where: one row for each login, so that it can be ended from here.

A signed cookie alone is good until it runs out, whatever happens meanwhile.  So the session only names a login, by its
token, and a login that is not in the table any more is a stranger's.  Only the hash of a token is kept: who steals the
database, and the key that signs the cookies too, can take over no login.  The `sid` is no secret.  It rides in the
connection tokens: that is how the end of a login finds the sockets to close.
"""

import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

import gevent
from sqlalchemy import ColumnElement, DateTime, ForeignKey, Index, and_, delete, or_, select, true, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from chat.clock import Clock, Timer
from chat.database import Base, Database
from chat.errors import ChatError, DatabaseUnavailable
from web.accounts import Account, AccountRow, WrongLogin, account_of

log: Final = logging.getLogger("web")

SWEEP: Final = 60.0  # seconds between two sweeps, or a quarter of a short lifetime
TOUCH: Final = 10  # the part of a lifetime after which its use is written down again: a read need not be a write
MOST: Final = 50  # logins of one account: one page lists them all
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)  # before any lifetime that can be set
MAX_AGENT: Final = 256  # characters of a User-Agent that are kept


class LoginRow(Base):
    """One login that has not been ended."""

    __tablename__ = "chat_logins"

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[int] = mapped_column(ForeignKey(AccountRow.id))
    sid: Mapped[str] = mapped_column(unique=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    is_remembered: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    agent: Mapped[str]


Index("chat_logins_account", LoginRow.account)
Index("chat_logins_created_at", LoginRow.created_at)
Index("chat_logins_seen_at", LoginRow.seen_at)
LAST_USED_FIRST: Final = LoginRow.seen_at.desc(), LoginRow.id.desc()


@dataclass(frozen=True, slots=True)
class Login:
    """One login as its user sees it.  The dates are aware, in UTC; `seen_at` is late by up to a tenth of the lifetime."""

    id: int
    sid: str
    agent: str
    created_at: datetime
    seen_at: datetime


class Use(NamedTuple):
    """One use of a login."""

    account: Account
    is_noted: bool
    """Whether it was written down, so that the lifetime begins anew."""


class Logins:
    """Start, find and end logins.  `on_end` gets the `sid` of each that has ended; it must not block.

    Lifetimes are in seconds: without use `session_lifetime`, or `remember_lifetime` of a remembered login; and `lifetime`
    however much it is used.
    """

    def __init__(
        self,
        database: Callable[[], Database],
        clock: Clock,
        on_end: Callable[[str], None],
        *,
        session_lifetime: float,
        remember_lifetime: float,
        lifetime: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_end = on_end
        self._session_lifetime = timedelta(seconds=session_lifetime)
        self._remember_lifetime = timedelta(seconds=remember_lifetime)
        self._lifetime = timedelta(seconds=lifetime)
        self._sweep_interval = min(SWEEP, session_lifetime / 4, remember_lifetime / 4, lifetime / 4)
        self._timer: Timer | None = None

    def start(self, account: Account, agent: str, *, remember: bool) -> Account:
        """Log `account` in; return it with its `sid` and its token, by which it can be recalled if `remember`.  Blocks.

        Of more than MOST logins those others end that were used longest ago.
        Raises: DatabaseUnavailable; WrongLogin when the password was changed since it was checked, or the account disabled.
        """
        now = self._clock.now()
        sid, token = secrets.token_urlsafe(24), _new_token()
        row = LoginRow(
            account=account.id,
            sid=sid,
            token_hash=_hash(token),
            is_remembered=remember,
            created_at=now,
            seen_at=now,
            agent="".join(filter(str.isprintable, agent))[:MAX_AGENT],
        )
        self._tell(self._database().run(lambda session: _insert(session, row, account.proof)))
        return replace(account, sid=sid, token=token, proof="")

    def find(self, token: str) -> Use | None:
        """Tell who is logged in by that, and note the use.  Blocks.  Raises: DatabaseUnavailable."""
        return self._use(token)

    def recall(self, token: str) -> Use | None:
        """The same, for a remembered login only."""
        return self._use(token, LoginRow.is_remembered.is_(True))

    def _use(self, token: str, *which: ColumnElement[bool]) -> Use | None:
        now = self._clock.now()
        use = self._database().look(lambda session: self._find(session, token, which, now))
        if use is None or not use.is_noted:
            return use
        touch = update(LoginRow).where(LoginRow.sid == use.account.sid).values(seen_at=now)  # unless it just ended
        try:
            self._database().run(lambda session: session.execute(touch) and None)
        except DatabaseUnavailable:  # a full disk keeps nobody out who is in
            return use._replace(is_noted=False)
        return use

    def _find(self, session: Session, token: str, which: Iterable[ColumnElement[bool]], now: datetime) -> Use | None:
        query = select(LoginRow, AccountRow).join(AccountRow)
        found = session.execute(query.where(LoginRow.token_hash == _hash(token), *which, ~self._has_expired(now))).first()
        if found is None:
            return None
        login, account = found
        lifetime = self._remember_lifetime if login.is_remembered else self._session_lifetime
        is_due = now - aware(login.seen_at) >= lifetime / TOUCH
        return Use(account_of(account, login.sid, token), is_due)

    def of(self, account: Account) -> list[Login]:
        """Return all logins of `account`, the one used last first.  Blocks.  Raises: DatabaseUnavailable."""
        now = self._clock.now()
        return self._database().look(lambda session: self._list(session, account.id, now))

    def _list(self, session: Session, account: int, now: datetime) -> list[Login]:
        rows = session.scalars(
            select(LoginRow).where(LoginRow.account == account, ~self._has_expired(now)).order_by(*LAST_USED_FIRST)
        )
        return [Login(row.id, row.sid, row.agent, aware(row.created_at), aware(row.seen_at)) for row in rows]

    # Ending

    def end(self, sid: str) -> None:
        """End one login.  Blocks; idempotent.  Raises: DatabaseUnavailable."""
        self._end(LoginRow.sid == sid)

    def end_one(self, account: Account, id: int) -> bool:
        """End the login `id` if it is this account's; tell whether there was one.  Blocks.  Raises: DatabaseUnavailable."""
        return self._end(LoginRow.account == account.id, LoginRow.id == id) > 0

    def end_all(self, account: Account) -> None:
        """End all logins of `account`.  Blocks.  Raises: DatabaseUnavailable."""
        self._end(LoginRow.account == account.id)

    def end_others(self, account: Account, first: Callable[[Session], None]) -> str:
        """End all logins of `account` but the one by which it is here, and return the new token of that.  Blocks.

        `first` is done before in the same transaction.  Raises: DatabaseUnavailable, and what `first` raises.
        """
        token = _new_token()

        def renew(session: Session) -> None:
            first(session)
            session.execute(update(LoginRow).where(LoginRow.sid == account.sid).values(token_hash=_hash(token)))

        self._end(LoginRow.account == account.id, LoginRow.sid != account.sid, first=renew)
        return token

    def sweep(self) -> None:
        """End what has expired.  Blocks.  Raises: DatabaseUnavailable."""
        self._end(self._has_expired(self._clock.now()))

    def _end(self, *which: ColumnElement[bool], first: Callable[[Session], None] | None = None) -> int:
        def end(session: Session) -> list[str]:
            if first is not None:
                first(session)
            return _delete(session, *which)

        return self._tell(self._database().run(end))

    def _tell(self, ended: list[str]) -> int:
        """Have the sockets of each login closed; return how many there are."""
        for sid in ended:
            self._on_end(sid)
        return len(ended)

    def _has_expired(self, now: datetime) -> ColumnElement[bool]:
        return or_(
            LoginRow.created_at <= now - self._lifetime,
            and_(~LoginRow.is_remembered, LoginRow.seen_at <= now - self._session_lifetime),
            and_(LoginRow.is_remembered, LoginRow.seen_at <= now - self._remember_lifetime),
        )

    # The sweep

    def begin(self) -> None:
        """Sweep now and then, from now on.  Never yields."""
        self._timer = self._clock.later(self._sweep_interval, self._spawn)

    def stop(self) -> None:
        """Sweep no more.  Never yields; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _spawn(self) -> None:
        gevent.spawn(self._sweep_and_go_on)

    def _sweep_and_go_on(self) -> None:
        """A greenlet that ends by itself."""
        try:
            self.sweep()
        except ChatError as exc:
            log.warning("logins that have expired stay for now: %s", exc)
        except Exception:
            log.exception("the sweep of logins failed")
        if self._timer is not None:
            self.begin()


def _insert(session: Session, row: LoginRow, proof: str) -> list[str]:
    """Return the `sid` of each login that ended for it.

    The account is locked meanwhile, so that a change of the password comes before this and is seen, or ends this.
    """
    may_enter = AccountRow.id == row.account, AccountRow.disabled_at.is_(None)
    stored = session.scalar(select(AccountRow.password_hash).where(*may_enter).with_for_update())
    if stored is None or (proof and stored != proof):
        raise WrongLogin
    session.add(row)
    session.flush()
    others = LoginRow.account == row.account, LoginRow.id != row.id  # seen later than this one, if the clock was set back
    kept = select(LoginRow.id).where(*others).order_by(*LAST_USED_FIRST).limit(MOST - 1)
    return _delete(session, *others, LoginRow.id.not_in(kept))


def _delete(session: Session, *which: ColumnElement[bool]) -> list[str]:
    return list(session.scalars(delete(LoginRow).where(*which).returning(LoginRow.sid)))


def expire(session: Session, account: int | None = None) -> None:
    """Have all logins end, of one account or of all, from a process that serves nobody.

    They let nobody in any more.  The process that serves ends them, and their sockets, at its next sweep.
    """
    own = LoginRow.account == account if account is not None else true()
    session.execute(update(LoginRow).where(own).values(created_at=LONG_AGO))


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _hash(token: str) -> str:
    """Nothing slow is wanted: who could guess 256 random bits needs no hash."""
    return sha256(token.encode()).hexdigest()


def aware(moment: datetime) -> datetime:
    """SQLite drops the time zone, which is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
