"""Where the work on a database runs, so that it holds up no other greenlet: in a thread, or in the caller's greenlet.

A hub that is busy all but keeps the interpreter to itself.  It lets go of it at each system call, for a microsecond or two,
and another thread, which hears of that and wakes up, comes too late, every time: a write of 0.1 ms has been seen to take a
second.  So whoever hands work to a thread lets it have the interpreter for a moment.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chat.engine import checkpoint, is_cooperative, is_in_memory, make_engine, only_reading, parse
from chat.errors import DatabaseUnavailable

T = TypeVar("T")

# Of those that hold up the thread, not the greenlet.
allocate_lock: Final = get_original("_thread", "allocate_lock")
SimpleQueue: Final = get_original("queue", "SimpleQueue")

CONNECTIONS: Final = 10
DEADLINE: Final = 30.0  # seconds for one piece of work, waiting for a connection included
CHECKPOINT_EVERY: Final = 64  # pieces of work that write: seldom the 1000 pages at which SQLite lets whoever writes do it
CLOSE_WAIT: Final = 2.0  # seconds for what runs when it is closed
HEAD_START: Final = 0.0005  # seconds for which everything else stands still: most work is done in half of it
MOMENT: Final = 0.0002  # seconds for which it does again and again, while the work is not done
PAUSE: Final = 0.005  # seconds before the first of them; each later one comes twice as late
LONGEST_PAUSE: Final = 0.1


class Executor(ABC):
    """Runs work on one database."""

    @abstractmethod
    def do(self, job: Callable[[Engine], T]) -> T:
        """Return `job(engine)`.  Blocks.  Raises: DatabaseUnavailable, and whatever `job` raises."""

    def do_at_once(self, job: Callable[[Engine], object]) -> bool:
        """Do `job(engine)` if that takes a moment only; False: perhaps it is done, or being done.  Never yields.

        Raises: whatever `job` raises.
        """
        del job
        return False

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
    that reads, unless the database is in the memory of a connection, which no other one sees.  And one that brings into
    SQLite's file what was written ahead of it: that waits for the disk, and nobody else should.
    """

    def __init__(self, url: URL) -> None:
        self._writer = _Thread(lambda: make_engine(url))
        self._reader = self._writer
        self._checker: _Thread | None = None
        if not is_in_memory(url):
            self._reader = _Thread(lambda: only_reading(make_engine(url)))
            if url.get_backend_name() == "sqlite":
                self._checker = _Thread(lambda: make_engine(url))
        self._ahead = CHECKPOINT_EVERY  # pieces of work since the last checkpoint; the first one opens the file
        self._is_checking = False

    def do(self, job: Callable[[Engine], T]) -> T:
        result = self._writer.do(job)
        self._count()
        return result

    def do_at_once(self, job: Callable[[Engine], object]) -> bool:
        is_done = self._writer.do_at_once(job)
        self._count()
        return is_done

    def _count(self) -> None:
        self._ahead += 1
        if self._checker is not None and self._ahead > CHECKPOINT_EVERY and not self._is_checking:
            self._is_checking = True
            gevent.spawn(self._check, self._checker)

    def _check(self, checker: "_Thread") -> None:
        try:
            while self._ahead > CHECKPOINT_EVERY:
                self._ahead = 0
                checker.do(checkpoint, MOMENT)
        except (DatabaseUnavailable, SQLAlchemyError, sqlite3.Error, OSError):
            pass  # the writer will have to do it, and say what is wrong
        finally:
            self._is_checking = False

    def look(self, job: Callable[[Engine], T]) -> T:
        return self._reader.do(job)

    def close(self) -> None:
        threads = {thread for thread in (self._reader, self._writer, self._checker) if thread is not None}
        gevent.wait([thread.close() for thread in threads], timeout=CLOSE_WAIT)
        for thread in threads:
            thread.end()


class _Thread:
    """A native thread with an engine of its own, so that no lock that gevent has patched is shared by two native threads.
    Not of the hub's own thread pool: DNS lives there."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None  # until it is wanted
        self._pool = ThreadPool(1)
        self._serving: AsyncResult[None] | None = None  # likewise
        self._works = SimpleQueue()
        self._turn = BoundedSemaphore(1)
        self._is_closed = False

    def do(self, job: Callable[[Engine], T], head_start: float = HEAD_START) -> T:
        self._check_open()
        with self._turn:
            self._check_open()
            if self._serving is None:
                self._serving = self._pool.spawn(self._serve)
            work = _Work(job)
            self._works.put(work)
            work.give_way(head_start)
            pause = PAUSE
            while not work.wait(pause):
                work.give_way(MOMENT)
                pause = min(2 * pause, LONGEST_PAUSE)
        return work.outcome()

    def do_at_once(self, job: Callable[[Engine], object]) -> bool:
        if self._is_closed or self._serving is None or self._turn.locked():
            return False
        work = _Work(job)
        self._works.put(work)
        work.give_way(HEAD_START)
        if work.is_done:
            work.outcome()
        return work.is_done

    def _check_open(self) -> None:
        if self._is_closed:
            raise DatabaseUnavailable

    def close(self) -> "AsyncResult[None]":
        """Take no more work, and begin to close; ready when that is done."""
        if not self._is_closed:
            self._is_closed = True
            self._works.put(None)
        if self._serving is None:
            self._serving = AsyncResult()
            self._serving.set(None)
        return self._serving

    def end(self) -> None:
        """End the thread, unless something hangs in it, which ends with the process."""
        if self._serving is not None and self._serving.ready():
            self._pool.kill()

    # In the thread

    def _serve(self) -> None:
        while (work := self._works.get()) is not None:
            work.run(self._opened)
        if self._engine is not None:
            self._engine.dispose()

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = self._make()
        return self._engine


class _Work(Generic[T]):
    """One piece of work for another thread, and what has come of it."""

    __slots__ = ("_error", "_job", "_loop", "_over", "_result", "_under_way", "is_done")

    def __init__(self, job: Callable[[Engine], T]) -> None:
        self._job = job
        self._result: T | None = None
        self._error: BaseException | None = None
        self._under_way = allocate_lock()
        self._under_way.acquire()
        self.is_done = False
        self._over: Event | None = None  # for who waits
        self._loop = gevent.get_hub().loop

    def run(self, opened: Callable[[], Engine]) -> None:
        """Do it, in the other thread."""
        try:
            self._result = self._job(opened())
        except BaseException as exc:
            self._error = exc
        self.is_done = True
        self._under_way.release()
        if self._over is not None:
            self._loop.run_callback_threadsafe(self._over.set)

    def give_way(self, seconds: float) -> None:
        """Let the other thread have the interpreter until it is done, for so long at most.  No greenlet runs meanwhile."""
        if not self.is_done:
            self._under_way.acquire(timeout=seconds)

    def wait(self, seconds: float) -> bool:
        """Return whether it is done, as soon as it is, or after so many seconds.  Blocks."""
        if not self.is_done:
            self._over = self._over or Event()
            if not self.is_done:  # which it may have been done before it could know that somebody waits
                self._over.wait(seconds)
        return self.is_done

    def outcome(self) -> T:
        """What came of it.  Raises: what it raised."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


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
