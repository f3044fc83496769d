"""An archive that fails in every way in which one can."""

from collections.abc import Sequence
from contextlib import suppress
from copy import copy

from gevent.event import Event as Flag

from chat.archive import MemoryArchive
from chat.clock import Clock
from chat.errors import BrokerUnavailable, NotStorable
from chat.event import Deleted, Logged, Past


class Troubled(MemoryArchive):
    """Fails in the ways that `faults` names, an append each; refuses what says "bad".

    Of what shall be done at once becomes what `moments` says, one for each: "kept", or "kept unnoticed"; otherwise nothing.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.faults: list[str] = []
        self.moments: list[str] = []
        self.appends: list[list[str]] = []
        self.go = Flag()  # for what is slow
        self.go.set()
        self.reads = 0
        self._late: tuple[str, list[Logged]] | None = None

    def append(self, log: str, events: Sequence[Logged]) -> None:
        self.appends.append([event.text for event in events if not isinstance(event, Deleted)])
        self.go.wait()
        self.come_late()
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "unavailable":
            raise BrokerUnavailable
        if "bad" in self.appends[-1]:
            raise NotStorable
        if fault == "late":  # another thread is still at it
            self._late = log, [copy(event) for event in events]
        else:
            super().append(log, events)
        if fault in ("kept", "late"):
            raise BrokerUnavailable

    def append_at_once(self, log: str, events: Sequence[Logged]) -> bool:
        moment = self.moments.pop(0) if self.moments else "none"
        if moment == "none" or any(event.text == "bad" for event in events if not isinstance(event, Deleted)):
            return False
        self.come_late()
        return super().append_at_once(log, events) and moment == "kept"

    def come_late(self) -> None:
        """What was thought to have failed comes to its end, unless its place is taken by now."""
        if self._late is not None:
            late, self._late = self._late, None
            with suppress(BrokerUnavailable):
                super().append(*late)

    def read(self, log: str, after: int, limit: int) -> list[Logged]:
        self.reads += 1
        return super().read(log, after, limit)

    def find(self, log: str, offset: int) -> Past | None:
        self.reads += 1
        return super().find(log, offset)

    def history(self, log: str, *, before: int | None, after: int | None, limit: int) -> tuple[list[Past], bool]:
        self.reads += 1
        return super().history(log, before=before, after=after, limit=limit)
