"""When a turn of the fan-out begins: at once, unless it is dear and more is about to come.

A turn costs a room the same however much it writes, so that in two parts it takes twice as long.  What the log is taking
just now is waited for, a fraction of the time that a turn takes.  Where several processes speak, each of them goes on when
it has heard the others, and says what its own members say: so until all have spoken again there is a part only, and that
is waited for longer.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final

import gevent
from gevent.event import Event as Flag

PATIENCE: Final = 0.25  # of the time that the last turn took, for what the log is taking just now
DEAR: Final = 0.002  # seconds that the last turn took at least for that to be worth while
HOLD: Final = 8.0  # times what the last turn took, from its end, for what other processes say; but not more than
HOLD_MOST: Final = 0.01  # seconds
HELD: Final = 0.0005  # seconds that the last turn took at least for that to be worth while


class Pace:
    """What is known of the last turn that wrote something of the log, and of what waits for the next one."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """`waiting` returns how many items wait."""
        self.wait_for_log: Callable[[float], None] | None = None
        """Returns when nothing is on its way to the log, or after so many seconds; None where nothing ever is."""
        self._waiting = waiting
        self._began = 0.0
        self._ended = 0.0
        self._took = 0.0  # seconds
        self._speakers: set[str] = set()  # processes whose words wait
        self._writes: set[str] = set()  # processes whose words are being written
        self._awaited: set[str] = set()  # processes whose words were written
        self._enough = 0.0  # items: as many as were written, or half of what was enough for that
        self._is_holding = False
        self._has_come = Flag()

    def heard(self, process: str) -> None:
        """That one has spoken.  Never yields."""
        self._speakers.add(process)

    def more(self) -> None:
        """One more item waits, or some.  Never yields."""
        if self._is_holding and self._is_whole():
            self._has_come.set()

    def await_more(self) -> None:
        """Return when what waits, some of which is logged, should be written.  Blocks."""
        if self.wait_for_log is None:
            return
        gevent.sleep(0)  # whatever was said by now shall be on its way, and who has said what waits be answered with it
        if len(self._awaited) > 1 and self._took >= HELD:
            self._hold()
        elif self._took >= DEAR:
            self.wait_for_log(PATIENCE * self._took)

    def begins(self) -> None:
        """A turn writes what waits.  Never yields."""
        self._writes, self._speakers = self._speakers, set()
        self._began = perf_counter()

    def ends(self, count: int) -> None:
        """It has written so many items.  Never yields."""
        if self._writes:  # an answer to one alone says nothing of the next turn
            self._ended = perf_counter()
            self._took = self._ended - self._began
            self._awaited = self._writes
            self._enough = max(count, self._enough / 2)

    def _hold(self) -> None:
        rest = self._ended + min(HOLD * self._took, HOLD_MOST) - perf_counter()
        if rest > 0 and not self._is_whole():
            self._is_holding = True
            self._has_come.clear()
            self._has_come.wait(rest)
            self._is_holding = False

    def _is_whole(self) -> bool:
        return self._awaited <= self._speakers or self._waiting() >= self._enough
