"""Backends that tests hold in their hands; the conns are in the kit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import gevent
from gevent.event import Event as Flag

from chat.archive.memory import MemoryArchive
from chat.clock import Clock
from chat.event import Logged, Past
from chat.member import Member
from chat.registry import ChannelRecord, Fate, MemoryRegistry
from chat.requests import Request
from chat.testing import DirectFake, EventFormat, Jammed, ThreeMethods

__all__ = [
    "DirectFake",
    "EventFormat",
    "GatedArchive",
    "HangingRegistry",
    "HomeFake",
    "Jammed",
    "LastingRegistry",
    "ThreeMethods",
]


class HomeFake:
    """A channel that lets in who comes, and notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[Request] = []
        self.entered: list[Member] = []
        self.lost_members: list[Member] = []
        self.flushes = 0

    def receive(self, member: Member, request: Request) -> None:
        self.heard.append(request)

    def enter(self, member: Member, *, wait: bool) -> None:
        self.entered.append(member)

    def lost(self, member: Member) -> None:
        self.lost_members.append(member)

    def flush(self) -> None:
        self.flushes += 1


class GatedArchive(MemoryArchive):
    """An archive that waits at its gate, or refuses, as the test says; reads pass another gate before."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Flag()
        self.gate.set()
        self.read_gate = Flag()
        self.read_gate.set()
        self.is_waiting = Flag()
        self.fault: Exception | None = None
        self.batches: list[int] = []  # how many events each append that was let through had
        self.reading = 0  # how many are at a gate, or beyond
        self.most_reading = 0

    def append(self, log: str, events: Sequence[Logged]) -> None:
        self._pass(self.gate)
        super().append(log, events)
        self.batches.append(len(events))

    def append_at_once(self, log: str, events: Sequence[Logged]) -> bool:
        if not self.gate.is_set() or self.fault is not None or not super().append_at_once(log, events):
            return False
        self.batches.append(len(events))
        return True

    def read(self, log: str, after: int, limit: int) -> list[Logged]:
        with self._reading():
            return super().read(log, after, limit)

    def find(self, log: str, offset: int) -> Past | None:
        with self._reading():
            return super().find(log, offset)

    def history(self, log: str, *, before: int | None, after: int | None, limit: int) -> tuple[list[Past], bool]:
        with self._reading():
            return super().history(log, before=before, after=after, limit=limit)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        try:
            self._pass(self.read_gate)
            self._pass(self.gate)
            yield
        finally:
            self.reading -= 1

    def _pass(self, gate: Flag) -> None:
        if not gate.is_set():
            self.is_waiting.set()
            gate.wait()
        if self.fault is not None:
            raise self.fault


class LastingRegistry(MemoryRegistry):
    """A registry that outlives the servers which use it, and lets others work in each call, as one with a database does."""

    lasting = True

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self._taken: set[str] = set()
        self.fate = Fate.PROCESS_DIED  # of who never put back

    def create(self, name: str, created_by: str = "") -> ChannelRecord:
        gevent.sleep(0)
        record = super().create(name, created_by)
        self._taken.add(name)
        return record

    def take(self, name: str) -> ChannelRecord:
        gevent.sleep(0)
        record = super().take(name)
        fate = self.fate if name in self._taken else Fate.PUT_BACK
        self._taken.add(name)
        return replace(record, fate=fate)

    def renew(self, name: str, offset: int) -> ChannelRecord:
        gevent.sleep(0)
        return super().renew(name, offset)

    def put_back(self, name: str, offset: int) -> None:
        gevent.sleep(0)
        super().put_back(name, offset)
        self._taken.discard(name)

    def close(self, name: str, *, log: str | None = None, idle: bool = False) -> None:
        del idle  # a lasting channel never ends because it is idle
        gevent.sleep(0)
        super().close(name, log=log)
        self._taken.discard(name)


class HangingRegistry(LastingRegistry):
    """One whose database hangs while its gate is shut, for those who take and put back."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Flag()
        self.gate.set()
        self.is_waiting = Flag()

    def take(self, name: str) -> ChannelRecord:
        self._pass()
        return super().take(name)

    def put_back(self, name: str, offset: int) -> None:
        self._pass()
        super().put_back(name, offset)

    def _pass(self) -> None:
        if not self.gate.is_set():
            self.is_waiting.set()
            self.gate.wait()
