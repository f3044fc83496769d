"""Processes, which are stopped in the end."""

from collections.abc import Iterator

import pytest

from chat.archive import Archive
from chat.bus import backoff
from chat.testing import TurnedClock
from tests.chat.broker.processes import Process, Start


@pytest.fixture(autouse=True)
def haste(monkeypatch) -> None:
    """Who has lost a connection tries again soon."""
    for pause in ("FIRST", "LONGEST"):
        monkeypatch.setattr(backoff, pause, 0.05)


@pytest.fixture
def start(open_bus, clock, request) -> Iterator[Start]:
    """Start a process, whose lobby is not open yet: `start("p1", archive, recent=3)`."""
    started: list[Process] = []

    def start_it(
        name: str,
        archive: Archive | None = None,
        *,
        recent: int = 1000,
        url: str = "",
        clock: TurnedClock = clock,
        **limits: int,
    ) -> Process:
        url = url or request.getfixturevalue("valkey").unix_url
        started.append(Process(name, open_bus(url), archive, clock, recent, **limits))
        return started[-1]

    yield start_it
    for process in started:
        process.broker.stop()


@pytest.fixture
def p1(start: Start) -> Process:
    return start("p1").open()


@pytest.fixture
def p2(start: Start, p1: Process) -> Process:
    return start("p2").open()
