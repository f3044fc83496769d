"""A WebSocket whose peer is the test, and frames made by hand; the client of a real server is in the kit."""

import json
import zlib
from collections.abc import Iterator

from gevent.socket import socket as GeventSocket
from websockets.extensions.permessage_deflate import PerMessageDeflate

from chat.clock import Clock
from web.testing import Answer, Caller, Frame
from web.websocket.base import BaseSocket
from web.websocket.limits import Bounds
from web.websocket.protocol import MessageProtocol

__all__ = ["Answer", "Caller", "Frame"]  # and what is made here

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
HANDSHAKE = {
    "Host": "chat.test",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


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


class SocketFake(BaseSocket):
    """A WebSocket without a wire: everything but the transport is the real one.  The test is the peer.

    `sent` is what was written to it, each time; `frames` is what that says.
    """

    def __init__(self, clock: Clock, bounds: Bounds | None = None, *, deflates: bool = False) -> None:
        extensions = [PerMessageDeflate(True, True, 15, 15)] if deflates else []
        protocol = MessageProtocol(max_message=1 << 16, max_fragments=16, extensions=extensions)
        super().__init__(protocol, bounds or Bounds(), clock)
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
