"""A WebSocket over TLS: the same as a parked one, but driven by greenlets.

The TLS state lives in the socket object, so the descriptor cannot be taken out of it.  The handler's own greenlet stays and
reads, and a second one writes.
"""

from contextlib import suppress
from typing import Final

import gevent
from gevent.event import Event
from gevent.socket import SHUT_WR
from gevent.socket import socket as GeventSocket
from gevent.ssl import SSLSocket

from chat.clock import Clock
from chat.turn import yield_turn
from web.websocket.base import BaseSocket
from web.websocket.limits import Bounds
from web.websocket.protocol import MessageProtocol

_RECORD: Final = 16384  # bytes a TLS record holds; also what one turn of the writer sends at most

# What a socket raises that was closed under its reader: gevent's cancelled wait, or ssl's "closed or unwrapped".
_GONE: Final = (OSError, ValueError)


class GreenletSocket(BaseSocket):
    """One WebSocket over TLS; its `run` is the reader."""

    __slots__ = ("_may_read", "_sock", "_work")

    def __init__(self, protocol: MessageProtocol, bounds: Bounds, clock: Clock) -> None:
        super().__init__(protocol, bounds, clock)
        self._sock: GeventSocket | None = None
        self._may_read = Event()
        self._work = Event()

    def park(self, sock: GeventSocket, rest: bytes) -> None:
        """Share `sock` until `run` returns; `rest` was read ahead.  Never yields."""
        sock.settimeout(None)  # deadlines are timers
        self._sock = sock
        self._rest = rest

    def run(self) -> None:
        """Read until the connection is closed.  Blocks."""
        writer = gevent.spawn(self._write_all)
        try:
            while not self.closed:
                self._may_read.wait()
                self._read()
                yield_turn()  # recv() does not yield while there is input: one fast sender would starve the rest
        finally:
            self.abort()
            writer.join()

    def _read(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(self._read_buf)
        except _GONE:
            data = b""
        try:
            self._heard(data)
        except Exception:
            self._crashed()

    def _write_all(self) -> None:
        """The writer greenlet: sends what is queued until the connection is closed."""
        while not self.closed:
            self._work.wait()
            self._work.clear()
            try:
                self._drain()
            except _GONE:
                self._lost()
            except Exception:
                self._crashed()

    def _drain(self) -> None:
        while self._outbox is not None and self._sock is not None:
            sent = self._sock.send(self._outbox.piece(_RECORD))
            if not self.closed:
                self._sent(sent)

    def _transmit(self, data: bytes) -> None:
        self._queue(data)
        self._work.set()

    def _read_on(self) -> None:
        self._may_read.set()

    def _read_off(self) -> None:
        self._may_read.clear()

    def _half_close(self) -> None:
        if self._sock is not None:
            half_close(self._sock)

    def _release(self) -> None:
        sock, self._sock = self._sock, None
        self._may_read.set()
        self._work.set()
        if sock is not None:
            with suppress(OSError):
                sock.close()  # wakes whoever waits on it


def half_close(sock: GeventSocket) -> None:
    """Shut down writing, with TLS's own goodbye where there is TLS.  Never yields; reading goes on."""
    with suppress(*_GONE):
        if isinstance(sock, SSLSocket):
            sock.settimeout(0)
            sock.unwrap()  # raises because the peer's goodbye is not here yet, but ours is sent
    with suppress(*_GONE):
        sock.settimeout(None)
        # Not SSLSocket's, which would also end reading.
        GeventSocket.shutdown(sock, SHUT_WR)
