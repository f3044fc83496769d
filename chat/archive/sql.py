"""The archive in a database."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import dropwhile
from logging import getLogger
from time import monotonic
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Select, and_, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session, aliased

from chat.archive.appending import Addition, Appending, OffsetTaken, addition
from chat.archive.base import MOST_UNREAD, Archive, Id, Unread
from chat.archive.marks import Marks, Reader
from chat.archive.retention import Retention
from chat.archive.rows import GONE, MESSAGE, LogRow, date_of, event_of, micros, past_of
from chat.bulk import TEXT, WHOLE, Statements
from chat.clock import Clock, SystemClock
from chat.database import Database
from chat.engine import parse
from chat.errors import BrokerUnavailable, DatabaseUnavailable, NotStorable
from chat.event import Logged, Past
from chat.grouping import Grouping
from chat.mentions import folded

T = TypeVar("T")

log: Final = getLogger("chat")

EVENTS: Final = select(
    LogRow.kind, LogRow.sender, LogRow.text, LogRow.date, LogRow.id, LogRow.offset, LogRow.target, LogRow.rendered
).where(LogRow.kind != GONE)
MESSAGES: Final = select(LogRow).where(LogRow.kind == MESSAGE)
RAISED: Final = "P0001"  # raise_exception (PostgreSQL, appendix A)
REST: Final = 0.002  # seconds between two moments in which everything stands still: many channels share a transaction
LONG_REST: Final = 0.1  # the same after one that was too short
IDS: Final = 1000  # rows that are looked at once, from the end, for one that is too old

MARK: Final = """
    INSERT INTO chat_reads (log, username, "offset") {}
    ON CONFLICT (log, username) DO UPDATE SET "offset" = excluded."offset" WHERE excluded."offset" > chat_reads."offset"
"""

# One step in an index, and at most MOST_UNREAD rows, for each log and kind; `asked` are the logs and the marks that are not
# written down yet, -1 where there is none.
ASKED: Final = {
    "sqlite": "SELECT json_extract(value, '$[0]') AS log, json_extract(value, '$[1]') AS mark FROM json_each(:asked)",
    "postgresql": """
        SELECT value ->> 0 AS log, CAST(value ->> 1 AS BIGINT) AS mark FROM json_array_elements(CAST(:asked AS JSON))
    """,
}
UNREAD: Final = """
    WITH asked AS ({asked}), marked AS (
        SELECT asked.log, CASE WHEN read."offset" > asked.mark THEN read."offset" ELSE asked.mark END AS mark
        FROM asked LEFT JOIN chat_reads AS read ON read.log = asked.log AND read.username = :username
    )
    SELECT marked.log, marked.mark, (SELECT count(*) FROM (
        SELECT 1 FROM chat_log AS said WHERE said.log = marked.log AND said."offset" > marked.mark
        AND said.kind = 'message' AND said.deleted IS NULL AND said.sender <> :username LIMIT :most
    ) AS others), (SELECT count(*) FROM (
        SELECT 1 FROM chat_mentions AS mention
        JOIN chat_log AS said ON said.log = mention.log AND said."offset" = mention."offset"
        WHERE mention.log = marked.log AND mention.username = :name AND mention."offset" > marked.mark
        AND mention.source = coalesce(said.edited, said."offset")
        AND said.kind = 'message' AND said.deleted IS NULL AND said.sender <> :username LIMIT :most
    ) AS mentions) FROM marked
