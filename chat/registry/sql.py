"""Channels in a database, which outlive the process.

What is asked about one channel is done in the order of asking: a pool of connections would let who takes a channel overtake
who is closing it, and so load what is about to end.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from gevent.event import Event
from sqlalchemy import BigInteger, DateTime, Index, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from chat.database import Base, Database
from chat.errors import DuplicatedChannel, InvalidChannel
from chat.registry.base import ChannelRecord, Registry, new_epoch
from chat.registry.offsets import Offsets


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


PUT_BACK = (
    update(ChannelRow)
    .where(ChannelRow.name == bindparam("channel"), IS_OPEN)
    .values(last_offset=bindparam("offset"), taken=False)
)


class SqlRegistry(Registry):
    """Each call is one transaction, but for those that put back at the same time, which share one."""

    lasting = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: dict[str, Event] = {}  # by name: the end of what was asked last
        self._offsets = Offsets(self._write)

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Wait for all that was asked about `name` before."""
        before, end = self._last.get(name), Event()
        self._last[name] = end
        try:
            if before is not None:
                before.wait()
            yield
        finally:
            if before is None or before.is_set():
                self._end(name, end)
            else:  # killed while it waited; who comes next still waits for whom it waited for
                before.rawlink(lambda _: self._end(name, end))

    def _end(self, name: str, end: Event) -> None:
        end.set()
        if self._last[name] is end:
            del self._last[name]

    def create(self, name: str, created_by: str = "") -> ChannelRecord:
        row = ChannelRow(name=name, epoch=new_epoch(), created_by=created_by)
        try:
            with self._turn(name):
                return self._database.run(lambda session: _add(session, row))
        except IntegrityError as exc:
            raise DuplicatedChannel(name) from exc

    def take(self, name: str) -> ChannelRecord:
        with self._turn(name):
            record = self._database.run(lambda session: _take(session, name))
        if record is None:
            raise InvalidChannel(name)
        return record

    def put_back(self, name: str, offset: int) -> None:
        with self._turn(name):
            self._offsets.put(name, offset)

    def _write(self, offsets: Mapping[str, int]) -> None:
        rows = [{"channel": name, "offset": offset} for name, offset in offsets.items()]
        self._database.run(lambda session: session.connection().execute(PUT_BACK, rows) and None)

    def close(self, name: str, *, idle: bool = False) -> None:
        del idle  # a lasting channel never ends because it is idle
        now = datetime.now(UTC)
        change = update(ChannelRow).where(ChannelRow.name == name, IS_OPEN).values(closed_at=now, taken=False)
        with self._turn(name):
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
