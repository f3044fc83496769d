"""Channels of this process, which end with it."""

from dataclasses import replace

from chat.clock import Clock, SystemClock
from chat.errors import DuplicatedChannel, IdleChannel, InvalidChannel
from chat.registry.base import ChannelRecord, Fate, Registry, new_epoch, new_log


class MemoryRegistry(Registry):
    """Never yields: what the contract lets block is atomic here."""

    lasting = False

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: dict[str, ChannelRecord] = {}
        self._ended: dict[str, float] = {}  # log -> when it ended; in the order of ending
        self._idle: dict[str, str] = {}  # name -> log, of those that ended because nobody used them

    def create(self, name: str, created_by: str = "") -> ChannelRecord:
        if name in self._records:
            raise DuplicatedChannel(name)
        self._idle.pop(name, None)
        self._records[name] = ChannelRecord(name, new_epoch(), new_log(), created_by=created_by)
        return replace(self._records[name], fate=Fate.NEW)

    def take(self, name: str) -> ChannelRecord:
        return self._open(name)

    def renew(self, name: str, offset: int) -> ChannelRecord:
        self._records[name] = replace(self._open(name), epoch=new_epoch(), offset=offset)
        return self._records[name]

    def _open(self, name: str) -> ChannelRecord:
        try:
            return self._records[name]
        except KeyError:
            raise (IdleChannel if name in self._idle else InvalidChannel)(name) from None

    def put_back(self, name: str, offset: int) -> None:
        if name in self._records:
            self._records[name] = replace(self._records[name], offset=offset)

    def close(self, name: str, *, log: str | None = None, idle: bool = False) -> None:
        record = self._records.get(name)
        if record is None or log not in (None, record.log):
            return
        del self._records[name]
        self._ended[record.log] = self._clock.monotonic()
        if idle:
            self._idle[name] = record.log

    def names(self) -> list[str]:
        return sorted(self._records)

    def logs(self) -> dict[str, str]:
        return {name: record.log for name, record in self._records.items()}

    def ended(self, age: float) -> list[str]:
        before = self._clock.monotonic() - age
        return [log for log, ended in self._ended.items() if ended <= before]

    def sweep(self, age: float) -> list[str]:
        gone = self.ended(age)
        for log in gone:
            del self._ended[log]
        self._idle = {name: log for name, log in self._idle.items() if log in self._ended}
        return gone
