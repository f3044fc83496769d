"""What does not last: old events, and logs that nobody has any more.

In bites, each a transaction of its own, so that nothing that is said has to wait for long; what is to go is looked up
beside the writer.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from chat.archive.rows import GONE, LogRow, MentionRow, ReadRow
from chat.database import Database

BITE: Final = 1000  # rows in one transaction: a few milliseconds

# One step in the index for each log, where DISTINCT would read all of it.
LOGS: Final = text("""
    WITH RECURSIVE found (log) AS (
        SELECT min(log) FROM chat_log
        UNION ALL SELECT (SELECT min(log) FROM chat_log WHERE log > found.log) FROM found WHERE found.log IS NOT NULL
    )
    SELECT log FROM found WHERE log IS NOT NULL
""")


class _Bite(NamedTuple):
    """What goes in one transaction: everything up to `upto`, and of the last event of a log all but its offset."""

    upto: int
    is_all: bool
    """Whether that is the whole log."""
    is_full: bool
    """Whether there may be more."""


class Retention:
    """Takes away what is too old, or too much."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def trim(self, before: int | None, count: int) -> None:
        """Drop from the beginning of each log what was said before that date, in microseconds, and all but the last `count`
        events (0: no limit).  Blocks.  Raises: DatabaseUnavailable."""
        for log in self._database.look(lambda session: list(session.scalars(LOGS))):
            for bite in self._bites(log, before, count):
                self._take(log, bite)

    def _bites(self, log: str, before: int | None, count: int) -> Iterator[_Bite]:
        is_full = True
        while is_full:
            bite = self._database.look(lambda session: _next_bite(session, log, before, count))
            if bite is None:
                return
            yield bite
            is_full = bite.is_full

    def _take(self, log: str, bite: _Bite) -> None:
        upto = bite.upto

        def take(session: Session) -> None:
            session.execute(delete(LogRow).where(LogRow.log == log, LogRow.offset <= (upto - 1 if bite.is_all else upto)))
            session.execute(delete(MentionRow).where(MentionRow.log == log, MentionRow.offset <= upto))
            if bite.is_all:
                empty = {"kind": GONE, "sender": "", "text": "", "id": "", "target": None}
                session.execute(update(LogRow).where(LogRow.log == log, LogRow.offset == upto).values(empty))

        self._database.run(take)

    def forget(self, log: str) -> None:
        """Drop the log, its mentions and its marks.  Blocks.  Raises: DatabaseUnavailable."""
        for bite in self._bites(log, None, -1):
            self._take(log, bite._replace(is_all=False))

        def drop(session: Session) -> None:
            for row in (LogRow, MentionRow, ReadRow):
                session.execute(delete(row).where(row.log == log))

        self._database.run(drop)


def _next_bite(session: Session, log: str, before: int | None, count: int) -> _Bite | None:
    """Look at the first events of the log; None where nothing is to go."""
    first = select(LogRow.offset, LogRow.date, LogRow.kind).where(LogRow.log == log).order_by(LogRow.offset).limit(BITE)
    last = session.scalar(select(func.max(LogRow.offset)).where(LogRow.log == log)) or 0
    upto = taken = 0
    for offset, date, kind in session.execute(first):
        is_old = before is not None and date < before
        is_spare = count and offset <= last - count
        if not (is_old or is_spare) or (kind == GONE and offset == last):
            break
        upto, taken = offset, taken + 1
    return _Bite(upto, upto == last, taken == BITE) if taken else None
