"""SQL away from the hub.

A statement that waits for a disk or a lock must hold up nobody's socket.  SQLite blocks the thread it is called in, so
all that is written goes through one native thread, over one connection, and all that is read through another one, which
in WAL mode waits for no writer.  PostgreSQL is waited for as gevent waits for any socket, over a pool of connections;
where gevent has not replaced the sockets, through such threads too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from logging import getLogger
from typing import Final, TypeVar

from sqlalchemy import Engine, literal, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from chat import migrations
from chat.bulk import Statements, transact
from chat.errors import DatabaseUnavailable
from chat.executor import make_executor
from chat.migrations import Schema, Standing

__all__ = ["Base", "Database", "Schema", "Standing", "standings", "upgrade"]

T = TypeVar("T")

log: Final = getLogger("chat")


class Base(DeclarativeBase):
    """All tables of ours; migrations make them."""


class Database:
    """One database; `run` and `look` are how everything reaches it.  Blocks.

    SQLite is upgraded to `schemas` when it is opened.  Others may be shared by several versions of an application: they
    are only looked at, and `upgrade` is for whoever runs a deployment.

    Raises: DatabaseBehind, DatabaseAhead; ValueError for a URL that cannot be used; SQLAlchemy's errors, OSError or
    DatabaseUnavailable, when it cannot be reached.
    """

    def __init__(self, url: str, *schemas: Schema) -> None:
        self._executor = make_executor(url)
        try:
            self._executor.do(lambda engine: _prepare(engine, schemas))
            self._executor.look(lambda engine: engine.connect().close())  # all files are open from here on
        except BaseException:
            self._executor.close()
            raise

    def run(self, work: Callable[[Session], T]) -> T:
        """Return `work(session)`, in one transaction, in the database's own thread or in this greenlet.  Blocks.

        Raises: DatabaseUnavailable, and whatever `work` raises; either rolls back.  `work` must not touch greenlets, and
        what it returns must be plain data: its session is closed by then.
        """
        return self._told(self._executor.do, partial(_in_session, work=work))

    def write(self, work: Callable[[Statements], T]) -> T:
        """The same for what is said a thousand times a second, in the words of the driver.  Blocks."""
        return self._told(self._executor.do, partial(_in_words, work=work))

    def write_at_once(self, work: Callable[[Statements], object]) -> bool:
        """The same, if it takes a moment only, in which everything else stands still.  Never yields.

        False, and nothing is raised or logged: perhaps it is done, perhaps not, or not yet; `write` it then.
        """
        try:
            return self._executor.do_at_once(partial(_in_words, work=work))
        except Exception:  # `write` will find it again
            return False

    def look(self, work: Callable[[Session], T]) -> T:
        """The same for what only reads: a lock or a slow disk that writers wait for does not hold it up.  Blocks.

        It sees what was committed before.  Raises: as `run` does; some error of the database when `work` writes.
        """
        return self._told(self._executor.look, partial(_in_session, work=work))

    def can_read(self, table: type[Base]) -> bool:
        """Whether it answers just now, and has that table.  Blocks; for who asks all the time, so the log says nothing."""
        query = select(literal(1)).select_from(table).limit(1)
        try:
            self._executor.look(partial(_in_session, work=lambda session: session.scalar(query)))
        except (DatabaseUnavailable, DBAPIError):
            return False
        return True

    def _told(self, do: Callable[[Callable[[Engine], T]], T], job: Callable[[Engine], T]) -> T:
        try:
            return do(job)
        except DatabaseUnavailable as exc:
            _tell(exc.__cause__)
            raise

    def close(self) -> None:
        """Finish what runs, for two seconds at most, and close.  Blocks; idempotent."""
        self._executor.close()


def upgrade(url: str, *schemas: Schema) -> list[Standing]:
    """Bring the database to `schemas`, whole or not at all, and return where they stood.  Blocks.

    Raises: as `Database` does.
    """
    return _once(url, lambda engine: _upgrade(engine, schemas))


def standings(url: str, *schemas: Schema) -> list[Standing]:
    """Return where the database stands; nothing changes in it.  Blocks.  Raises: as `Database` does."""

    def look(engine: Engine) -> list[Standing]:
        with engine.connect() as connection:
            return migrations.standings(connection, schemas)

    return _once(url, look)


def _tell(why: BaseException | None) -> None:
    """Whoever asked only hears that it may work later.  None is a database that was closed."""
    if why is not None:
        said = str(why.orig if isinstance(why, DBAPIError) else why)
        log.warning("the database cannot be used: %s", " ".join(said.split()))


def _once(url: str, job: Callable[[Engine], T]) -> T:
    executor = make_executor(url)
    try:
        return executor.do(job)
    finally:
        executor.close()


def _prepare(engine: Engine, schemas: tuple[Schema, ...]) -> None:
    if engine.dialect.name == "sqlite":
        _upgrade(engine, schemas)
    else:
        with engine.connect() as connection:
            migrations.check(connection, schemas)


def _upgrade(engine: Engine, schemas: tuple[Schema, ...]) -> list[Standing]:
    with engine.begin() as connection:
        return migrations.upgrade(connection, schemas)


def _in_session(engine: Engine, work: Callable[[Session], T]) -> T:
    with _translated(), Session(engine, expire_on_commit=False) as session, session.begin():
        return work(session)


def _in_words(engine: Engine, work: Callable[[Statements], T]) -> T:
    with _translated():
        return transact(engine, work)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as exc:
        raise DatabaseUnavailable from exc
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise DatabaseUnavailable from exc
        raise
