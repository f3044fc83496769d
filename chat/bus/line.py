"""One connection to a Redis, kept up: what is common to asking (`Link`) and to hearing (`Ear`).

What is put in one turn of the hub goes out in one write.  A connection whose answers are late is given up, and made anew
after a pause that differs from process to process, so that a Redis that comes back is not run down.
"""

import random
from abc import ABC, abstractmethod
from logging import Logger
from time import monotonic
from typing import Any, Final

import gevent
from gevent.event import Event as Flag
from redis.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NotConnected

from chat.bus.connecting import Connect

DEADLINE: Final = 5.0  # seconds for an answer; what is behind a late one is late too
LOOK: Final = 1.0  # seconds between two looks whether one is late
QUIET: Final = 5.0  # seconds after which a silent connection is asked whether it is alive
FIRST_PAUSE: Final = 0.05  # seconds at most before the first new attempt; doubled for each one
LONGEST_PAUSE: Final = 2.0


class Line(ABC):
    """Not connected before `start`."""

    def __init__(self, name: str, connect: Connect, log: Logger) -> None:
        """`name` is for the log."""
        self.name = name
        self.is_up = False
        self._connect = connect
        self._log = log
        self._out: list[bytes] = []
        self._work = Flag()
        self._tried = Flag()  # at least once
        self._error: Exception | None = None
        self._heard_at = 0.0
        self._connection: AbstractConnection | None = None
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Begin to connect.  Never yields; idempotent."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def wait_tried(self) -> Exception | None:
        """Return, after the first attempt, what keeps it from being connected; None if it is.  Blocks."""
        self._tried.wait()
        return None if self.is_up else self._error

    def close(self) -> None:
        """Hang up.  Blocks; idempotent."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def hang_up(self) -> None:
        """Connect anew.  Never yields."""
        if self._connection is not None:
            self._connection.disconnect()

    def _put(self, request: bytes) -> None:
        self._out.append(request)
        self._work.set()

    @abstractmethod
    def _began(self) -> None:
        """It is up.  Never yields."""

    @abstractmethod
    def _heard(self, answer: Any) -> None:
        """Something came.  Never yields."""

    @abstractmethod
    def _refused(self, error: RedisError) -> None:
        """An error came in the place of an answer.  Never yields."""

    @abstractmethod
    def _ended(self) -> None:
        """It is down.  Never yields."""

    @abstractmethod
    def _waits_since(self) -> float | None:
        """When the oldest question was asked that is not answered.  Never yields."""

    @abstractmethod
    def _ask_for_life(self) -> None:
        """Ask something that is answered at once.  Never yields."""

    def _run(self) -> None:
        attempts = 0
        while True:
            try:
                self._connection = self._connect()
                if attempts:
                    self._log.warning("%s is back", self.name)
                attempts = 0
                self._serve(self._connection)
            except (RedisError, OSError) as exc:
                if not attempts:
                    self._log.error("%s is away: %s", self.name, exc)
                self._down(exc)
            finally:
                self.is_up = False
                self._tried.set()
            attempts += 1
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempts)
            gevent.sleep(random.uniform(longest / 4, longest))  # noqa: S311

    def _serve(self, connection: AbstractConnection) -> None:
        self._heard_at = monotonic()
        self._out.clear()
        self.is_up = True
        self._tried.set()
        beside: list[gevent.Greenlet[..., None]] = [gevent.spawn(self._write, connection), gevent.spawn(self._watch)]
        try:
            self._began()
            self._read(connection)
        finally:
            gevent.killall(beside)
            connection.disconnect()
            self._down(NotConnected("closed"))

    def _down(self, error: Exception) -> None:
        """What is asked from here on is refused; what was asked before too."""
        if self.is_up:
            self.is_up = False
            self._ended()
        self._error = error

    def _read(self, connection: AbstractConnection) -> None:
        read, heard = connection.read_response, self._heard
        while True:
            try:
                answer = read(disable_decoding=True, disconnect_on_error=False)
            except (ResponseError, BusyLoadingError) as exc:
                self._heard_at = monotonic()
                self._refused(exc)
            else:
                self._heard_at = monotonic()
                heard(answer)

    def _write(self, connection: AbstractConnection) -> None:
        try:
            while True:
                self._work.wait()
                self._work.clear()
                requests, self._out = self._out, []
                connection.send_packed_command([b"".join(requests)], check_health=False)
        except (RedisError, OSError):
            connection.disconnect()  # which the reader notices

    def _watch(self) -> None:
        while True:
            gevent.sleep(LOOK)
            now, since = monotonic(), self._waits_since()
            if since is not None and now - since > DEADLINE:
                self._log.error("%s has not answered for %g s", self.name, now - since)
                self.hang_up()
            elif since is None and now - self._heard_at > QUIET:
                self._ask_for_life()
