"""Events into the archive's tables: what one transaction does with all that waits in all logs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from chat.archive.rows import DELETE, EDIT, GONE, MESSAGE, Values, values_of
from chat.bulk import FLAG, TEXT, WHOLE, Result, Statements
from chat.errors import BrokerUnavailable
from chat.event import Deleted, Edited, Logged
from chat.mentions import mentioned

CHANGES: Final = (Edited, Deleted)
Mention: TypeAlias = tuple[str, int, int, str]

INSERT: Final = 'INSERT INTO chat_log (log, "offset", kind, sender, text, date, id, target, rendered) {}'
INSERT_NEW: Final = f"{INSERT} ON CONFLICT DO NOTHING"
INSERTED: Final = (TEXT, WHOLE, TEXT, TEXT, TEXT, WHOLE, TEXT, WHOLE, FLAG)
MENTION: Final = """
    INSERT INTO chat_mentions (log, "offset", source, username) SELECT * FROM ({}) AS mention WHERE NOT EXISTS (
        SELECT 1 FROM chat_log AS gone
        WHERE gone.log = mention.column1 AND gone."offset" = mention.column2 AND gone.deleted IS NOT NULL
    ) ON CONFLICT DO NOTHING
"""
MENTIONED: Final = (TEXT, WHOLE, WHOLE, TEXT)

# `{}` is the driver's placeholder.
SAME: Final = f"""
    SELECT 1 FROM chat_log WHERE log = {{}} AND "offset" = {{}}
    AND ((kind = '{GONE}' AND date = {{}}) OR (kind = {{}} AND sender = {{}} AND id = {{}} AND date = {{}}))
"""  # noqa: S608
IS_THERE: Final = f"log = {{}} AND \"offset\" = {{}} AND kind = '{MESSAGE}' AND deleted IS NULL"
CHANGE: Final = f"UPDATE chat_log SET edited = {{}} WHERE {IS_THERE} AND (edited IS NULL OR edited < {{}})"  # noqa: S608
TAKE_BACK: Final = f"UPDATE chat_log SET deleted = {{}}, text = '' WHERE {IS_THERE}"  # noqa: S608
ERASE_EDITS: Final = f"""
    UPDATE chat_log SET text = '' WHERE log = {{}} AND target = {{}} AND kind = '{EDIT}' AND "offset" < {{}}
"""  # noqa: S608
ERASE_MENTIONS: Final = 'DELETE FROM chat_mentions WHERE log = {} AND "offset" = {}'
ERASE_LATE_EDIT: Final = """
    UPDATE chat_log SET text = '' WHERE log = {} AND "offset" = {}
    AND EXISTS (SELECT 1 FROM chat_log AS gone WHERE gone.log = {} AND gone."offset" = {} AND gone.deleted IS NOT NULL)
"""


class OffsetTaken(BrokerUnavailable):
    """An offset is held by another event: somebody's transaction came to its end after all."""


class Addition(NamedTuple):
    """What one caller appends to one log; made when it is asked, for the events may change afterwards."""

    rows: list[Values]
    changes: list[tuple[str, str, int, int]]
    """The edits and deletes among them: kind, log, offset and target."""
    mentions: list[Mention]


def addition(log: str, events: Sequence[Logged]) -> Addition:
    """Read `events`.  Raises: ValueError, OverflowError for what no table can hold."""
    changes = [
        (EDIT if isinstance(event, Edited) else DELETE, log, event.offset, event.target)
        for event in events
        if isinstance(event, CHANGES) and event.target < event.offset  # what comes later was not meant
    ]
    return Addition([values_of(log, event) for event in events], changes, list(_mentions(log, events)))


def _mentions(log: str, events: Iterable[Logged]) -> Iterator[Mention]:
    for event in events:
        if not isinstance(event, Deleted) and (names := mentioned(event.text)):
            about = event.target if isinstance(event, Edited) else event.offset
            yield from ((log, about, event.offset, name) for name in sorted(names))


class Appending:
    """One transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def append(self, additions: Sequence[Addition]) -> None:
        """Add all of them.  Blocks.  Raises: OffsetTaken, and SQLAlchemy's errors."""
        rows = [row for addition in additions for row in addition.rows]
        is_all = not any(addition.changes or addition.mentions for addition in additions)
        if is_all and self._statements.execute_alone(INSERT, INSERTED, rows):
            return
        if self._statements.execute_rows(INSERT_NEW, INSERTED, rows) != len(rows):
            self._check(rows)
        for addition in additions:
            for kind, log, offset, target in addition.changes:
                (self._edit if kind == EDIT else self._delete)(log, offset, target)
        if mentions := [mention for addition in additions for mention in addition.mentions]:
            self._statements.execute_rows(MENTION, MENTIONED, mentions)

    def _check(self, rows: Iterable[Values]) -> None:
        """Some were there before: see that they are the same."""
        for log, offset, kind, sender, _, date, id, *_ in rows:
            if self._do(SAME, log, offset, date, kind, sender, id, date).fetchone() is None:
                raise OffsetTaken

    def _edit(self, log: str, offset: int, target: int) -> None:
        if not self._do(CHANGE, offset, log, target, offset).rowcount:
            self._do(ERASE_LATE_EDIT, log, offset, log, target)

    def _delete(self, log: str, offset: int, target: int) -> None:
        self._do(TAKE_BACK, offset, log, target)
        self._do(ERASE_EDITS, log, target, offset)  # they may have outlasted their message
        self._do(ERASE_MENTIONS, log, target)

    def _do(self, statement: str, *values: object) -> Result:
        return self._statements.execute(statement.replace("{}", self._statements.mark), values)
