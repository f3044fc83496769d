"""A backend that tests hold in their hands; the conns are in the kit."""

from collections.abc import Sequence

from gevent.event import Event as Flag

from chat.archive.memory import MemoryArchive
from chat.event import Message
from chat.testing import DirectFake, EventFormat, Jammed, ThreeMethods

__all__ = ["DirectFake", "EventFormat", "GatedArchive", "Jammed", "ThreeMethods"]


class GatedArchive(MemoryArchive):
    """An archive that waits at its gate, or refuses, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Flag()
        self.gate.set()
        self.is_waiting = Flag()
        self.fault: Exception | None = None

    def append(self, channel: str, epoch: str, events: Sequence[Message]) -> None:
        self._pass()
        super().append(channel, epoch, events)

    def read(self, channel: str, epoch: str, after: int, limit: int) -> list[Message]:
        self._pass()
        return super().read(channel, epoch, after, limit)

    def _pass(self) -> None:
        if not self.gate.is_set():
            self.is_waiting.set()
            self.gate.wait()
        if self.fault is not None:
            raise self.fault
