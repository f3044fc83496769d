"""The pause before one tries again: longer each time, and different from process to process.

So that a Redis that comes back is not run down, nor one that takes connections and ends them all asked in a circle.
"""

import random
from time import monotonic
from typing import Final

import gevent

FIRST: Final = 0.1  # seconds at most before the first new attempt; doubled for each one
LONGEST: Final = 2.0  # what went well for longer than that begins with the first one again


class Backoff:
    """The pauses of one who tries."""

    def __init__(self) -> None:
        self._pause = FIRST
        self._waited_at = 0.0

    def wait(self) -> None:
        """Return when the next attempt may begin.  Blocks."""
        if monotonic() - self._waited_at > LONGEST:
            self._pause = FIRST
        gevent.sleep(random.uniform(self._pause / 4, self._pause))  # noqa: S311
        self._pause = min(LONGEST, 2 * self._pause)
        self._waited_at = monotonic()
