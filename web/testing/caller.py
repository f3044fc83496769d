"""A client of one TCP connection: of HTTP at first, of WebSocket once the server has switched.

It cooperates: while it waits, the server in the same process works.  Frames come through `websockets`' own protocol, so
what the server sends is checked by somebody else's code.
"""

import json
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gevent import socket as gevent_socket
from gevent.socket import socket as GeventSocket
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame as LibraryFrame
from websockets.frames import Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from chat.closing import Closing

DEADLINE: Final = 5.0  # seconds for anything that a test waits for


class Answer(NamedTuple):
    """What HTTP answered; the names of the headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> object:
        """The body, which is JSON."""
        if self.headers.get("content-type") != "application/json":
            raise AssertionError(f"that is no JSON: {self}")
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error that the chat answered with."""
        match self.json:
            case {"error": {"code": str(code), "message": str(), **more}, **beside} if not more and not beside:
                return code
        raise AssertionError(f"that is no error: {self}")


class Refused(Exception):
    """The server did not let somebody in; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer

    def __str__(self) -> str:
        return f"{self.answer.status} {self.answer.body.decode(errors='replace')}"


class Frame(NamedTuple):
    """One frame; none of the server's is in fragments."""

    opcode: int
    payload: bytes
    deflated: bool = False
    """It came compressed; `payload` is what it inflates to."""

    @property
    def closing(self) -> Closing:
        """What a close frame says."""
        if self.opcode != Opcode.CLOSE:
            raise AssertionError(f"that is no close frame: {self}")
        return Closing(int.from_bytes(self.payload[:2], "big"), self.payload[2:].decode())


class _Inflater(PerMessageDeflate):
    """Remembers of each frame whether it came compressed, which the library does not tell."""

    def __init__(self) -> None:
        super().__init__(True, True, 15, 15)  # as our server agrees to it
        self.deflated: deque[bool] = deque()

    def decode(self, frame: LibraryFrame, *, max_size: int | None = None) -> LibraryFrame:
        self.deflated.append(frame.rsv1)
        return super().decode(frame, max_size=max_size)


class Caller:
    """Connects to a port of this machine.  Nothing waits longer than 5 seconds: then it raises TimeoutError.

    One with `manners` answers pings and close frames, as every client should; without it leaves that to the test.
    Raises, in whatever reads: AssertionError when the connection has ended.
    """

    def __init__(self, port: int, *, manners: bool = False) -> None:
        self._manners = manners
        self._uri = parse_uri(f"ws://127.0.0.1:{port}")
        self._sock: GeventSocket = gevent_socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._rest = b""  # read, and belongs to HTTP or to what comes behind it
        self._protocol = ClientProtocol(self._uri, state=OPEN, max_size=None)
        self._inflater: _Inflater | None = None
        self._waiting: list[Frame] = []

    # HTTP

    def request(self, path: str, headers: Mapping[str, str], method: str = "GET", version: str = "HTTP/1.1") -> None:
        """Send the head of a request, as it is."""
        lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._sock.sendall("\r\n".join(lines).encode())

    def answer(self) -> Answer:
        """Read an answer."""
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._read()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        while len(self._rest) < size:
            self._rest += self._read()
        body, self._rest = self._rest[:size], self._rest[size:]
        if "sec-websocket-extensions" in headers:
            self._inflater = _Inflater()
            self._protocol.extensions = [self._inflater]
        return Answer(int(first.split()[1]), headers, body)

    def shake_hands(
        self, path: str, *, subprotocols: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> str | None:
        """Become a WebSocket; return the subprotocol that was chosen.

        `headers` come besides those of a handshake, or in their place: Cookie, Origin, Authorization.
        Raises: Refused; InvalidHandshake of `websockets` when the answer breaks RFC 6455.
        """
        offered = [Subprotocol(name) for name in subprotocols]
        protocol = ClientProtocol(self._uri, subprotocols=offered or None)
        self.request(path, {**dict(protocol.connect().headers.raw_items()), **(headers or {})})
        answer = self.answer()
        if answer.status != 101:
            raise Refused(answer)
        protocol.process_response(Response(101, "Switching Protocols", Headers(answer.headers)))
        return protocol.subprotocol

    def _read(self) -> bytes:
        data = self._sock.recv(65536)
        if not data:
            raise AssertionError(f"the connection ended after {self._rest!r}")
        return data

    # WebSocket

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sock.sendall(data)

    def say(self, text: str) -> None:
        """Send a text frame."""
        self.send(LibraryFrame(Opcode.TEXT, text.encode()).serialize(mask=True))

    def ask(self, **request: object) -> None:
        """Send a request of chat.v1."""
        self.say(json.dumps(request))

    def frame(self) -> Frame:
        """The next frame."""
        while not self._waiting:
            data, self._rest = self._rest or self._read(), b""
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                assert isinstance(event, LibraryFrame)
                if not event.fin:
                    raise AssertionError(f"a fragment: {event}")
                deflated = self._inflater is not None and self._inflater.deflated.popleft()
                self._waiting.append(Frame(event.opcode, bytes(event.data), deflated))
            replies = self._protocol.data_to_send()
            if self._manners:
                self._sock.sendall(b"".join(replies))
            if self._protocol.parser_exc is not None:
                raise AssertionError("that is no WebSocket") from self._protocol.parser_exc
        return self._waiting.pop(0)

    def text(self) -> str:
        """The next text; pings are passed over."""
        frame = self.frame()
        while frame.opcode == Opcode.PING:
            frame = self.frame()
        if frame.opcode == Opcode.CLOSE:
            raise AssertionError(f"the server closed: {frame.closing}")
        if frame.opcode != Opcode.TEXT:
            raise AssertionError(f"that is no text: {frame}")
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
        while frame.opcode != Opcode.CLOSE:
            frame = self.frame()
        return frame.closing

    def at_end(self) -> bool:
        """Whether the server has ended the connection, saying no more."""
        return not self._waiting and not self._rest and self._sock.recv(1) == b""

    def until_end(self) -> bytes:
        """All bytes that the server still sends before it ends the connection."""
        while data := self._sock.recv(65536):
            self._rest += data
        return self._rest

    def hang_up(self) -> None:
        """Close the connection without a word.  Idempotent."""
        self._sock.close()

    def reset(self) -> None:
        """Hang up so that the server's kernel hears of it at once, and throws away what comes next."""
        self._sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
