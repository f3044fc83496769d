"""The other end: a client that speaks through `websockets`' own protocol, and one that writes down what a socket tells."""

from collections.abc import Callable
from dataclasses import dataclass
from http.client import parse_headers
from io import BytesIO

import gevent
from gevent import socket
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from chat.closing import Closing
from web.websocket.base import BaseSocket, Receiver
from web.websocket.protocol import Message

PATIENCE = 5.0  # seconds for anything that should happen at once

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Host": "chat.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def masked(opcode: Opcode, data: bytes | str = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    payload = data.encode() if isinstance(data, str) else data
    return Frame(opcode, payload, fin).serialize(mask=True)


def text(data: str) -> bytes:
    return masked(Opcode.TEXT, data)


def farewell(code: int, reason: str = "") -> bytes:
    return masked(Opcode.CLOSE, Close(code, reason).serialize())


def until(condition: Callable[[], object]) -> None:
    """Let the hub work until something is so."""
    with gevent.Timeout(PATIENCE):
        while not condition():
            gevent.sleep(0)


def turn_hub(times: int = 20) -> None:
    """Let everything happen that can happen now."""
    for _ in range(times):
        gevent.sleep(0)


class Peer:
    """A client, from the 101 on."""

    def __init__(self, sock: socket.socket, rest: bytes = b"") -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self._protocol = ClientProtocol(parse_uri("ws://chat.example"), state=OPEN, max_size=None)
        self._frames: list[Frame] = []
        if rest:
            self._feed(rest)

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def recv(self) -> Frame:
        """The next frame, of whatever kind."""
        while not self._frames:
            data = self.sock.recv(65536)
            assert data, "the server hung up"
            self._feed(data)
        return self._frames.pop(0)

    def recv_close(self) -> Closing:
        """The close frame, whatever comes before it."""
        frame = self.recv()
        while frame.opcode is not Opcode.CLOSE:
            frame = self.recv()
        close = Close.parse(bytes(frame.data))
        return Closing(int(close.code), close.reason)

    def at_eof(self) -> bool:
        """Wait for the end of the stream.  A reset raises."""
        while self.sock.recv(65536):
            pass
        return True

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._frames += [event for event in self._protocol.events_received() if isinstance(event, Frame)]


class Recorder(Receiver):
    """Writes down what it hears; `on_message` does something about each message besides."""

    def __init__(self, on_message: Callable[[Message], None] = lambda _: None) -> None:
        self.heard: list[object] = []
        self.controls = 0
        self._on_message = on_message

    @property
    def messages(self) -> list[object]:
        return [item for item in self.heard if not isinstance(item, Closing)]

    @property
    def endings(self) -> list[object]:
        return [item for item in self.heard if isinstance(item, Closing)]

    def received(self, message: Message) -> None:
        self.heard.append(message)
        self._on_message(message)

    def pinged(self, count: int) -> None:
        self.controls += count

    def ended(self, closing: Closing) -> None:
        self.heard.append(closing)


@dataclass
class Wire:
    """A socket under test and its other end."""

    socket: BaseSocket
    peer: Peer


@dataclass
class Reply:
    """An HTTP response: `rest` is its body, or what came behind a 101."""

    status: int
    headers: dict[str, str]
    rest: bytes


def request(path: str = "/", method: str = "GET", version: str = "HTTP/1.1", **headers: str) -> bytes:
    """The bytes of a request; an underscore in a header's name is a hyphen."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {path} {version}", *lines, "", ""]).encode("latin-1")


def read_reply(sock: socket.socket) -> Reply:
    """Read a response, its body included."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, f"hung up after {data!r}"
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    line, _, headers = head.partition(b"\r\n")
    parsed = {name.lower(): value for name, value in parse_headers(BytesIO(headers + b"\r\n\r\n")).items()}
    while len(rest) < int(parsed.get("content-length", "0")):
        rest += sock.recv(65536)
    return Reply(int(line.split()[1]), parsed, rest)
