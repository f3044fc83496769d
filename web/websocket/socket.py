"""A WebSocket parked in the event loop: a descriptor, a read watcher and a protocol, no greenlet.

This is the only holder of the descriptor.  It is -1 once closed, and watchers stop before it is closed: a number that the
kernel gives out again must not carry one user's bytes to another.
"""

import _socket
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gevent import get_hub
from gevent.socket import socket as GeventSocket

from chat.clock import Clock
from web.websocket.base import OPEN, BaseSocket
from web.websocket.limits import Bounds
from web.websocket.protocol import MessageProtocol

if TYPE_CHECKING:
    from gevent._types import _IoWatcher

_READABLE: Final = 1  # libev's EV_READ and EV_WRITE
_WRITABLE: Final = 2


class Socket(BaseSocket):
    """One WebSocket whose descriptor we watch ourselves."""

    __slots__ = ("_fd", "_reader", "_writer")

    def __init__(self, protocol: MessageProtocol, bounds: Bounds, clock: Clock) -> None:
        super().__init__(protocol, bounds, clock)
        self._fd = -1
        self._reader: _IoWatcher | None = None  # while we read
        self._writer: _IoWatcher | None = None  # while something is queued

    def park(self, sock: GeventSocket, rest: bytes) -> None:
        """Take the descriptor out of `sock`, which is empty afterwards; `rest` was read ahead.  Never yields."""
        self._fd = sock.detach()  # which does not block, for gevent has seen to that
        self._rest = rest
        if self._fd < 0:
            self._lost()

    def _read_on(self) -> None:
        if self._reader is None:
            self._reader = get_hub().loop.io(self._fd, _READABLE)
            self._reader.start(self._on_readable)

    def _read_off(self) -> None:
        watcher, self._reader = self._reader, None
        _dispose(watcher)

    def _on_readable(self) -> None:
        try:
            self._read()
        except Exception:
            self._crashed()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, self._read_buf)
        except BlockingIOError:
            return
        except OSError:  # reset, timed out: gone, like an end without a word
            data = b""
        self._heard(data)

    def write(self, data: bytes) -> None:
        if self._outbox is not None or self._state is not OPEN or not data:
            super().write(data)
            return
        # The usual case, in one step: the fan-out does this for each member.
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost()
            return
        if sent < len(data):
            self._queue(memoryview(data)[sent:])
            self._write_on()

    def _transmit(self, data: bytes) -> None:
        is_next = self._outbox is None
        self._queue(data)
        self._write_on()
        if is_next:
            self._drain()

    def _write_on(self) -> None:
        if self._writer is None:
            self._writer = get_hub().loop.io(self._fd, _WRITABLE)
            self._writer.start(self._on_writable)

    def _on_writable(self) -> None:
        try:
            self._drain()
        except Exception:
            self._crashed()

    def _drain(self) -> None:
        assert self._outbox is not None
        try:
            sent = os.writev(self._fd, self._outbox.vectors())
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        if sent == self._outbox.size:
            self._write_off()
        self._sent(sent)

    def _write_off(self) -> None:
        watcher, self._writer = self._writer, None
        _dispose(watcher)

    def _half_close(self) -> None:
        # Only a socket object can shut down.  The plain one, and detached again, or it would close the descriptor.
        handle = _socket.socket(fileno=self._fd)
        with suppress(OSError):  # the peer was faster: the read watcher hears of it
            handle.shutdown(_socket.SHUT_WR)
        handle.detach()

    def _release(self) -> None:
        self._read_off()
        self._write_off()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _dispose(watcher: "_IoWatcher | None") -> None:
    if watcher is not None:
        watcher.stop()
        watcher.close()
