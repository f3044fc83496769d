"""How slowly a peer may take part in a body, or in an answer.

A deadline for the whole of it would have to know its size, and what an application streams has none.  So only the time is
counted in which we wait for the peer, and each byte that passes earns some of it back, as with Kestrel's
MinRequestBodyDataRate and MinResponseDataRate.  Never more than there was at first: a burst buys no long silence.
"""

from types import TracebackType
from typing import Final

import gevent

from chat.clock import Clock, SystemClock
from web.websocket.limits import HttpLimits

_SYSTEM: Final = SystemClock()


class Pace:
    """Use as `with pace: ...` around each wait for the peer, and tell it what the wait has brought.

    Raises: TimeoutError out of the block, or before it, when no time is left.  A socket's own timeout would begin anew
    with each byte of a TLS record.
    """

    __slots__ = ("_began", "_clock", "_full", "_rate", "_timeout", "left")

    def __init__(self, limits: HttpLimits, clock: Clock = _SYSTEM) -> None:
        self._clock = clock
        self._full = self.left = limits.io_timeout  # seconds
        self._rate = limits.io_rate

    def __enter__(self) -> None:
        if self.left <= 0:
            raise TimeoutError
        self._began = self._clock.monotonic()
        self._timeout = gevent.Timeout.start_new(self.left, TimeoutError())

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._timeout.close()
        self.left = max(self.left - (self._clock.monotonic() - self._began), 0.0)

    def earn(self, size: int) -> None:
        """`size` bytes have passed.  Never yields."""
        if size:
            self.left = min(self.left + size / self._rate, self._full) if self._rate else self._full
