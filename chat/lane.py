"""Work that may wait and must not overlap: what is put meanwhile is the next batch."""

from collections.abc import Callable
from time import perf_counter
from typing import Generic, TypeVar

import gevent
from gevent.event import Event as Flag

T = TypeVar("T")


class Lane(Generic[T]):
    """Hands what was put to `work`, which raises nothing, batch after batch.

    Where the work `waits` it has a greenlet, but only while there is some: a channel that is silent has one less.  Before
    that is begun, `at_once` may do the batch, or leave it all to `work`; it never yields.  Otherwise the work is done by
    whoever calls `go`, without a turn of the hub.
    """

    __slots__ = ("_at_once", "_done", "_done_one", "_given_up", "_greenlet", "_waits", "_work", "under_way", "waiting")

    def __init__(
        self, work: Callable[[list[T]], object], *, waits: bool, at_once: Callable[[list[T]], bool] = lambda _: False
    ) -> None:
        self._work = work
        self._waits = waits
        self._at_once = at_once
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
        while self.waiting and not self.under_way and self._greenlet is None:
            if self._waits and not self._is_done_at_once():
                self._greenlet = gevent.spawn(self._run)
            elif not self._waits:
                self._run()

    def _is_done_at_once(self) -> bool:
        """Otherwise it still waits, in its place."""
        batch = self.under_way = self.waiting
        self.waiting = []
        is_done = True  # or given up, if it raises after all
        try:
            is_done = self._at_once(batch)
        finally:
            self.under_way = []
            if is_done:
                self._done += len(batch)
                self._done_one.set()
            else:
                self.waiting = batch + self.waiting
        return is_done

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
