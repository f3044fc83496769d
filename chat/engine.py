"""Engines: from a URL to what SQLAlchemy works on, with the settings that each kind of database needs here."""

import os
import sqlite3
from contextlib import suppress
from errno import EACCES, EISDIR
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Final, cast

from gevent.monkey import get_original, is_module_patched
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool
from sqlalchemy.pool.base import ConnectionPoolEntry

LOCK_WAIT: Final = 5.0  # seconds for a lock that another process holds: a predecessor that is about to end
LOCK_POLL: Final = 0.01  # seconds between two looks where SQLite itself does not wait
POOL_WAIT: Final = 5.0  # seconds for a connection, when all are in use
CANCEL_WAIT: Final = 1.0  # seconds for telling the server that nobody waits for a statement any more

READING: Final = "chat_reading"  # an execution option
POSTGRESQL: Final = "postgresql+psycopg"
sleep: Final = get_original("time", "sleep")  # it is called in native threads, which have no hub
SAME: Final = ("postgresql", "postgres", POSTGRESQL)
# libpq's, where the URL says nothing: a server that has vanished without a word is noticed within half a minute, rather
# than after the two hours of the kernel.
POSTGRESQL_DEFAULTS: Final = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
    "client_encoding": "utf8",  # PGCLIENTENCODING, or the server's locale, may say otherwise
}


def parse(url: str) -> URL:
    """Read the URL.  Raises: ValueError, without the URL in it, for it may hold a password."""
    wanted = "not a database URL that SQLAlchemy knows, such as sqlite:///path/to/file or postgresql://user@host/name"
    try:
        parsed = make_url(url)
        if parsed.drivername in SAME:
            parsed = parsed.set(drivername=POSTGRESQL)
        parsed.get_dialect()
    except NoSuchModuleError as exc:
        raise ValueError(f"{wanted}: {exc}") from exc
    except (ArgumentError, ValueError):  # a port that is no number, perhaps half of a password
        raise ValueError(wanted) from None
    return parsed


def is_cooperative(url: URL) -> bool:
    """Whether waiting for this database leaves their turn to other greenlets: psycopg, where gevent has replaced what it
    waits with, and what the pool waits with."""
    return url.drivername == POSTGRESQL and all(map(is_module_patched, ("select", "socket", "threading")))


def make_engine(url: URL, connections: int = 1, pool_wait: float = POOL_WAIT) -> Engine:
    """Make the engine.  Where there is a pool, it has that many connections, and who wants one waits so many seconds.

    Raises: ValueError for a driver that cannot be used; OSError for a file that cannot be opened.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    if url.drivername == POSTGRESQL:
        return _postgresql(url, connections, pool_wait)
    return create_engine(url, poolclass=NullPool, hide_parameters=True)


def only_reading(engine: Engine) -> Engine:
    """Return it for transactions that only read.  On SQLite they wait for no writer, and the engine is for nothing else."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _forbid_writing)
    return engine.execution_options(**{READING: True, "postgresql_readonly": True})


def is_in_memory(url: URL) -> bool:
    """Whether it is SQLite without a file, which only one connection sees."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def _sqlite(url: URL) -> Engine:
    if not is_in_memory(url):
        _make_private(Path(str(url.database)))
    engine = create_engine(
        url,
        poolclass=StaticPool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": LOCK_WAIT, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """Password hashes are for the owner alone; SQLite gives its other files the mode of this one.

    One that exists is not opened: to close any descriptor of a file takes all locks of the process off it (POSIX), also
    those of other connections; whoever else opens the database, and closes it, would then delete the log they write to.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if path.is_dir():
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(EACCES, os.strerror(EACCES), str(path))


def _prepare_sqlite(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    """WAL lets others read while we write; NORMAL survives kill -9, though not the loss of power."""
    until = monotonic() + LOCK_WAIT
    while not _is_in_wal_mode(connection, may_wait=monotonic() < until):
        sleep(LOCK_POLL)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _is_in_wal_mode(connection: sqlite3.Connection, *, may_wait: bool) -> bool:
    """Switch to it.  Of two who open a new file at once one is told that it is locked, without any waiting."""
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY and may_wait:  # the byte behind is a closer reason
            return False
        raise
    return True


def checkpoint(engine: Engine) -> None:
    """Bring into SQLite's database what was written ahead, without waiting for anybody.  Blocks.

    Raises: SQLAlchemy's errors, sqlite3.Error.
    """
    pooled = engine.raw_connection()
    try:
        pooled.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    finally:
        pooled.close()


def _forbid_writing(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA query_only=ON")


def _begin_sqlite(connection: Connection) -> None:
    """The driver's own transactions, switched off by isolation_level, leave out what changes tables.  IMMEDIATE, because
    one that reads first fails without waiting when it writes after somebody else has."""
    is_reading = connection.get_execution_options().get(READING)
    connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")


def _postgresql(url: URL, connections: int, pool_wait: float) -> Engine:
    if find_spec("psycopg") is None:
        raise ValueError('PostgreSQL needs a driver; run: pip install "psycopg[binary]"')
    try:
        from psycopg import waiting
    except ImportError as exc:
        raise ValueError(f'psycopg cannot be loaded; run: pip install "psycopg[binary]" ({exc})') from exc
    if is_cooperative(url) and waiting.wait is getattr(waiting, "wait_c", None):
        raise ValueError(
            "psycopg was imported before gevent replaced `select`, and would hold up everybody; "
            "call gevent.monkey.patch_all() first, or leave that to the worker"
        )
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=pool_wait,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={name: value for name, value in POSTGRESQL_DEFAULTS.items() if name not in url.query},
    )
    event.listen(engine, "connect", _check_encoding)
    event.listen(engine, "invalidate", _cancel)
    return engine


def _check_encoding(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Any other one fails at the first name that it does not have, which anybody may type."""
    import psycopg

    encoding = cast("psycopg.Connection[object]", connection).info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ValueError(f"its encoding is {encoding}; make one with ENCODING 'UTF8' TEMPLATE template0")


def _cancel(connection: DBAPIConnection, _record: ConnectionPoolEntry, exc: BaseException | None) -> None:
    """A server works on for those that have hung up: a statement that was left at its deadline has to be ended there."""
    import psycopg

    if exc is not None and not isinstance(exc, Exception):
        with suppress(psycopg.Error):
            cast("psycopg.Connection[object]", connection).cancel_safe(timeout=CANCEL_WAIT)
