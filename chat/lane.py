"""Work that may wait and must not overlap: what is put meanwhile is the next batch."""

from collections.abc import Callable
from time import perf_counter
from typing import Generic, TypeVar

import gevent
from gevent.event import Event as Flag

T = TypeVar("T")


class Lane(Generic[T]):
    """Hands what was put to `work`, which raises nothing, batch after batch.

    Where the work `waits` it has a greenlet, but only while there is some: a channel that is silent has one less.
    Otherwise it is done at once by whoever calls `go`, without a turn of the hub.
    """

    __slots__ = ("_done", "_done_one", "_given_up", "_greenlet", "_waits", "_work", "under_way", "waiting")

    def __init__(self, work: Callable[[list[T]], object], *, waits: bool) -> None:
        self._work = work
        self._waits = waits
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._done = 0  # items of all batches so far
        self._done_one = Flag()
        self._given_up = False
        self.waiting: list[T] = []
        self.under_way: list[T] = []

    def __bool__(self) -> bool:
        return bool(self.waiting or self.under_way)

    @property
    def is_busy(self) -> bool:
        """Whether some work is being done, given up or not."""
        return self._greenlet is not None

    def put(self, item: T) -> None:
        """Add to the next batch.  Never yields."""
        self.waiting.append(item)

    def go(self) -> None:
        """Have done what was put.  Never yields."""
        if not self.waiting or self._greenlet is not None:
            return
        if self._waits:
            self._greenlet = gevent.spawn(self._run)
        else:
            self._run()

    def wait(self) -> None:
        """Return when all that was put before is done, or given up.  Blocks."""
        goal = self._done + len(self.under_way) + len(self.waiting)
        while self._done < goal and not self._given_up:
            self._done_one.clear()
            self.go()
            self._done_one.wait()

    def wait_idle(self, patience: float) -> None:
        """Return when nothing waits and nothing is under way, or after `patience` seconds.  Blocks."""
        until = perf_counter() + patience
        while self and (rest := until - perf_counter()) > 0:
            self._done_one.clear()
            self._done_one.wait(rest)

    def give_up(self) -> list[T]:
        """Begin no more, and return what is not done; what is under way goes on by itself.  Never yields."""
        self._given_up = True
        left = [*self.under_way, *self.waiting]
        self.waiting, self.under_way = [], []
        self._done_one.set()
        return left

    def _run(self) -> None:
        try:
            while self.waiting:
                self.under_way, self.waiting = self.waiting, []
                self._do(self.under_way)
        finally:
            self._greenlet = None

    def _do(self, batch: list[T]) -> None:
        try:
            self._work(batch)
        finally:  # a batch that fails after all must not hold up the next
            self._done += len(self.under_way)
            self.under_way = []
            self._done_one.set()
