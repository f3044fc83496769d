"""SQL away from the hub.

A statement that waits for a disk or a lock must hold up nobody's socket.  SQLite blocks the thread it is called in, so
all of its work goes through one native thread, over one connection: there is never a second writer to wait for, and no
lock that gevent has patched is ever shared by two native threads (NullPool has none).  Not the hub's own thread pool: DNS
lives there.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from gevent.threadpool import ThreadPool
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.pool.base import ConnectionPoolEntry

from chat.errors import DatabaseUnavailable

T = TypeVar("T")

LOCK_WAIT: Final = 5.0  # seconds for a lock that another process holds: a predecessor that is about to end


class Base(DeclarativeBase):
    """All tables that live in this database."""


class Database:
    """One database; `run` is how everything reaches it.  Opening it creates the tables that are missing.  Blocks.

    Raises: ValueError for a URL that cannot be used; SQLAlchemy's errors, or OSError, when it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self._thread = ThreadPool(1)
        self._is_closed = False
        engine, error = self._thread.apply(self._try_open)
        if engine is None:
            self._thread.kill()
            raise error or AssertionError("no engine and no error")
        self._engine = engine

    def _try_open(self) -> tuple[Engine | None, Exception | None]:
        try:
            return self._open(), None
        except Exception as exc:
            return None, exc

    def _open(self) -> Engine:
        if self._url.get_backend_name() != "sqlite":
            engine = create_engine(self._url, poolclass=NullPool)
        else:
            if self._url.database and self._url.database != ":memory:":
                _make_private(Path(self._url.database))
            engine = create_engine(
                self._url, poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": LOCK_WAIT}
            )
            event.listen(engine, "connect", _prepare_sqlite)
        Base.metadata.create_all(engine)
        return engine

    def run(self, work: Callable[[Session], T]) -> T:
        """Return `work(session)`, in one transaction, in the database's own thread.  Blocks.

        Raises: DatabaseUnavailable, and whatever `work` raises; either rolls back.  `work` must not touch greenlets, and
        what it returns must be plain data: its session is closed by then.
        """
        if self._is_closed:
            raise DatabaseUnavailable
        result, error = self._thread.apply(self._work, (work,))
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _work(self, work: Callable[[Session], T]) -> tuple[T | None, Exception | None]:
        """What is raised in a pool's thread is printed there by gevent, so it is handed over as a value."""
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                return work(session), None
        except (OperationalError, InterfaceError) as exc:
            unavailable = DatabaseUnavailable()
            unavailable.__cause__ = exc
            return None, unavailable
        except Exception as exc:
            return None, exc

    def close(self) -> None:
        """Finish what runs, and close.  Blocks; idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._thread.apply(self._engine.dispose)
            self._thread.kill()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as exc:
        raise ValueError(f"not a database URL that SQLAlchemy knows, such as sqlite:///path/to/file: {exc}") from exc
    return parsed


def _make_private(path: Path) -> None:
    """Password hashes are for the owner alone; SQLite gives its other files the mode of this one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    """WAL lets others read while we write; NORMAL survives kill -9, though not the loss of power."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
