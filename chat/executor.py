"""Where the work on a database runs, so that it holds up no other greenlet: in a thread, or in the caller's greenlet."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, TypeVar

import gevent
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chat.engine import is_cooperative, is_in_memory, make_engine, only_reading, parse
from chat.errors import DatabaseUnavailable

T = TypeVar("T")

CONNECTIONS: Final = 10
DEADLINE: Final = 30.0  # seconds for one piece of work, waiting for a connection included
CLOSE_WAIT: Final = 2.0  # seconds for what runs when it is closed


class Executor(ABC):
    """Runs work on one database."""

    @abstractmethod
    def do(self, job: Callable[[Engine], T]) -> T:
        """Return `job(engine)`.  Blocks.  Raises: DatabaseUnavailable, and whatever `job` raises."""

    @abstractmethod
    def look(self, job: Callable[[Engine], T]) -> T:
        """The same with an engine that only reads, and waits for nobody who writes."""

    @abstractmethod
    def close(self) -> None:
        """Give what runs CLOSE_WAIT seconds, and close.  Blocks; idempotent."""


def make_executor(url: str) -> Executor:
    """Return the one for this database.  Blocks.  Raises: ValueError, OSError."""
    parsed = parse(url)
    if is_cooperative(parsed):
        return Cooperative(make_engine(parsed, CONNECTIONS))
    return InThreads(parsed)


class InThreads(Executor):
    """One native thread that writes, first come, first served: there is never a second writer to wait for.  One beside it
    that reads, unless the database is in the memory of a connection, which no other one sees."""

    def __init__(self, url: URL) -> None:
        self._writer = _Thread(lambda: make_engine(url))
        self._reader = self._writer if is_in_memory(url) else _Thread(lambda: only_reading(make_engine(url)))

    def do(self, job: Callable[[Engine], T]) -> T:
        return self._writer.do(job)

    def look(self, job: Callable[[Engine], T]) -> T:
        return self._reader.do(job)

    def close(self) -> None:
        threads = {self._reader, self._writer}
        gevent.wait([thread.close() for thread in threads], timeout=CLOSE_WAIT)
        for thread in threads:
            thread.end()


class _Thread:
    """A native thread with an engine of its own, so that no lock that gevent has patched is shared by two native threads.
    Not of the hub's own thread pool: DNS lives there."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._pool = ThreadPool(1)
        self._make = make
        self._engine: Engine | None = None  # until it is wanted
        self._closing: AsyncResult[None] | None = None

    def do(self, job: Callable[[Engine], T]) -> T:
        if self._closing is not None:
            raise DatabaseUnavailable
        result, error = self._pool.apply(self._tried, (job,))
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _tried(self, job: Callable[[Engine], T]) -> tuple[T | None, Exception | None]:
        """What is raised in a pool's thread is printed there by gevent, so it is handed over as a value."""
        try:
            if self._engine is None:
                self._engine = self._make()
            return job(self._engine), None
        except Exception as exc:
            return None, exc

    def close(self) -> "AsyncResult[None]":
        """Take no more work, and begin to close; ready when that is done."""
        if self._closing is None:
            self._closing = self._pool.spawn(self._dispose)
        return self._closing

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def end(self) -> None:
        """End the thread, unless something hangs in it, which ends with the process."""
        if self._closing is not None and self._closing.ready():
            self._pool.kill()


class Cooperative(Executor):
    """The caller's greenlet and a pool of connections, for a driver that waits as gevent does.

    At its deadline a piece of work is left by an exception that is no Exception, so SQLAlchemy throws the connection away
    in whatever state it is.
    """

    def __init__(self, engine: Engine, deadline: float = DEADLINE) -> None:
        self._engine = engine
        self._reading = only_reading(engine)
        self._deadline = deadline
        self._is_closed = False
        self._running = 0
        self._idle = Event()
        self._idle.set()

    def do(self, job: Callable[[Engine], T]) -> T:
        return self._do(self._engine, job)

    def look(self, job: Callable[[Engine], T]) -> T:
        return self._do(self._reading, job)

    def _do(self, engine: Engine, job: Callable[[Engine], T]) -> T:
        if self._is_closed:
            raise DatabaseUnavailable
        self._running += 1
        self._idle.clear()
        deadline = gevent.Timeout.start_new(self._deadline)
        try:
            return job(engine)
        except gevent.Timeout as exc:
            if exc is not deadline:
                raise
            raise DatabaseUnavailable from exc
        except PoolTimeout as exc:
            raise DatabaseUnavailable from exc
        finally:
            deadline.close()
            self._running -= 1
            if not self._running:
                self._idle.set()
            if self._is_closed:  # what outlasts it leaves its connection in the pool, for nobody
                self._engine.pool.dispose()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._idle.wait(CLOSE_WAIT)
            self._engine.pool.dispose()
