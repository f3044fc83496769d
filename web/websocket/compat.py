"""`environ["wsgi.websocket"]`: a WebSocket for routes that were written for gevent-websocket.

Blocking, in the route's own greenlet.  It accepts the handshake when the route first receives, sends or closes; until then
a request stays plain HTTP, so that the view may still refuse it with a status of its own.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import gevent
from gevent.lock import BoundedSemaphore, RLock
from gevent.socket import SHUT_RDWR
from gevent.socket import socket as GeventSocket
from geventwebsocket.exceptions import WebSocketError
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode

from chat.clock import Clock, Timer
from chat.closing import CloseCode
from web.websocket.base import LINGER
from web.websocket.deadline import at_most
from web.websocket.limits import CLOSE_TIMEOUT
from web.websocket.protocol import Message, MessageProtocol
from web.websocket.refusal import Refusal
from web.websocket.tls import half_close

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

KEY: Final = "wsgi.websocket"

_READ: Final = 65536  # bytes a turn
_PIECE: Final = 65536  # bytes that a peer must take within ...
_PROGRESS: Final = 30.0  # ... so many seconds

# What a socket raises that was shut down under its reader: ssl says ValueError.
_GONE: Final = (OSError, ValueError)


class Upgrader(Protocol):
    """What is needed of the handler."""

    max_message: int | None
    max_fragments: int | None
    compression: bool
    clock: Clock

    def send_switching(self, subprotocol: str | None, *, compression: bool, shared: bool) -> list[Extension]: ...
    def read_ahead(self) -> bytes: ...
    def connection(self) -> GeventSocket: ...


class WebSocket:
    """What gevent-websocket's class of this name offers to a route."""

    def __init__(self, handler: Upgrader, environ: "WSGIEnvironment") -> None:
        self.environ = environ
        self.closed = False
        self.taken = False  # the route has used it, so the route's response is nobody's
        self.refusal: Refusal | None = None  # why the handshake failed, when it did
        self._handler: Upgrader | None = handler
        self._opened: tuple[GeventSocket, MessageProtocol] | None = None
        self._sending = RLock()
        self._reading = BoundedSemaphore(1)
        self._deadline: Timer | None = None
        self._farewell: int = CloseCode.NORMAL
        self._patience = 1.0  # 0 when we must not wait for the peer any more
        self._ended = False  # `receive` has said so
        self._last = b""  # our answer to the peer's close, while the route has yet to receive what came before that

    # For the route.

    @property
    def handler(self) -> Upgrader | None:
        return self._handler

    @property
    def origin(self) -> str | None:
        return self.environ.get("HTTP_ORIGIN")

    @property
    def path(self) -> str | None:
        return self.environ.get("PATH_INFO")

    @property
    def protocol(self) -> str | None:
        return self.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")

    @property
    def version(self) -> str | None:
        return self.environ.get("HTTP_SEC_WEBSOCKET_VERSION")

    def receive(self) -> Message | None:
        """Return the next message, text as str and binary as bytes; None at the end.  Blocks.

        Raises: WebSocketError, when the end was told before, or the handshake fails.
        """
        _, protocol = self._open()
        if self._ended:
            raise WebSocketError("Connection is already closed")
        while not protocol.messages and not protocol.over:
            self._turn()
        if protocol.messages:
            return protocol.messages.pop(0)
        self._say_last()
        self._ended = True
        return None

    def send(self, message: object, binary: bool | None = None) -> None:
        """Send one message; as text when it is a str, unless `binary` says otherwise.  Blocks.

        Raises: WebSocketError, when the connection has ended, or the handshake fails.
        """
        _, protocol = self._open()
        if self.closed:
            raise WebSocketError("Socket is dead")
        if binary is None:
            binary = not isinstance(message, str)
        frame = Frame(Opcode.BINARY if binary else Opcode.TEXT, _encode(message))
        self._send_all(frame.serialize(mask=False, extensions=protocol.extensions))

    def close(self, code: int = CloseCode.NORMAL, message: str | bytes = b"") -> None:
        """Say goodbye.  A `receive` in another greenlet ends once the peer has answered, or after 5 s.  Idempotent."""
        if self.closed:
            return
        with suppress(WebSocketError):
            _, protocol = self._open()
            frame = self._last or protocol.goodbye(code, _encode(message).decode("utf-8", "replace"))
            self.closed = self._ended = True
            if self._handler is not None:
                self._deadline = self._handler.clock.later(CLOSE_TIMEOUT, self._hang_up)
            if frame is None:  # a code that must not be sent
                self._hang_up()
            else:
                self._send_all(frame)

    # For the handler.

    def answered(self, status: str) -> None:
        """The route has returned a response, which nobody will see."""
        if status.startswith("5"):
            self._farewell = CloseCode.INTERNAL

    def failed(self, exc: BaseException) -> None:
        """The route has raised."""
        self._farewell = CloseCode.INTERNAL
        if isinstance(exc, gevent.GreenletExit):  # the server stops, and waits for nobody
            self._farewell = CloseCode.GOING_AWAY
            self._patience = 0.0

    def finish(self) -> None:
        """The route has returned: end what it began.  Blocks, for 6 s at most."""
        if self._opened is not None:
            sock, protocol = self._opened
            self.close(self._farewell)
            with at_most(CLOSE_TIMEOUT * self._patience):
                while not protocol.over:
                    self._turn()
            half_close(sock)
            with at_most(LINGER * self._patience), suppress(*_GONE):
                while sock.recv(_READ):
                    gevent.sleep(0)
            protocol.end()
        self.closed = self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()

    def detach(self) -> None:
        """The request is over."""
        self._handler = None
        self._opened = None
        self.closed = self._ended = True

    # Within.

    def _open(self) -> tuple[GeventSocket, MessageProtocol]:
        """Accept the handshake, the first time."""
        with self._sending:  # whoever comes second waits for the first one's 101
            return self._opened or self._accept()

    def _accept(self) -> tuple[GeventSocket, MessageProtocol]:
        if self._handler is None or self.taken:
            raise WebSocketError("Connection is already closed")
        self.taken = True
        try:
            extensions = self._handler.send_switching(None, compression=self._handler.compression, shared=False)
        except Refusal as refusal:
            self.refusal = refusal
            self.closed = True
            raise WebSocketError(refusal.message) from refusal
        except OSError as exc:
            self.closed = True
            raise WebSocketError("Socket is dead") from exc
        return self._begin(self._handler, extensions)

    def _begin(self, handler: Upgrader, extensions: list[Extension]) -> tuple[GeventSocket, MessageProtocol]:
        protocol = MessageProtocol(
            max_message=handler.max_message, max_fragments=handler.max_fragments, extensions=extensions
        )
        rest, sock = handler.read_ahead(), handler.connection()
        sock.settimeout(None)
        self._opened = sock, protocol
        if rest:
            self._take(rest)
        return self._opened

    def _turn(self) -> None:
        """Read once, or wait until another greenlet has.  Blocks, and always yields; recv() alone would not."""
        assert self._opened is not None
        if self._reading.locked():
            with self._reading:
                return
        with self._reading:
            try:
                data = self._opened[0].recv(_READ)
            except _GONE:
                data = b""
            self._take(data)
        gevent.sleep(0)

    def _take(self, data: bytes) -> None:
        assert self._opened is not None
        _, protocol = self._opened
        if data:
            protocol.feed(data)
        else:
            protocol.end()
        self._last = protocol.replies()
        if not (data and protocol.over and protocol.messages):
            self._say_last()

    def _say_last(self) -> None:
        assert self._opened is not None
        last, self._last = self._last, b""
        self.closed = self.closed or self._opened[1].over
        if last:
            with suppress(WebSocketError):
                self._send_all(last)

    def _send_all(self, data: bytes) -> None:
        """Send whole frames, which two greenlets must not mix."""
        assert self._opened is not None
        sock, protocol = self._opened
        try:
            with self._sending:
                for at in range(0, len(data), _PIECE):
                    with gevent.Timeout(_PROGRESS, TimeoutError()):
                        sock.sendall(data[at : at + _PIECE])
        except BaseException as exc:  # also the death of this greenlet: half a frame may be out
            self.closed = True
            protocol.end()
            if isinstance(exc, _GONE):
                raise WebSocketError("Socket is dead") from exc
            raise

    def _hang_up(self) -> None:
        """Wake whoever reads: the peer has not answered in time.  Never yields."""
        if self._opened is not None:
            with suppress(*_GONE):
                self._opened[0].shutdown(SHUT_RDWR)


def _encode(message: object) -> bytes:
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    return ("" if message is None else str(message)).encode()
