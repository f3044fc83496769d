"""Many rows in one statement, by the driver itself: through SQLAlchemy's own a row takes half as long again, and it holds
the interpreter meanwhile.

On PostgreSQL they are one array for each column.  psycopg's executemany works in a pipeline, which whoever is killed, or
comes to a deadline, in the middle of cannot leave: the statement goes on, and the connection is of no use any more.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

TEXT: Final = "text"
WHOLE: Final = "bigint"
FLAG: Final = "boolean"


def execute_rows(connection: Connection, statement: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> int:
    """Run `statement` for `rows`, at least one; return how many rows of the table it has touched.  Blocks.

    It has a `{}` in the place of a VALUES or of a SELECT, whose columns are column1, column2 and so on, of these types.
    """
    options = {"preserve_rowcount": True}
    if connection.dialect.name == "postgresql":
        arrays = ", ".join(f"%s::{type}[]" for type in types)
        names = ", ".join(f"column{number}" for number, _ in enumerate(types, 1))
        said = statement.format(f"SELECT * FROM unnest({arrays}) AS given ({names})")  # noqa: S608
        columns = tuple(map(list, zip(*rows, strict=True)))
        return connection.exec_driver_sql(said, columns, execution_options=options).rowcount
    said = statement.format(f"VALUES ({', '.join('?' * len(types))})")
    return connection.exec_driver_sql(said, list(rows), execution_options=options).rowcount
