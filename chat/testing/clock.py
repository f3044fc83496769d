"""A clock that the test turns."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

from chat.clock import Clock, Timer


class TurnedClock(Clock):
    """Stands still until `advance`; timers fire then, in order, each at its own time."""

    def __init__(self, now: datetime = datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)) -> None:
        self._start = now
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, _TurnedTimer]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        return self._elapsed

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = _TurnedTimer(call)
        heapq.heappush(self._timers, (self._elapsed + seconds, next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Turn it forward, and call what falls due."""
        until = self._elapsed + seconds
        while self._timers and self._timers[0][0] <= until:
            self._elapsed, _, timer = heapq.heappop(self._timers)
            timer.fire()
        self._elapsed = until

    def oversleep(self, seconds: float) -> None:
        """Turn it forward as for a process that was stopped: what fell due meanwhile is called at the end, late."""
        self._elapsed += seconds
        while self._timers and self._timers[0][0] <= self._elapsed:
            heapq.heappop(self._timers)[-1].fire()


class _TurnedTimer(Timer):
    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()

    def cancel(self) -> None:
        self._call = None
