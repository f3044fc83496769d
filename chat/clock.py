"""Time, as something that can be handed in: the real one here, one that tests turn by hand in `chat.testing`.

A timer calls back in the hub, so what it calls must not block: it puts something into a queue, or spawns.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, time_ns

from gevent import get_hub


class Timer(ABC):
    """A call that is still to come."""

    @abstractmethod
    def cancel(self) -> None:
        """Make sure it does not come.  Never yields; idempotent."""


class Clock(ABC):
    """Where this package takes the time from."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    @abstractmethod
    def now(self) -> datetime:
        """The date, aware, in UTC, cut to milliseconds."""

    @abstractmethod
    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call `call` once in the hub after `seconds`.  Never yields; `call` must not block."""


class SystemClock(Clock):
    """The time of this machine."""

    def monotonic(self) -> float:
        return monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(time_ns() // 1_000_000 / 1000, UTC)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        return _LoopTimer(seconds, call)


class _LoopTimer(Timer):
    """A libev timer that frees itself once it has fired."""

    __slots__ = ("_call", "_watcher")

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._call = call
        # Not ref: a sweep that is due in half an hour does not keep a process alive.
        self._watcher = get_hub().loop.timer(seconds, ref=False)
        self._watcher.start(self._fire, update=True)  # from now on, not from when the hub last looked at its clock

    def _fire(self) -> None:
        self.cancel()
        self._call()

    def cancel(self) -> None:
        self._watcher.stop()
        self._watcher.close()
