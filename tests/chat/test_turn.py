"""A turn for everybody else is one for sockets and timers too."""

import os
from collections.abc import Iterator

import gevent
import pytest
from gevent import get_hub

from chat.turn import yield_turn


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_whoever_is_ready_has_run_after_two_turns(pipe):
    here, there = pipe
    ran: list[str] = []
    watcher = get_hub().loop.io(here, 1)  # readable
    watcher.start(lambda: ran.append(os.read(here, 1).decode()))
    timer = get_hub().loop.timer(0)
    timer.start(ran.append, "timer")
    gevent.spawn(ran.append, "greenlet")
    os.write(there, b"x")
    try:
        yield_turn()
        yield_turn()
    finally:
        watcher.close()
        timer.close()

    assert sorted(ran) == ["greenlet", "timer", "x"]


def test_a_deadline_strikes_whoever_does_nothing_else():
    with gevent.Timeout(0.001, exception=False) as deadline:
        while True:
            yield_turn()

    assert not deadline.pending
