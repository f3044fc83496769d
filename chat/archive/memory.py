"""An archive that lasts as long as the process: for tests, and as the measure of what a real one must do."""

from collections.abc import Sequence

from chat.archive.base import Archive
from chat.event import Message


class MemoryArchive(Archive):
    """Never yields: what the contract lets block is atomic here."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str], dict[int, Message]] = {}

    def append(self, channel: str, epoch: str, events: Sequence[Message]) -> None:
        log = self._logs.setdefault((channel, epoch), {})
        for event in events:
            log.setdefault(event.offset, event)

    def read(self, channel: str, epoch: str, after: int, limit: int) -> list[Message]:
        log = self._logs.get((channel, epoch), {})
        return [log[offset] for offset in range(after + 1, after + 1 + limit) if offset in log]

    def last(self, channel: str, epoch: str) -> int:
        return max(self._logs.get((channel, epoch), {}), default=0)
