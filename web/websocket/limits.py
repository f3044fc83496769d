"""How much a peer may send, and how long we wait for it: one group for HTTP, one for WebSockets.

Each is one object that all connections share, so a limit costs an idle one nothing.  A wrong value raises ValueError naming
its field.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from chat.config import MAY_BE_ZERO, ServerConf, check_fields

MAX_FRAME: Final = 64 * 1024  # bytes of one message on the wire
MAX_FRAGMENTS: Final = 1024  # frames of one message
CLOSE_TIMEOUT: Final = 5.0  # seconds for the peer's close frame, and for what is still queued


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a request may take.  Sizes are bytes, times are seconds."""

    request_line: int = 8192
    """As in nginx and gunicorn (8 KiB, 4 KiB)."""
    header_bytes: int = 32768
    """All header lines together; nginx takes 4 x 8 KiB."""
    header_count: int = 100
    """Header lines; the same in gunicorn and `http.client`."""
    max_body: int = 16 * 2**20
    """Generous, for it holds for all routes of the host too; the chat's own take 64 KiB."""
    header_timeout: float = 10.0
    """From the first byte of a request to the end of its headers; also from connecting to that first byte."""
    keepalive: float = 75.0
    """In which the next request must begin; nginx's keepalive_timeout."""
    io_timeout: float = 30.0
    """Without progress, in a request's body or its answer."""
    io_rate: float = field(default=500.0, metadata=MAY_BE_ZERO)
    """Bytes a second: each that passes gives back so much of `io_timeout` as was used up in waiting; 0 is no limit, and any
    progress gives back all.  Apache's MinRate; Kestrel has 240."""
    discard_timeout: float = 5.0
    """For the rest of a body that the application did not read."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    """What one WebSocket may do.  Times are seconds."""

    max_frame: int = MAX_FRAME
    """Bytes of one message on the wire, with what is around the text."""
    max_fragments: int = MAX_FRAGMENTS
    """Frames of one message."""
    message_rate: float = field(default=10.0, metadata=MAY_BE_ZERO)
    """Messages a second, bursts of three times that; 0 is no limit."""
    ping_rate: float = field(default=10.0, metadata=MAY_BE_ZERO)
    """Pings, pongs and other signals a second, bursts of six times that; 0 is no limit.  Autobahn has ten at once."""
    max_refused: int = 100
    """Refused messages, less one for each that was allowed, that a flooding peer may have before it is closed."""
    ping_interval: float = 25.0
    """Of silence before a ping."""
    ping_timeout: float = 10.0
    """For the answer to a ping; any frame is one."""
    close_timeout: float = CLOSE_TIMEOUT
    """For the peer's close frame, and for what is still queued."""

    def __post_init__(self) -> None:
        check_fields(self)


_CONF: Final = ServerConf()


def _nobody_hears(socket: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the transport of a WebSocket goes by.  Sizes are bytes."""

    write_buf: int = _CONF.write_buf
    """Queued for a slow peer before it is closed with 4008."""
    read_buf: int = _CONF.read_buf
    """Read in one turn."""
    max_message: int = MAX_FRAME
    """On the wire, after decompression."""
    max_fragments: int = MAX_FRAGMENTS
    """Frames of one message."""
    close_timeout: float = CLOSE_TIMEOUT
    """Seconds, as in `SocketLimits`."""
    on_closed: Callable[[object], None] = _nobody_hears
    """Called in the hub with each socket whose descriptor is gone, last of all."""
