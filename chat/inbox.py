"""A bounded queue with one reader, which takes all that waits at once: that is where batches come from."""

from collections import deque
from typing import Generic, TypeVar

from gevent import Timeout
from gevent.event import Event as Flag

T = TypeVar("T")


class Inbox(Generic[T]):
    """What waits for a channel's greenlet.  What does not fit waits with its sender, or is refused."""

    __slots__ = ("_held", "_items", "_limit", "_space", "_work")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._held = 0
        self._work = Flag()
        self._space = Flag()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        return self.load >= self._limit

    @property
    def load(self) -> int:
        """What waits, and what was taken and is held."""
        return len(self._items) + self._held

    def hold(self) -> None:
        """Let one that was taken go on counting, because it takes up memory still.  Never yields."""
        self._held += 1

    def let_go(self, many: int) -> None:
        """They are done, whatever has become of them.  Never yields."""
        self._held -= many
        self._space.set()

    def force(self, item: T) -> None:
        """Put past the bound: for what is bounded elsewhere, or must not be lost.  Never yields."""
        self._items.append(item)
        self._work.set()

    def wait_for_space(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; return whether there is space, until the next yield.  Blocks."""
        with Timeout(timeout) as patience:
            try:
                while self.full:
                    self._space.clear()
                    self._space.wait()
            except Timeout as out:
                if out is not patience:
                    raise
                return False
        return True

    def take(self, most: int) -> list[T]:
        """Return the first `most` items, waiting until there is one.  Blocks."""
        if not self._items:
            self._work.clear()
            self._work.wait()
        if len(self._items) <= most:
            batch = list(self._items)
            self._items.clear()
        else:
            batch = [self._items.popleft() for _ in range(most)]
        self._space.set()
        return batch