"""


def check_url(url: str) -> None:
    """See that it is a database that can keep a log.  Raises: ValueError."""
    if parse(url).get_backend_name() not in ASKED:
        raise ValueError("messages are kept in SQLite or PostgreSQL; CHAT_ARCHIVE=off does without")


class SqlArchive(Archive):
    """All that waits to be written, in all logs, is one transaction; what is read waits for no writer."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._additions = Grouping(self._add, (NotStorable, OffsetTaken))
        self._rested = 0.0  # when everything may stand still again; of time.monotonic
        self._marks = Marks(self._write_marks, self._clock)
        self._retention = Retention(database)

    def append(self, log: str, events: Sequence[Logged]) -> None:
        if not events:
            return
        try:
            added = addition(log, events)
        except (ValueError, OverflowError) as exc:
            raise NotStorable from exc
        self._additions.put(added)

    def append_at_once(self, log: str, events: Sequence[Logged]) -> bool:
        if self._additions.is_busy or monotonic() < self._rested:
            return False
        try:
            added = addition(log, events)
        except (ValueError, OverflowError):
            return False
        is_done = self._database.write_at_once(lambda statements: Appending(statements).append([added]))
        self._rested = monotonic() + (REST if is_done else LONG_REST)
        return is_done

    def _add(self, additions: Sequence[Addition]) -> None:
        try:
            self._write(lambda statements: Appending(statements).append(additions))
        except (StatementError, ValueError, OverflowError) as exc:
            is_refusal = _is_refusal(exc)
            if not is_refusal or len(additions) == 1:
                log.warning("the database does not take what was said: %s", _reason(exc))
            raise (NotStorable if is_refusal else BrokerUnavailable) from exc

    def read(self, log: str, after: int, limit: int) -> list[Logged]:
        query = EVENTS.where(LogRow.log == log, LogRow.offset > after).order_by(LogRow.offset).limit(limit)
        return self._look(lambda session: [event_of(row) for row in session.execute(query)])

    def tail(self, log: str, limit: int, since: datetime) -> list[Logged]:
        query = EVENTS.where(LogRow.log == log).order_by(LogRow.offset.desc()).limit(limit)
        found = self._look(lambda session: [event_of(row) for row in session.execute(query)])
        return list(dropwhile(lambda event: event.date < since, reversed(found)))

    def ids(self, log: str, since: datetime, limit: int) -> list[Id]:
        return self._look(lambda session: _ids(session, log, micros(since), limit))[::-1]

    def last(self, log: str) -> int:
        query = select(LogRow.offset).where(LogRow.log == log).order_by(LogRow.offset.desc()).limit(1)
        return self._look(lambda session: session.scalar(query)) or 0

    def find(self, log: str, offset: int) -> Past | None:
        found = self._pasts(MESSAGES.where(LogRow.log == log, LogRow.offset == offset))
        return found[0] if found else None

    def history(self, log: str, *, before: int | None, after: int | None, limit: int) -> tuple[list[Past], bool]:
        where: list[ColumnElement[bool]] = [LogRow.log == log]
        if before is not None:
            where.append(LogRow.offset < before)
        if after is not None:
            where.append(LogRow.offset > after)
        order = LogRow.offset.desc() if after is None else LogRow.offset
        found = self._pasts(MESSAGES.where(*where).order_by(order).limit(limit + 1))
        page = found[:limit] if after is not None else found[-limit:]
        return page, len(found) > limit

    def _pasts(self, messages: Select[Any]) -> list[Past]:
        """As they are now, the oldest first."""
        query = _with_changes(messages)
        return self._look(lambda session: [past_of(row) for row in session.execute(query)])

    def mark(self, log: str, username: str, offset: int) -> None:
        self._marks.put((log, username), offset)

    def _write_marks(self, marks: Mapping[Reader, int]) -> None:
        rows = [(*reader, offset) for reader, offset in sorted(marks.items())]
        self._write(lambda statements: statements.execute_rows(MARK, (TEXT, TEXT, WHOLE), rows))

    def unread(self, username: str, logs: Sequence[str]) -> dict[str, Unread]:
        marks = {log: self._marks.get((log, username)) for log in logs}
        asked = json.dumps([(log, -1 if mark is None else mark) for log, mark in marks.items()])
        fields = {"asked": asked, "username": username, "name": folded(username), "most": MOST_UNREAD}

        def count(session: Session) -> dict[str, Unread]:
            query = text(UNREAD.format(asked=ASKED[session.get_bind().dialect.name]))
            return {
                log: Unread(unread if mark >= 0 else 0, mentions)
                for log, mark, unread, mentions in session.execute(query, fields)
            }

        found = self._look(count)
        return {log: found[log] for log in logs}

    def trim(self, age: float, count: int) -> None:
        before = micros(self._clock.now()) - int(age * 1_000_000) if age else None
        with _translated():
            self._retention.trim(before, count)

    def forget(self, logs: Sequence[str]) -> None:
        self._marks.forget(frozenset(logs))
        with _translated():
            for log in logs:
                self._retention.forget(log)

    def flush(self) -> None:
        self._marks.flush()

    def close(self) -> None:
        self._marks.close()

    def _write(self, work: Callable[[Statements], T]) -> T:
        with _translated():
            return self._database.write(work)

    def _look(self, work: Callable[[Session], T]) -> T:
        with _translated():
            return self._database.look(work)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DatabaseUnavailable as exc:
        raise BrokerUnavailable from exc


def _is_refusal(exc: Exception) -> bool:
    """Whether it is about what was to be written, and not about the database, or what we may do there.

    What the driver cannot even send is no DBAPIError; a trigger raises P0001 on PostgreSQL, an IntegrityError on SQLite.
    """
    if not isinstance(exc, DBAPIError) or isinstance(exc, DataError | IntegrityError):
        return True
    return getattr(exc.orig, "sqlstate", None) == RAISED


def _reason(exc: Exception) -> str:
    """Its first line: PostgreSQL goes on with the whole row."""
    return str(getattr(exc, "orig", None) or exc).partition("\n")[0]


def _with_changes(messages: Select[Any]) -> Select[Any]:
    """Join a few messages, which are chosen first, with the last edit and the delete of each."""
    said, edit, undo = messages.subquery(), aliased(LogRow), aliased(LogRow)
    return (
        select(said.c.offset, said.c.sender, said.c.date, said.c.id, said.c.text, said.c.rendered)
        .add_columns(edit.text, edit.rendered, edit.date, undo.date)
        .outerjoin(edit, and_(edit.log == said.c.log, edit.offset == said.c.edited))
        .outerjoin(undo, and_(undo.log == said.c.log, undo.offset == said.c.deleted))
        .order_by(said.c.offset)
    )


def _ids(session: Session, log: str, since: int, limit: int) -> list[Id]:
    """The newest first.  Looked at from the end, page by page, as long as there are some that are not too old."""
    newest = select(LogRow.sender, LogRow.id, LogRow.offset, LogRow.date).where(LogRow.log == log, LogRow.kind != GONE)
    query = newest.order_by(LogRow.offset.desc()).limit(IDS)
    found: list[Id] = []
    rows = session.execute(query).all()
    while young := [row for row in rows if row.date >= since]:
        found += [Id(row.sender, row.id, row.offset, date_of(row.date)) for row in young if row.id]
        if len(rows) < IDS or len(found) >= limit:
            break
        rows = session.execute(query.where(LogRow.offset < rows[-1].offset)).all()
    return found[:limit]
