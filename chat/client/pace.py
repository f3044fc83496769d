"""How fast a client speaks: a little slower than the server allows.

A request that is refused for its haste is said again behind those that were not, and the order would be lost.  So it is
better never to be too fast.
"""

from typing import Final

from gevent.event import Event as Flag

from chat.clock import Clock
from chat.rate import Rate

SLOWER: Final = 0.9  # of the rate that the server allows
BURST: Final = 2.0  # seconds' worth at once; it allows three, and the network may push together what was said apart
PENALTY: Final = 1.0  # seconds of silence when it was too fast all the same


class Pace:
    """Of one socket at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rate = Rate.per_second(0.0, 1.0)
        self._until = 0.0

    def begin(self, rate: float) -> None:
        """A new socket, on which so many requests a second are allowed; 0 is no limit."""
        self._rate = Rate.per_second(rate * SLOWER, max(rate * BURST, 1.0))
        self._until = 0.0

    def delay(self) -> float:
        """Seconds until the next request may be said."""
        return self._rate.wait(self._until, self._clock.monotonic())

    def spend(self) -> None:
        """It is said now."""
        now = self._clock.monotonic()
        self._until = max(self._until, now) + self._rate.interval

    def slow_down(self) -> None:
        """The server has found it too fast: be silent for a moment, and make no bursts on this socket any more."""
        self._rate = Rate(self._rate.interval or PENALTY, 1.0)
        self._until = self._clock.monotonic() + PENALTY


def pause(clock: Clock, seconds: float) -> None:
    """Wait by `clock`.  Blocks."""
    if seconds > 0:
        passed = Flag()
        timer = clock.later(seconds, passed.set)
        try:
            passed.wait()
        finally:
            timer.cancel()
