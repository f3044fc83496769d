"""Offsets that wait to be written down: all that come while one transaction runs share the next one.

A server that ends has thousands at once, and a transaction of its own costs each of them milliseconds.  There is no
timer: one that comes alone is written at once.
"""

from collections.abc import Callable, Mapping

from gevent.lock import BoundedSemaphore


class _Batch:
    """Offsets by name, of one transaction."""

    def __init__(self) -> None:
        self.offsets: dict[str, int] = {}
        self.is_over = False
        self.error: Exception | None = None


class Offsets:
    """`write` writes some down, all or none of them.  Blocks."""

    def __init__(self, write: Callable[[Mapping[str, int]], None]) -> None:
        self._write = write
        self._writing = BoundedSemaphore(1)
        self._gathering = _Batch()

    def put(self, name: str, offset: int) -> None:
        """Return when it is written down.  Blocks.  Nobody may put another one of `name` meanwhile.

        Raises: whatever `write` raises; then nothing that shared its transaction is written down.  Who is killed waits
        for the transaction that it is part of: nothing is written for anybody who has left.
        """
        batch = self._gathering
        batch.offsets[name] = offset
        try:
            with self._writing:
                if not batch.is_over:  # the first of them; or it was killed, and this is the next
                    self._do(batch)
        except BaseException:
            del batch.offsets[name]
            with self._writing:
                raise
        if batch.error is not None:
            raise batch.error.with_traceback(None)  # which would grow with each that shares it

    def _do(self, batch: _Batch) -> None:
        if batch is self._gathering:
            self._gathering = _Batch()
        try:
            self._write(dict(sorted(batch.offsets.items())))  # in one order, so that no two can lock each other out
        except Exception as exc:
            batch.error = exc
        batch.is_over = True
