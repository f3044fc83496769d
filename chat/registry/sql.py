"""Channels in a database, which outlive the process.

What is asked about one channel is done in the order of asking: a pool of connections would let who takes a channel overtake
who is closing it, and so load what is about to end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from gevent.event import Event
from sqlalchemy import BigInteger, DateTime, Index, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from chat.bulk import TEXT, WHOLE
from chat.database import Base, Database
from chat.errors import DuplicatedChannel, InvalidChannel
from chat.grouping import Grouping
from chat.registry.base import ChannelRecord, Fate, Registry, new_epoch, new_log
from chat.registry.boot import VOLATILE, boot_id


class ChannelRow(Base):
    """One channel, open or ended.  Of the rows of one name at most one is open."""

    __tablename__ = "chat_channels"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    epoch: Mapped[str]
    log: Mapped[str]
    boot: Mapped[str]
    last_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    taken: Mapped[bool] = mapped_column(default=True)
    created_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


IS_OPEN = ChannelRow.closed_at.is_(None)
Index("chat_channels_name", ChannelRow.name)
Index("chat_channels_open", ChannelRow.name, unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)


PUT_BACK = """
    UPDATE chat_channels SET last_offset = given.column2, taken = FALSE FROM ({}) AS given
    WHERE name = given.column1 AND closed_at IS NULL
"""


class SqlRegistry(Registry):
    """Each call is one transaction, but for those that put back at the same time, which share one."""

    lasting = True

    def __init__(self, database: Database, boot: str | None = None) -> None:
        """`boot` is `boot_id()`, or VOLATILE for a server without an archive, of whose log nothing outlives it."""
        self._database = database
        self._boot = boot_id() if boot is None else boot
        self._last: dict[str, Event] = {}  # by name: the end of what was asked last
        self._offsets = Grouping(self._write)

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
        row = ChannelRow(name=name, epoch=new_epoch(), log=new_log(), boot=self._boot, created_by=created_by)
        try:
            with self._turn(name):
                return self._database.run(lambda session: _add(session, row))
        except IntegrityError as exc:
            raise DuplicatedChannel(name) from exc

    def take(self, name: str) -> ChannelRecord:
        with self._turn(name):
            return self._database.run(lambda session: _take(session, name, self._boot))

    def renew(self, name: str, offset: int) -> ChannelRecord:
        with self._turn(name):
            return self._database.run(lambda session: _renew(session, name, offset, self._boot))

    def put_back(self, name: str, offset: int) -> None:
        with self._turn(name):
            self._offsets.put((name, offset))

    def _write(self, offsets: Sequence[tuple[str, int]]) -> None:
        in_order = sorted(offsets)  # so that no two servers can lock each other out
        self._database.write(lambda statements: statements.execute_rows(PUT_BACK, (TEXT, WHOLE), in_order))

    def close(self, name: str, *, log: str | None = None, idle: bool = False) -> None:
        del idle  # a lasting channel never ends because it is idle
        now = datetime.now(UTC)
        change = update(ChannelRow).where(ChannelRow.name == name, IS_OPEN).values(closed_at=now, taken=False)
        if log is not None:
            change = change.where(ChannelRow.log == log)
        with self._turn(name):
            self._database.run(lambda session: session.execute(change) and None)

    def names(self) -> list[str]:
        query = select(ChannelRow.name).where(IS_OPEN)
        return sorted(self._database.look(lambda session: list(session.scalars(query))))

    def logs(self) -> dict[str, str]:
        query = select(ChannelRow.name, ChannelRow.log).where(IS_OPEN)
        return dict(self._database.look(lambda session: [(name, log) for name, log in session.execute(query)]))

    def ended(self, age: float) -> list[str]:
        query = select(ChannelRow.log).where(ChannelRow.closed_at <= datetime.now(UTC) - timedelta(seconds=age))
        return self._database.look(lambda session: list(session.scalars(query)))

    def sweep(self, age: float) -> list[str]:
        before = datetime.now(UTC) - timedelta(seconds=age)
        return self._database.run(lambda session: _sweep(session, before))


def _add(session: Session, row: ChannelRow) -> ChannelRecord:
    session.add(row)
    session.flush()
    return _record(row, Fate.NEW)


def _take(session: Session, name: str, boot: str) -> ChannelRecord:
    row = _open_row(session, name)
    fate = _fate(session, row, boot)
    row.taken = True
    if fate is not Fate.MACHINE_DIED:  # which is true until it is renewed, whoever fails to do so
        row.boot = boot
    return _record(row, fate)


def _renew(session: Session, name: str, offset: int, boot: str) -> ChannelRecord:
    row = _open_row(session, name)
    row.epoch, row.last_offset, row.boot = new_epoch(), offset, boot
    return _record(row)


def _open_row(session: Session, name: str) -> ChannelRow:
    row = session.scalar(select(ChannelRow).where(ChannelRow.name == name, IS_OPEN).with_for_update())
    if row is None:
        raise InvalidChannel(name)
    return row


def _fate(session: Session, row: ChannelRow, boot: str) -> Fate:
    """SQLite with synchronous=NORMAL may lose what it committed last when the machine dies; servers do not.

    That somebody took the channel may be lost with all that was said since, so after another boot that it was put back
    proves nothing.
    """
    if row.boot == VOLATILE and (row.taken or boot != VOLATILE):  # put back too, its log begins with a hole now
        return Fate.MACHINE_DIED
    if boot and row.boot not in ("", boot) and session.get_bind().dialect.name == "sqlite":
        return Fate.MACHINE_DIED
    return Fate.PROCESS_DIED if row.taken else Fate.PUT_BACK


def _sweep(session: Session, before: datetime) -> list[str]:
    ended = ChannelRow.closed_at <= before
    logs: Sequence[str] = session.scalars(select(ChannelRow.log).where(ended).with_for_update()).all()
    session.execute(delete(ChannelRow).where(ended))
    return list(logs)


def _record(row: ChannelRow, fate: Fate = Fate.PUT_BACK) -> ChannelRecord:
    return ChannelRecord(row.name, row.epoch, row.log, row.last_offset, row.created_by, fate)
