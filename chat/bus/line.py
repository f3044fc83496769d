"""One connection to a Redis, kept up: what is common to asking (`Link`) and to hearing (`Ear`).

What is put in one turn of the hub goes out in one write.  A connection whose answers are late is given up, and made anew
after a pause.
"""

from abc import ABC, abstractmethod
from contextlib import suppress
from logging import Logger
from time import monotonic
from typing import Any, Final

import gevent
from gevent.event import Event as Flag
from redis.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NotConnected

from chat.bus.backoff import Backoff
from chat.bus.connecting import DEADLINE, Connect
from chat.turn import yield_turn

LOOKS: Final = 5  # in a deadline: whether one has passed
SLICE: Final = 0.005  # seconds of taking what is read before others get a turn: what never stops coming never blocks


class Line(ABC):
    """Not connected before `start`."""

    def __init__(self, name: str, connect: Connect, log: Logger, *, deadline: float = DEADLINE) -> None:
        """`name` is for the log.  An answer that is not there `deadline` seconds after its question is late, and so is
        what is behind it.  Who is silent for as long, and was asked nothing, is asked whether it is alive."""
        self.name = name
        self.is_up = False
        self._connect = connect
        self._log = log
        self._deadline = deadline
        self._out: list[bytes] = []
        self._work = Flag()
        self._tried = Flag()  # at least once
        self._error: Exception = NotConnected("closed")
        self._is_missed = False  # as the log says
        self._is_closed = False
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
        self._is_closed = True
        if self._greenlet is not None and not self._greenlet.ready():
            # Not by GreenletExit: only for a timeout does gevent close a socket in the middle of a handshake.
            self._greenlet.kill(TimeoutError() if self._greenlet.started else gevent.GreenletExit())
        self._tried.set()

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
        """Something came.  Never yields.  Raises: RedisError when it cannot be; then all begins anew."""

    @abstractmethod
    def _refused(self, error: RedisError) -> None:
        """An error came in the place of an answer.  Never yields.  Raises: RedisError, as `_heard`."""

    @abstractmethod
    def _ended(self) -> None:
        """It is down.  Never yields."""

    @abstractmethod
    def _waits_since(self) -> float | None:
        """Since when an answer is due; None: none is.  Never yields."""

    @abstractmethod
    def _ask_for_life(self) -> None:
        """Ask something that is answered at once.  Never yields."""

    def _run(self) -> None:
        backoff = Backoff()
        while not self._is_closed:
            try:
                self._connection = self._connect()
                self._serve(self._connection)
            except Exception as exc:  # whatever it is, it must not be the last attempt
                self._miss(exc)
            self._tried.set()
            if not self._is_closed:
                with suppress(TimeoutError):  # of `close`
                    backoff.wait()

    def _miss(self, error: Exception) -> None:
        self._error = error
        if self._is_closed:
            return
        is_usual = isinstance(error, RedisError | OSError)
        if not self._is_missed:
            self._log.error("%s is away: %s", self.name, error, exc_info=None if is_usual else error)
        self._is_missed = True

    def _serve(self, connection: AbstractConnection) -> None:
        if self._is_missed:
            self._log.warning("%s is back", self.name)
        self._is_missed = False
        self._heard_at = monotonic()
        self.is_up = True
        self._tried.set()
        beside: list[gevent.Greenlet[..., None]] = [gevent.spawn(self._write, connection), gevent.spawn(self._watch)]
        try:
            self._began()
            self._read(connection)
        finally:
            self.is_up = False
            self._out.clear()
            self._ended()
            connection.disconnect()
            gevent.killall(beside)

    def _read(self, connection: AbstractConnection) -> None:
        read, heard = connection.read_response, self._heard
        busy = 0.0  # seconds, since others had a turn
        while True:
            try:
                answer = read(disable_decoding=True, disconnect_on_error=False)
            except (ResponseError, BusyLoadingError) as exc:  # the parser has read them to their end
                self._heard_at = monotonic()
                self._refused(exc)
            else:
                self._heard_at = monotonic()
                heard(answer)
            busy += monotonic() - self._heard_at
            if busy > SLICE:
                yield_turn()
                busy = 0.0

    def _write(self, connection: AbstractConnection) -> None:
        try:
            while True:
                self._work.wait()
                self._work.clear()
                requests, self._out = self._out, []
                if not connection.is_connected:  # it would connect anew, by itself
                    return
                connection.send_packed_command([b"".join(requests)], check_health=False)
        except Exception:  # of TLS that is closed meanwhile it may be any
            connection.disconnect()  # which the reader notices, and tells

    def _watch(self) -> None:
        pause = self._deadline / LOOKS
        now = monotonic()
        while True:
            gevent.sleep(pause)
            before, now = now, monotonic()
            since = self._waits_since()
            if now - before > 2 * pause:
                continue  # this process has stood still: what has come meanwhile is not read yet
            if since is not None and now - since > self._deadline:
                self._log.error("%s has not answered for %.1f s", self.name, now - since)
                self.hang_up()
            elif since is None and now - self._heard_at > self._deadline:
                self._ask_for_life()
