"""Channels of this process, which end with it."""

from chat.clock import Clock, SystemClock
from chat.errors import DuplicatedChannel, IdleChannel, InvalidChannel
from chat.registry.base import ChannelRecord, Registry, new_epoch


class MemoryRegistry(Registry):
    """Never yields: what the contract lets block is atomic here."""

    lasting = False

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: dict[str, ChannelRecord] = {}
        self._idle: dict[str, float] = {}  # name -> when it ended; in the order of ending

    def create(self, name: str, created_by: str = "") -> ChannelRecord:
        if name in self._records:
            raise DuplicatedChannel(name)
        self._idle.pop(name, None)
        record = ChannelRecord(name, new_epoch(), created_by=created_by)
        self._records[name] = record
        return record

    def take(self, name: str) -> ChannelRecord:
        try:
            return self._records[name]
        except KeyError:
            raise (IdleChannel if name in self._idle else InvalidChannel)(name) from None

    def put_back(self, name: str, offset: int) -> None:
        record = self._records.get(name)
        if record is not None:
            self._records[name] = ChannelRecord(name, record.epoch, offset, record.created_by)

    def close(self, name: str, *, idle: bool = False) -> None:
        if self._records.pop(name, None) is not None and idle:
            self._idle[name] = self._clock.monotonic()

    def names(self) -> list[str]:
        return sorted(self._records)

    def sweep(self, age: float) -> None:
        before = self._clock.monotonic() - age
        for name in [name for name, ended in self._idle.items() if ended <= before]:
            del self._idle[name]
