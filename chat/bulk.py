"""Statements by the driver itself, many rows at a time.  Through SQLAlchemy a row takes half as long again, and to begin
and to end a transaction takes as long as to write it, all of which holds the interpreter.

On PostgreSQL, whose connections must be told apart when they have been left in the middle, transactions stay SQLAlchemy's.
Many rows are one array for each column there.  psycopg's executemany works in a pipeline, which whoever is killed, or comes
to a deadline, in the middle of cannot leave: the statement goes on, and the connection is of no use any more.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

TEXT: Final = "text"
WHOLE: Final = "bigint"
FLAG: Final = "boolean"


class Result(Protocol):
    """What a statement has found, or touched."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> object | None: ...


class Statements(ABC):
    """One transaction."""

    mark: ClassVar[str]
    """The driver's placeholder."""

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

    def execute(self, statement: str, values: Sequence[object]) -> Result:
        return self._connection.execute(statement, values)

    def execute_rows(self, statement: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> int:
        said = statement.format(f"VALUES ({', '.join('?' * len(types))})")
        return self._connection.executemany(said, rows).rowcount


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


@contextmanager
def begin(engine: Engine) -> Iterator[Statements]:
    """Begin a transaction; commit it at the end, or roll it back.  Blocks.  Raises: SQLAlchemy's errors."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield _Postgresql(connection)
        return
    pooled = engine.raw_connection()
    driver: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
    try:
        driver.execute("BEGIN IMMEDIATE")
        yield _Sqlite(driver)
        driver.commit()
    except BaseException as exc:
        driver.rollback()
        if isinstance(exc, sqlite3.Error):
            raise DBAPIError.instance(None, None, exc, sqlite3.Error, hide_parameters=True) from exc
        raise
    finally:
        pooled.close()
