"""A WebSocket's client end, over a socket of gevent's: `websockets` has the protocol, this the waiting.

Reading is done by whoever asks; a greenlet writes, so that what is sent never waits for the network.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import gevent
from gevent.event import Event as Flag
from gevent.socket import socket as GeventSocket
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import CONNECTING, OPEN, Event
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from chat.client.browser import Answer
from chat.client.errors import Unreachable
from chat.closing import GONE, CloseCode, Closing
from chat.turn import yield_turn

CHUNK: Final = 16 * 1024  # bytes read in one turn
MAX_SIZE: Final = 16 * 2**20  # bytes of one message: 200 long ones of a history, escaped, have 5
JAMMED: Final = 256 * 1024  # bytes that wait to be written; whoever can wait, waits
MAX_QUEUED: Final = 4 * 2**20  # past it nothing can be done but to hang up
LINGER: Final = 1.0  # seconds
UPGRADED: Final = 101


def nothing() -> None:
    """Do nothing."""


class WebSocket:
    """One that is open.  `closing` says how it has ended, once it has."""

    def __init__(self, sock: GeventSocket, protocol: ClientProtocol, events: Sequence[Event] = ()) -> None:
        """`events` are those that came along with the handshake's answer."""
        self.closing: Closing | None = None
        self.on_drained: Callable[[], None] = nothing
        """Called when all that was jammed is written."""
        self._sock = sock
        self._protocol = protocol
        self._events = list(events)
        self._fragments: list[bytes] = []
        self._queue: list[bytes] = []
        self._queued = 0  # bytes in it, and under way
        self._wake = Flag()
        self._idle = Flag()
        self._idle.set()
        self._writer = gevent.spawn(self._write)

    @property
    def is_jammed(self) -> bool:
        """More waits to be written than the network takes."""
        return self._queued > JAMMED

    def recv(self) -> list[bytes] | None:
        """The texts that come next, None at the end.  Blocks."""
        while self.closing is None:
            events, self._events = self._events or self._protocol.events_received(), []
            if texts := [text for event in events if (text := self._text(event)) is not None]:
                return texts
            if not events:
                self._read()
        return None

    def send(self, text: bytes) -> None:
        """Queue a text.  Never yields; what comes behind the end is thrown away."""
        if self._protocol.state is OPEN:
            self._protocol.send_text(text)
            self._flush()

    def say_goodbye(self, closing: Closing) -> None:
        """Queue a close frame; the peer's, or the end, comes by `recv`.  Never yields; idempotent."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(closing.code, closing.reason)
            self._flush()

    def fail(self, closing: Closing) -> None:
        """Hear no more, whatever comes, and tell the peer why by `hang_up`.  Never yields."""
        self.say_goodbye(closing)
        self.closing = closing

    def hang_up(self) -> None:
        """End it, once what is queued is written, or after a second.  Blocks.  Idempotent."""
        self._idle.wait(LINGER)
        self.abort()

    def abort(self, closing: Closing = GONE) -> None:
        """End it at once, whoever reads.  Never yields; idempotent."""
        if self.closing is None:
            self.closing = closing
        self._writer.kill(block=False)
        self._sock.close()

    def _text(self, event: object) -> bytes | None:
        assert isinstance(event, Frame)
        match event.opcode:
            case Opcode.CLOSE:
                close = self._protocol.close_rcvd
                assert close is not None
                self.closing = Closing(close.code, close.reason)
            case Opcode.TEXT | Opcode.CONT:
                self._fragments.append(bytes(event.data))
                if event.fin:
                    text, self._fragments = b"".join(self._fragments), []
                    return text
        return None

    def _read(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
        except OSError:
            data = b""
        if not data:
            self.abort()
            return
        if len(data) == CHUNK:
            yield_turn()  # recv does not yield while there is something, so one fast sender would starve all others
        self._protocol.receive_data(data)
        self._flush()
        if self._protocol.parser_exc is not None:
            self.closing = Closing(CloseCode.PROTOCOL_ERROR)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._queue.append(data)
            self._queued += len(data)
        if self._queued > MAX_QUEUED:
            self.abort()
        elif self._queue:
            self._idle.clear()
            self._wake.set()

    def _write(self) -> None:
        with suppress(OSError):  # which the reader finds out too
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._queue:
                    data, self._queue = b"".join(self._queue), []
                    self._sock.sendall(data)
                    self._queued -= len(data)
                self._idle.set()
                self.on_drained()
        self._idle.set()


def shake_hands(
    sock: GeventSocket, url: str, *, subprotocols: Sequence[str] = (), headers: dict[str, str] | None = None
) -> WebSocket:
    """Become a WebSocket; `headers` come besides those of a handshake.  Blocks.

    Raises: Refused; Unreachable when what answers does not speak it.  Then `sock` is left open.
    """
    where = url.partition("?")[0]
    offered = [Subprotocol(name) for name in subprotocols]
    protocol = ClientProtocol(parse_uri(url), subprotocols=offered or None, max_size=MAX_SIZE)
    request = protocol.connect()
    request.headers.update(headers or {})
    protocol.send_request(request)
    try:
        sock.sendall(b"".join(protocol.data_to_send()))
        while protocol.state is CONNECTING and protocol.handshake_exc is None:
            data = sock.recv(CHUNK)
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
    except OSError as exc:
        raise Unreachable(where, str(exc)) from exc
    events = protocol.events_received()
    if protocol.handshake_exc is None:
        return WebSocket(sock, protocol, events[1:])
    match events:
        case [Response() as response] if response.status_code != UPGRADED:
            headers = {name.lower(): value for name, value in response.headers.raw_items()}
            raise Answer(response.status_code, headers, bytes(response.body)).refusal
    raise Unreachable(where, f"what answers there is no WebSocket: {protocol.handshake_exc}") from protocol.handshake_exc
