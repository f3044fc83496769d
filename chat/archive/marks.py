"""How far users have read: kept in memory, and written down once a second, all in one transaction.

Everybody who looks at a busy channel moves a mark with each message; a write for each would cost more than the messages.
"""

from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Final, TypeAlias

import gevent
from gevent.lock import BoundedSemaphore

from chat.clock import Clock, Timer
from chat.errors import ChatError

INTERVAL: Final = 1.0  # seconds

log: Final = getLogger("chat")

Reader: TypeAlias = tuple[str, str]
"""A log and a username."""


class Marks:
    """Those that are not written down yet.  `write` writes some, all or none.  Blocks."""

    def __init__(self, write: Callable[[Mapping[Reader, int]], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._new: dict[Reader, int] = {}
        self._under_way: dict[Reader, int] = {}
        self._writing = BoundedSemaphore(1)
        self._timer: Timer | None = None
        self._flushing: gevent.Greenlet[[], None] | None = None
        self._is_closed = False

    def put(self, reader: Reader, offset: int) -> None:
        """Remember it; it never goes back.  Never yields."""
        self._new[reader] = max(offset, self._new.get(reader, 0))
        self._schedule()

    def get(self, reader: Reader) -> int | None:
        """The mark, None where the one that is written down holds.  Never yields."""
        found = [marks[reader] for marks in (self._new, self._under_way) if reader in marks]
        return max(found, default=None)

    def forget(self, logs: frozenset[str]) -> None:
        """Drop those of `logs`, also of what is under way, should that fail.  Never yields."""
        self._new = {reader: offset for reader, offset in self._new.items() if reader[0] not in logs}
        self._under_way = {reader: offset for reader, offset in self._under_way.items() if reader[0] not in logs}

    def flush(self) -> None:
        """Write down what there is.  Blocks.  Raises: what `write` raises; then it is tried again later."""
        with self._writing:
            if not self._new:
                return
            self._under_way, self._new = self._new, {}
            try:
                self._write(self._under_way)
            except BaseException:
                for reader, offset in self._under_way.items():
                    self.put(reader, offset)
                raise
            finally:
                self._under_way = {}

    def close(self) -> None:
        """Flush, if it can be done, and end.  Blocks; idempotent."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            self._flushing.join()
        self._try_to_flush()

    def _schedule(self) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = self._clock.later(INTERVAL, self._fall_due)

    def _fall_due(self) -> None:
        """A timer calls this in the hub."""
        self._timer = None
        if self._flushing is None or self._flushing.ready():
            self._flushing = gevent.spawn(self._try_to_flush)
        else:
            self._schedule()

    def _try_to_flush(self) -> None:
        try:
            self.flush()
        except ChatError as exc:
            log.warning("how far users have read cannot be written down: %s", exc)
