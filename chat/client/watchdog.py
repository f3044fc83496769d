"""Finds out that a connection is dead: by silence.

A network that has gone tells nobody.  The server asks for a sign of life after `ping` seconds without any, so silence for
longer than that is the end; and so is silence after something was said, for the server answers that.
"""

from collections.abc import Callable
from typing import Final

from chat.clock import Clock, Timer

PATIENCE: Final = 15.0  # seconds for a handshake, and beyond the server's own ping interval
ANSWER: Final = 10.0  # seconds for any sign of life after something was said


class Watchdog:
    """Calls `bark`, once and in the hub, when it was silent for too long."""

    def __init__(self, clock: Clock, bark: Callable[[], None]) -> None:
        self._clock = clock
        self._bark = bark
        self._patience = PATIENCE
        self._is_asking = False
        self._timer: Timer | None = None
        self.heard()

    def expect(self, ping: float) -> None:
        """The server asks for a sign of life after so many seconds."""
        self._patience = PATIENCE + ping
        self.heard()

    def heard(self) -> None:
        """Something came.  Never yields."""
        self._is_asking = False
        self._deadline = self._clock.monotonic() + self._patience
        if self._timer is None:
            self._set()

    def said(self) -> None:
        """Something was said that will be answered.  Never yields."""
        if self._is_asking or self._timer is None:
            return
        self._is_asking = True
        deadline = self._clock.monotonic() + ANSWER
        if deadline < self._deadline:
            self._deadline = deadline
            self.stop()
            self._set()

    def stop(self) -> None:
        """Stand still until `heard`, because we do not listen.  Never yields; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self._timer = self._clock.later(max(self._deadline - self._clock.monotonic(), 0.0), self._look)

    def _look(self) -> None:
        # Setting a timer anew for each frame would cost more than the frame: it looks again instead.
        self._timer = None
        if self._clock.monotonic() < self._deadline:
            self._set()
        else:
            self._bark()
