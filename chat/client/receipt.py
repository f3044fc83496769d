"""What somebody who has asked the server for something can wait for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

import gevent
from gevent.event import AsyncResult

T = TypeVar("T")


class Waits:
    """Counts who waits: while somebody does, the socket is read on, though events pile up."""

    def __init__(self, on_wait: Callable[[], None]) -> None:
        self.count = 0
        self._on_wait = on_wait

    @contextmanager
    def one(self) -> Iterator[None]:
        """One waits inside."""
        self.count += 1
        self._on_wait()
        try:
            yield
        finally:
            self.count -= 1


class Receipt(Generic[T]):
    """For one request; it outlives connections.  `id` is the request's."""

    def __init__(self, id: str, waits: Waits) -> None:
        self.id = id
        self._waits = waits
        self._result: AsyncResult[T] = AsyncResult()

    @property
    def is_done(self) -> bool:
        """The server has answered, or there will be no answer."""
        return self._result.ready()

    def wait(self, timeout: float | None = None) -> T:
        """Return what the server answered: an offset, None for what has none; or a page.  Blocks.

        Raises: TimeoutError after `timeout` seconds, and then it may still be done; Refused; Unconfirmed; NotOpen.
        """
        if not self._result.ready():
            with self._waits.one(), gevent.Timeout(timeout, TimeoutError(f"no answer within {timeout} s")):
                self._result.wait()
        return cast(T, self._result.get(block=False))

    def settle(self, answer: T) -> None:
        """For who has the answer.  Never yields; the first one counts."""
        if not self.is_done:
            self._result.set(answer)

    def fail(self, error: Exception) -> None:
        """The same."""
        if not self.is_done:
            self._result.set_exception(error)
