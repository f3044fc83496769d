"""What waits to be written down: all that comes while one transaction runs shares the next one.

Hundreds of channels speak at once, and a server that ends has thousands to put back; a transaction of its own costs each
of them milliseconds.  There is no timer: what comes alone is written as soon as all others had their turn.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import gevent
from gevent.lock import BoundedSemaphore

T = TypeVar("T")


class _Entry(Generic[T]):
    """One thing to be written, and what came of it."""

    __slots__ = ("error", "item")

    def __init__(self, item: T) -> None:
        self.item = item
        self.error: Exception | None = None


class _Batch(Generic[T]):
    """The entries of one transaction."""

    def __init__(self) -> None:
        self.entries: list[_Entry[T]] = []
        self.turn = BoundedSemaphore(1)  # of those who wait for it, one does it
        self.is_over = False


class Grouping(Generic[T]):
    """`write` writes some things down, all or none of them, and may do so again for those it has written.  Blocks.

    When it raises one of `refusals`, which is one thing's own fault, it is tried again with the halves, until only the
    culprits are left out.
    """

    def __init__(self, write: Callable[[Sequence[T]], None], refusals: tuple[type[Exception], ...] = ()) -> None:
        self._write = write
        self._refusals = refusals
        self._writing = BoundedSemaphore(1)
        self._gathering: _Batch[T] = _Batch()

    @property
    def is_busy(self) -> bool:
        """Whether something is being written down, or is to be."""
        return bool(self._gathering.entries) or self._writing.locked()

    def put(self, item: T) -> None:
        """Return when it is written down.  Blocks.

        Raises: what `write` raises; unless that is a refusal, nothing that shared its transaction is written down.
        Who is killed while another one does it waits for that transaction: nothing is written for anybody who has left.
        Who is killed while doing it leaves at once, and a native thread may go on to write all of it.
        """
        batch, entry = self._gathering, _Entry(item)
        batch.entries.append(entry)
        try:
            with batch.turn:
                if not batch.is_over:  # the first of them; or it was killed, and this is the next
                    self._do(batch)
        except BaseException:
            batch.entries.remove(entry)
            with batch.turn:
                raise
        if entry.error is not None:
            raise entry.error.with_traceback(None)  # which would grow with each that shares it

    def _do(self, batch: _Batch[T]) -> None:
        with self._writing:
            if batch is self._gathering:
                gevent.sleep(0)
                self._gathering = _Batch()
            self._write_all(tuple(batch.entries))
        batch.is_over = True

    def _write_all(self, entries: Sequence[_Entry[T]]) -> None:
        error: Exception | None = None
        try:
            self._write([entry.item for entry in entries])
        except self._refusals as exc:
            if len(entries) > 1:
                half = len(entries) // 2
                self._write_all(entries[:half])
                self._write_all(entries[half:])
                return
            error = exc
        except Exception as exc:
            error = exc
        for entry in entries:
            entry.error = error
