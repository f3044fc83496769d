"""The other ends: a client that speaks HTTP and WebSocket byte by byte, and a socket whose peer is the test."""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gevent import socket as gevent_socket
from gevent.socket import socket as GeventSocket
from websockets.extensions.permessage_deflate import PerMessageDeflate

from chat.clock import Clock
from chat.closing import Closing
from web.websocket.base import BaseSocket
from web.websocket.limits import Bounds
from web.websocket.protocol import MessageProtocol

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

DEADLINE = 5.0  # seconds for anything that a test waits for

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
HANDSHAKE = {
    "Host": "chat.test",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


class Frame(NamedTuple):
    """One frame; none of the server's is in fragments."""

    opcode: int
    payload: bytes
    deflated: bool = False
    """It came compressed; `payload` is what it inflates to."""

    @property
    def closing(self) -> Closing:
        assert self.opcode == CLOSE, self
        return Closing(int.from_bytes(self.payload[:2], "big"), self.payload[2:].decode())


def client_frame(payload: str | bytes, opcode: int = TEXT, *, first: int = 0x80) -> bytes:
    """A frame as a client sends it; its mask is all zeros, which is one like any other.  `first` are its flags."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    return bytes([first | opcode]) + length + bytes(4) + data


def deflated(payload: bytes) -> bytes:
    """A message as permessage-deflate has it, RFC 7692 section 7.2.1."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(payload: bytes) -> bytes:
    """What a message says that came by permessage-deflate, RFC 7692 section 7.2.2; it has to be whole."""
    decompressor = zlib.decompressobj(wbits=-15)
    return decompressor.decompress(payload + b"\x00\x00\xff\xff")


def close_frame(code: int = 1000, reason: str = "") -> bytes:
    return client_frame(code.to_bytes(2, "big") + reason.encode(), CLOSE)


class Frames:
    """Cuts what a server sends into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> Iterator[Frame]:
        self._rest += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        rest = self._rest
        if len(rest) < 2:
            return None
        assert rest[0] & 0x80, "a fragment"
        assert not rest[1] & 0x80, "a server does not mask"
        start, size = 2, rest[1]
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(rest[2:start], "big")
        if len(rest) < start + size:
            return None
        self._rest = rest[start + size :]
        payload = rest[start : start + size]
        deflated = bool(rest[0] & 0x40)
        return Frame(rest[0] & 0x0F, inflated(payload) if deflated else payload, deflated)


class Answer(NamedTuple):
    """What HTTP answered; the names of the headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> object:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error."""
        found = self.json
        assert isinstance(found, dict)
        assert found.keys() == {"error"}
        assert found["error"].keys() == {"code", "message"}
        return str(found["error"]["code"])


class Caller:
    """A client of one TCP connection: of HTTP at first, of WebSocket once the server has switched."""

    def __init__(self, port: int) -> None:
        self._sock: GeventSocket = gevent_socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._rest = b""
        self._frames = Frames()
        self._waiting: list[Frame] = []

    # HTTP

    def request(self, path: str, headers: Mapping[str, str], method: str = "GET", version: str = "HTTP/1.1") -> None:
        lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._sock.sendall("\r\n".join(lines).encode())

    def answer(self) -> Answer:
        while b"\r\n\r\n" not in self._rest:
            self._read()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        while len(self._rest) < size:
            self._read()
        body, self._rest = self._rest[:size], self._rest[size:]
        return Answer(int(first.split()[1]), headers, body)

    def _read(self) -> None:
        data = self._sock.recv(65536)
        assert data, f"the connection ended after {self._rest!r}"
        self._rest += data

    # WebSocket

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def say(self, text: str) -> None:
        self.send(client_frame(text))

    def ask(self, **request: object) -> None:
        """Send a request of chat.v1."""
        self.say(json.dumps(request))

    def frame(self) -> Frame:
        """The next frame."""
        while not self._waiting:
            if not self._rest:
                self._read()
            self._waiting += self._frames.cut(self._rest)
            self._rest = b""
        return self._waiting.pop(0)

    def text(self) -> str:
        """The next text; pings are passed over."""
        frame = self.frame()
        while frame.opcode == PING:
            frame = self.frame()
        assert frame.opcode == TEXT, frame
        return frame.payload.decode()

    def line(self) -> str:
        """The next line of plain text, without its date."""
        return self.text().partition(" > ")[2]

    def event(self) -> dict[str, object]:
        """The next event of chat.v1; pings are passed over."""
        event: dict[str, object] = json.loads(self.text())
        return self.event() if event == {"type": "ping"} else event

    def events_until(self, type: str) -> list[dict[str, object]]:
        """All events up to the first of that type."""
        found = [self.event()]
        while found[-1]["type"] != type:
            found.append(self.event())
        return found

    def closing(self) -> Closing:
        """How the server closes, whatever it says before."""
        frame = self.frame()
        while frame.opcode != CLOSE:
            frame = self.frame()
        return frame.closing

    def at_end(self) -> bool:
        """The server has ended the connection, saying no more."""
        return not self._waiting and not self._rest and self._sock.recv(1) == b""

    def until_end(self) -> bytes:
        """All that the server still sends before it ends the connection."""
        while data := self._sock.recv(65536):
            self._rest += data
        return self._rest

    def hang_up(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        """Hang up so that the server's kernel hears of it at once, and throws away what comes next."""
        self._sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


class SocketFake(BaseSocket):
    """A WebSocket without a wire: everything but the transport is the real one.  The test is the peer.

    `sent` is what was written to it, each time; `frames` is what that says.
    """

    def __init__(self, clock: Clock, write_buf: int = 1 << 20, *, deflates: bool = False) -> None:
        extensions = [PerMessageDeflate(True, True, 15, 15)] if deflates else []
        protocol = MessageProtocol(max_message=1 << 16, max_fragments=16, extensions=extensions)
        super().__init__(protocol, Bounds(write_buf=write_buf), clock)
        self.sent: list[bytes] = []
        self.frames: list[Frame] = []
        self.reading = False
        self.half_closed = False
        self.stuck = False  # the peer takes nothing
        self._cutter = Frames()

    def park(self, sock: GeventSocket, rest: bytes) -> None:
        self._rest = rest

    def _transmit(self, data: bytes) -> None:
        if self.stuck:
            self._queue(data)
        else:
            self.sent.append(data)
            self.frames += self._cutter.cut(data)

    def _read_on(self) -> None:
        self.reading = True

    def _read_off(self) -> None:
        self.reading = False

    def _half_close(self) -> None:
        self.half_closed = True

    def _release(self) -> None:
        self.reading = False

    # The peer

    def hear(self, data: bytes) -> None:
        """What the peer sends arrives; only what is read can."""
        assert self.reading
        self._heard(data)

    def say(self, text: str) -> None:
        self.hear(client_frame(text))

    def hang_up(self) -> None:
        self.hear(b"")

    @property
    def texts(self) -> list[str]:
        return [frame.payload.decode() for frame in self.frames if frame.opcode == TEXT]

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.texts]

    @property
    def pings(self) -> int:
        return sum(frame.opcode == PING for frame in self.frames)
