"""The archive's tables, and events as their rows.

Dates are microseconds since 1970: the same on every database, half as long as text, and read in no time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from chat.database import Base
from chat.event import Deleted, Edited, Logged, Message, Past

MESSAGE: Final = "message"
EDIT: Final = "edit"
DELETE: Final = "delete"
GONE: Final = "gone"
"""The last event of a log that retention has emptied: its offset is all that is left."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

Values: TypeAlias = tuple[str, int, str, str, str, int, str, int | None, bool]


class LogRow(Base):
    """One event, as it was said; `text` is "" once it was deleted."""

    __tablename__ = "chat_log"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    log: Mapped[str] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    sender: Mapped[str]
    text: Mapped[str]
    date: Mapped[int] = mapped_column(BigInteger)
    id: Mapped[str]
    target: Mapped[int | None] = mapped_column(BigInteger)
    rendered: Mapped[bool]
    edited: Mapped[int | None] = mapped_column(BigInteger)
    """Of a message: the offset of its last edit."""
    deleted: Mapped[int | None] = mapped_column(BigInteger)
    """Of a message: the offset of its delete."""


class ReadRow(Base):
    """How far a user has read."""

    __tablename__ = "chat_reads"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    log: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger)


class MentionRow(Base):
    """The event `source` made the message at `offset` mention somebody, whose name is folded.

    It holds as long as `source` is what the message says: rows of an earlier text stay, and do not count.
    """

    __tablename__ = "chat_mentions"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    log: Mapped[str] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    username: Mapped[str] = mapped_column(primary_key=True)


HAS_TARGET = LogRow.target.is_not(None)
Index("chat_log_target", LogRow.log, LogRow.target, sqlite_where=HAS_TARGET, postgresql_where=HAS_TARGET)
Index("chat_mentions_user", MentionRow.log, MentionRow.username, MentionRow.offset)


def values_of(log: str, event: Logged) -> Values:
    """The first nine columns of LogRow; the others are NULL."""
    date = micros(event.date)
    if isinstance(event, Message):
        return log, event.offset, MESSAGE, event.sender, event.text, date, event.id, None, event.rendered
    if isinstance(event, Edited):
        return log, event.offset, EDIT, event.sender, event.text, date, event.id, event.target, event.rendered
    return log, event.offset, DELETE, event.sender, "", date, event.id, event.target, False


def event_of(row: Sequence[Any]) -> Logged:
    """The event of a row of kind, sender, text, date, id, offset, target, rendered."""
    kind, sender, text, date, id, offset, target, rendered = row
    if kind == MESSAGE:
        return Message(sender, text, date_of(date), id, offset, bool(rendered))
    if kind == EDIT:
        return Edited(target, sender, text, date_of(date), id, offset, bool(rendered))
    return Deleted(target, sender, date_of(date), id, offset)


def past_of(row: Sequence[Any]) -> Past:
    """The message of a row of offset, sender, date, id, text, rendered, and the same two and the date of its last edit,
    and the date of its delete; NULL where there is none."""
    offset, sender, date, id, text, rendered, new, new_rendered, edited, deleted = row
    if edited is not None:
        text, rendered = new, new_rendered
    dates = (None if micros is None else date_of(micros) for micros in (edited, deleted))
    return Past(offset, sender, text, date_of(date), id, bool(rendered), *dates)


def micros(date: datetime) -> int:
    """Microseconds since 1970."""
    return (date - EPOCH) // MICROSECOND


def date_of(micros: int) -> datetime:
    """In UTC."""
    return EPOCH + timedelta(microseconds=micros)
