"""Statements by the driver itself, many rows at a time.  Through SQLAlchemy a row takes half as long again, and to begin
and to end a transaction takes as long as to write it, all of which holds the interpreter.

On PostgreSQL, whose connections must be told apart when they have been left in the middle, transactions stay SQLAlchemy's.
Many rows are one array for each column there.  psycopg's executemany works in a pipeline, which whoever is killed, or comes
to a deadline, in the middle of cannot leave: the statement goes on, and the connection is of no use any more.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import ClassVar, Final, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

_DRIVERS: Final[WeakKeyDictionary[Engine, sqlite3.Connection]] = WeakKeyDictionary()

TEXT: Final = "text"
WHOLE: Final = "bigint"
FLAG: Final = "boolean"

TOGETHER: Final = 16  # rows to a statement on SQLite: a statement takes as long to begin as a row to be written
TOGETHER_ALONE: Final = 64  # the same for one that is all of a transaction; each number of rows is prepared by itself


class Result(Protocol):
    """What a statement has found, or touched."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> object | None: ...


class Statements(ABC):
    """One transaction."""

    mark: ClassVar[str]
    """The driver's placeholder."""

    def execute_alone(self, statement: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> bool:
        """Run it as `execute_rows` does, as all of the transaction, which takes less time then.  Blocks.

        False: nothing has happened: a constraint forbids it, there are too many rows, or it would not save time.
        Raises: as `execute` does.
        """
        del statement, types, rows
        return False

    @abstractmethod
    def execute(self, statement: str, values: Sequence[object]) -> Result:
        """Run it.  Blocks.  Raises: SQLAlchemy's errors, ValueError, OverflowError."""

    @abstractmethod
    def execute_rows(self, statement: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> int:
        """Run `statement` for `rows`, at least one; return how many rows of the table it has touched.  Blocks.

        It has a `{}` in the place of a VALUES or of a SELECT, whose columns are column1, column2 and so on, of these types.
        Raises: as `execute` does.
        """


class _Sqlite(Statements):
    mark = "?"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute_alone(self, statement: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> bool:
        if self._connection.in_transaction or len(rows) > TOGETHER_ALONE:
            return False
        try:
            self._connection.execute(_with_values(statement, len(types), len(rows)), [*chain.from_iterable(rows)])
        except sqlite3.IntegrityError:
            return False
        return True

    def execute(self, statement: str, values: Sequence[object]) -> Result:
        return self._begun().execute(statement, values)

    def execute_rows(self, statement: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> int:
        whole = len(rows) // TOGETHER * TOGETHER
        touched = 0
        if whole:
            many = _with_values(statement, len(types), TOGETHER)
            parts = [[*chain.from_iterable(rows[at : at + TOGETHER])] for at in range(0, whole, TOGETHER)]
            touched += self._begun().executemany(many, parts).rowcount
        if whole < len(rows):
            touched += self._begun().executemany(_with_values(statement, len(types), 1), rows[whole:]).rowcount
        return touched

    def _begun(self) -> sqlite3.Connection:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        return self._connection


@cache
def _with_values(statement: str, columns: int, rows: int) -> str:
    """`statement` with so many rows of placeholders.  There are few of them."""
    row = f"({', '.join('?' * columns)})"
    return statement.format("VALUES " + ", ".join([row] * rows))


class _Postgresql(Statements):
    mark = "%s"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[object]) -> Result:
        return self._connection.exec_driver_sql(statement, tuple(values))

    def execute_rows(self, statement: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> int:
        arrays = ", ".join(f"%s::{type}[]" for type in types)
        names = ", ".join(f"column{number}" for number, _ in enumerate(types, 1))
        said = statement.format(f"SELECT * FROM unnest({arrays}) AS given ({names})")  # noqa: S608
        columns = tuple(map(list, zip(*rows, strict=True)))
        return self._connection.exec_driver_sql(said, columns, execution_options={"preserve_rowcount": True}).rowcount


def transact(engine: Engine, work: Callable[[Statements], T]) -> T:
    """Return `work(statements)`, all in one transaction.  Blocks.  Raises: SQLAlchemy's errors, and what `work` raises."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            return work(_Postgresql(connection))
    driver = _driver_of(engine)
    try:
        result = work(_Sqlite(driver))
        driver.commit()
    except BaseException as exc:
        driver.rollback()
        if isinstance(exc, sqlite3.Error):
            raise DBAPIError.instance(None, None, exc, sqlite3.Error, hide_parameters=True) from exc
        raise
    return result


def _driver_of(engine: Engine) -> sqlite3.Connection:
    """The one connection that an engine for SQLite has (StaticPool); to ask its pool takes as long as five rows."""
    driver = _DRIVERS.get(engine)
    if driver is None:
        driver = _DRIVERS[engine] = cast("sqlite3.Connection", engine.raw_connection().driver_connection)
    return driver
