"""Channels in a database, which outlive the process."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, DateTime, Index, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from chat.database import Base, Database
from chat.errors import DuplicatedChannel, InvalidChannel
from chat.registry.base import ChannelRecord, Registry, new_epoch


class ChannelRow(Base):
    """One channel, open or ended.  Of the rows of one name at most one is open."""

    __tablename__ = "chat_channels"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    epoch: Mapped[str]
    last_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    taken: Mapped[bool] = mapped_column(default=True)
    created_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


IS_OPEN = ChannelRow.closed_at.is_(None)
Index("chat_channels_name", ChannelRow.name)
Index("chat_channels_open", ChannelRow.name, unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)


class SqlRegistry(Registry):
    """Each call is one transaction."""

    lasting = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, created_by: str = "") -> ChannelRecord:
        row = ChannelRow(name=name, epoch=new_epoch(), created_by=created_by)
        try:
            return self._database.run(lambda session: _add(session, row))
        except IntegrityError as exc:
            raise DuplicatedChannel(name) from exc

    def take(self, name: str) -> ChannelRecord:
        record = self._database.run(lambda session: _take(session, name))
        if record is None:
            raise InvalidChannel(name)
        return record

    def put_back(self, name: str, offset: int) -> None:
        change = update(ChannelRow).where(ChannelRow.name == name, IS_OPEN).values(last_offset=offset, taken=False)
        self._database.run(lambda session: session.execute(change) and None)

    def close(self, name: str, *, idle: bool = False) -> None:
        del idle  # a lasting channel never ends because it is idle
        now = datetime.now(UTC)
        change = update(ChannelRow).where(ChannelRow.name == name, IS_OPEN).values(closed_at=now, taken=False)
        self._database.run(lambda session: session.execute(change) and None)

    def names(self) -> list[str]:
        query = select(ChannelRow.name).where(IS_OPEN)
        return sorted(self._database.run(lambda session: list(session.scalars(query))))

    def sweep(self, age: float) -> None:
        before = datetime.now(UTC) - timedelta(seconds=age)
        ended = delete(ChannelRow).where(ChannelRow.closed_at <= before)
        self._database.run(lambda session: session.execute(ended) and None)


def _add(session: Session, row: ChannelRow) -> ChannelRecord:
    session.add(row)
    session.flush()
    return _record(row)


def _take(session: Session, name: str) -> ChannelRecord | None:
    row = session.scalar(select(ChannelRow).where(ChannelRow.name == name, IS_OPEN).with_for_update())
    if row is None:
        return None
    if row.taken:
        row.epoch, row.last_offset = new_epoch(), 0
    row.taken = True
    return _record(row)


def _record(row: ChannelRow) -> ChannelRecord:
    return ChannelRecord(row.name, row.epoch, row.last_offset, row.created_by)
