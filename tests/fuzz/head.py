"""The head of a request, and who is let in by it: refused in the one way that is meant for it, or read alike however cut.

The first byte says how it is cut.
"""

from collections.abc import Sequence
from io import BufferedReader, RawIOBase
from types import SimpleNamespace

from chat.errors import BadRequest
from tests.fuzz.chunks import cut
from web.door import admit
from web.websocket.census import TooManyConnections
from web.websocket.handshake import HandshakeError, accept_headers, negotiate_deflate
from web.websocket.head import BadRequest as BadHead
from web.websocket.head import Head, read_head
from web.websocket.limits import HttpLimits
from web.websocket.upgrade import Upgrade

LIMITS = HttpLimits(request_line=200, header_bytes=600, header_count=12)
ORIGINS = ("https://chat.example",)
FULL = SimpleNamespace(
    settings=SimpleNamespace(resume_limit=1000, origins=ORIGINS), gate=SimpleNamespace(draining=True), server=None
)


class _Pieces(RawIOBase):
    """A stream that gives one piece a read."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        if len(piece) > len(buffer):
            self._pieces.insert(0, piece[len(buffer) :])
            piece = piece[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


def one(data: bytes) -> None:
    """Check one input."""
    if data:
        check_head(data[1:], data[0])


def check_head(data: bytes, seed: int) -> None:
    """Whole or cut, it is the same head with the same rest behind it, or none."""
    whole, rest = _read([data])
    assert (whole, rest) == _read(cut(data, seed))
    if isinstance(whole, Head):
        _check_values(whole)
        _check_door(whole)


def _read(pieces: Sequence[bytes]) -> tuple[Head | type[Exception], bytes]:
    stream = BufferedReader(_Pieces(pieces))
    try:
        head = read_head(stream, LIMITS)
    except (BadHead, EOFError) as exc:
        return type(exc), b""
    return head, stream.read()


def _check_values(head: Head) -> None:
    """Said again, it is the same head: nothing in it can be taken for a line of its own."""
    lines = [head.line, *(f"{name}:{value}" for name, value in head.headers), "", ""]
    assert _read(["\r\n".join(lines).encode("latin-1")]) == (head, b"")
    assert len(head.headers) <= LIMITS.header_count
    for name, value in head.variables.items():
        assert name == name.upper()
        assert not set(value) & set("\r\n\0")


def _check_door(head: Head) -> None:
    """It is refused as a handshake, or because the server is full, which is asked last."""
    environ = {
        "REQUEST_METHOD": head.method,
        "SERVER_PROTOCOL": head.version,
        "QUERY_STRING": head.target.partition("?")[2],
        "wsgi.url_scheme": "https",
        **head.variables,
    }
    negotiate_deflate(environ, shared=True)
    try:
        admit(FULL, environ, Upgrade(requested=True))
    except (HandshakeError, BadRequest):
        return
    except TooManyConnections:  # it is a good handshake
        assert len(accept_headers(environ, None, None)) == 3
        return
    raise AssertionError("a full server let somebody in")
