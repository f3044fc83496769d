"""A request's body, as pywsgi's `Input` reads it: up to a size on the wire, and no slower than its pace."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from web.websocket.head import BadRequest
from web.websocket.limits import HttpLimits
from web.websocket.pace import Pace

if TYPE_CHECKING:
    from io import BufferedReader

    class _InvalidClientInput(OSError): ...

else:
    from gevent.pywsgi import _InvalidClientInput

_PIECE: Final = 64 * 1024  # bytes read at once at most, so that what comes counts while more of it is waited for
TOO_LARGE: Final = BadRequest(413, "body_too_large", "the body is too large")
_TOO_SLOW: Final = BadRequest(408, "request_timeout", "the body took too long to arrive")


class BodyRefused(_InvalidClientInput):
    """What reading it raises: an OSError, which an application takes for a client that has gone."""


class Body:
    """Sizes, extensions and trailers of a chunked body count too.  `fault` says why it was refused."""

    def __init__(self, file: "BufferedReader", limits: HttpLimits) -> None:
        self._file = file
        self._left = limits.max_body
        self._pace = Pace(limits)
        self.fault: BadRequest | None = None

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end.  Blocks.  Raises: BodyRefused, OSError."""
        size = min(size, self._left + 1)
        pieces = []
        while size > 0 and (piece := self._next(self._file.read1, min(size, _PIECE))):
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readline(self, size: int) -> bytes:
        """Return a line, or `size` bytes of it, fewer at the end.  Blocks.  Raises: BodyRefused, OSError."""
        size = min(size, self._left + 1)
        line = b""
        while len(line) < size and not line.endswith(b"\n") and (piece := self._next(self._piece, size - len(line))):
            line += piece
        return line

    def _piece(self, size: int) -> bytes:
        """What has come of the line, or what comes next."""
        seen = self._file.peek(1)[:size]
        return self._file.read(seen.find(b"\n") + 1 or len(seen))

    def _next(self, read: Callable[[int], bytes], size: int) -> bytes:
        if self.fault is not None:
            raise BodyRefused
        try:
            with self._pace:
                piece = read(size)
        except TimeoutError as exc:
            self.fault = _TOO_SLOW
            raise BodyRefused from exc
        self._pace.earn(len(piece))
        self._left -= len(piece)
        if self._left < 0:
            self.fault = TOO_LARGE
            raise BodyRefused
        return piece
