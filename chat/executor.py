"""Where the work on a database runs, so that it holds up no other greenlet: in a thread, or in the caller's greenlet."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, TypeVar

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chat.engine import is_cooperative, make_engine, parse
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
    def close(self) -> None:
        """Give what runs CLOSE_WAIT seconds, and close.  Blocks; idempotent."""


def make_executor(url: str) -> Executor:
    """Return the one for this database.  Blocks.  Raises: ValueError, OSError."""
    parsed = parse(url)
    if is_cooperative(parsed):
        return Cooperative(make_engine(parsed, CONNECTIONS))
    return InThread(lambda: make_engine(parsed))


class InThread(Executor):
    """One native thread, first come, first served: there is never a second writer to wait for, and no lock that gevent has
    patched is shared by two native threads.  Not the hub's own thread pool: DNS lives there."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._thread = ThreadPool(1)
        self._is_closed = False
        try:
            self._engine = self._apply(make)
        except BaseException:
            self._thread.kill()
            raise

    def do(self, job: Callable[[Engine], T]) -> T:
        if self._is_closed:
            raise DatabaseUnavailable
        return self._apply(lambda: job(self._engine))

    def _apply(self, job: Callable[[], T]) -> T:
        result, error = self._thread.apply(_tried, (job,))
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        closing = self._thread.spawn(self._engine.dispose)
        closing.wait(CLOSE_WAIT)
        if closing.ready():  # else what hangs in it ends with the process
            self._thread.kill()


def _tried(job: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What is raised in a pool's thread is printed there by gevent, so it is handed over as a value."""
    try:
        return job(), None
    except Exception as exc:
        return None, exc


class Cooperative(Executor):
    """The caller's greenlet and a pool of connections, for a driver that waits as gevent does.

    At its deadline a piece of work is left by an exception that is no Exception, so SQLAlchemy throws the connection away
    in whatever state it is.
    """

    def __init__(self, engine: Engine, deadline: float = DEADLINE) -> None:
        self._engine = engine
        self._deadline = deadline
        self._is_closed = False
        self._running = 0
        self._idle = Event()
        self._idle.set()

    def do(self, job: Callable[[Engine], T]) -> T:
        if self._is_closed:
            raise DatabaseUnavailable
        self._running += 1
        self._idle.clear()
        deadline = gevent.Timeout.start_new(self._deadline)
        try:
            return job(self._engine)
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

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._idle.wait(CLOSE_WAIT)
            self._engine.dispose()
