"""A WebSocket as a `Conn`: frames to requests, events to frames, and how much one peer may say.

Requests are handed to the channel in the hub, so nothing here blocks.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from chat.clock import Clock
from chat.closing import FLOOD, NOT_TEXT, CloseCode, Closing
from chat.conn import DirectConn, OnGone, OnMessage
from chat.errors import BadRequest, ChatError, NotJoined, RateLimited
from chat.event import Refusal
from chat.rate import Rate
from chat.requests import Publish, decode
from chat.wire import ping
from web.websocket.base import BaseSocket
from web.websocket.formats import DEFLATED_PLAIN, PLAIN, FramedFormat, PlainFormat
from web.websocket.limits import SocketLimits
from web.websocket.protocol import Message, ping_frame, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE_BURST: Final = 3.0  # seconds' worth of messages that one socket may send at once
CONTROL_BURST: Final = 6.0  # the same of pings and pongs
ANSWERS: Final = 2  # to one probe of ours: a pong frame and, on chat.v1, a `pong`


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all connections of one application."""

    clock: Clock
    messages: Rate
    controls: Rate
    """Of pings and pongs."""
    max_refused: int
    on_end: "Callable[[WebSocketConn], None]"
    """Called in the hub when a connection has ended; again, perhaps."""

    @classmethod
    def of(cls, limits: SocketLimits, clock: Clock, on_end: "Callable[[WebSocketConn], None]") -> "Rules":
        """Those that `limits` make."""
        messages, controls = limits.message_rate, limits.ping_rate
        return cls(
            clock,
            Rate.per_second(messages, max(messages * MESSAGE_BURST, 1.0)),
            Rate.per_second(controls, max(controls * CONTROL_BURST, float(ANSWERS))),
            limits.max_refused,
            on_end,
        )


class WebSocketConn(DirectConn):
    """One WebSocket in one channel."""

    __slots__ = (
        "_controls_until",
        "_hushed",
        "_on_gone",
        "_on_message",
        "_refused",
        "_rules",
        "_said_until",
        "asked",
        "bucket",
        "socket",
    )

    PING: ClassVar[bytes] = ping_frame()

    def __init__(self, socket: BaseSocket, rules: Rules) -> None:
        self.socket = socket
        self.asked = 0.0  # when Heartbeat asked for a sign of life; 0 while it does not wait for one
        self.bucket = 0  # where Heartbeat keeps it
        self._rules = rules
        self._on_message: OnMessage | None = None
        self._on_gone: OnGone | None = None
        self._said_until = 0.0
        self._controls_until = 0.0
        self._refused = 0
        self._hushed = False

    @property
    def listening(self) -> bool:
        """We read what the peer sends, so its silence means something."""
        return self._on_gone is not None and not self.socket.paused

    # For the channel

    def start(self, on_message: OnMessage, on_gone: OnGone) -> None:
        self._on_message = on_message
        self._on_gone = on_gone
        self.socket.start(self)

    def write(self, data: bytes) -> None:
        self.socket.write(data)

    @property
    def sink(self) -> BaseSocket:
        return self.socket

    def probe(self) -> None:
        self._controls_until -= ANSWERS * self._rules.controls.interval  # what we ask for costs the peer nothing
        self.socket.write(self.PING)

    def pause(self) -> None:
        self.socket.pause()

    def resume(self) -> None:
        if not self._hushed:
            self.socket.resume()

    def hush(self) -> None:
        """Pause for good.  Never yields; idempotent."""
        self._hushed = True
        self.socket.pause()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        self.socket.close(code, reason)
        if self._on_gone is None:  # a socket that was not started tells nobody of its end
            self._rules.on_end(self)

    def send_str(self, msg: str) -> None:
        """Send one text frame; "" is a ping."""
        self.socket.write(self.format.frame(msg.encode()) if msg else self.PING)

    # For the socket: `web.websocket.base.Receiver`

    def received(self, message: Message) -> None:
        if not isinstance(message, str):
            self.socket.close(*NOT_TEXT)
            return
        try:
            request = self._request(message)
        except ChatError as exc:
            self._refuse(exc)
            return
        if request is not None and self._on_message is not None:
            self._on_message(request)

    def pinged(self, count: int) -> None:
        until = self._rules.controls.spend(self._controls_until, self._rules.clock.monotonic(), count)
        if until is None:
            self.socket.close(*FLOOD)
        else:
            self._controls_until = until

    def ended(self, closing: Closing) -> None:
        on_gone, self._on_message, self._on_gone = self._on_gone, None, None
        self._rules.on_end(self)
        if on_gone is not None:
            on_gone(closing)

    def _request(self, message: str) -> Publish | None:
        """What the peer asks for, None for a mere sign of life.  Raises: RateLimited, BadRequest."""
        try:
            request = self._decode(message)
        except BadRequest as exc:
            self._spend(exc.id)
            raise
        if request is None:
            self.pinged(1)
        else:
            self._spend(request.id)
        return request

    def _spend(self, id: str | None) -> None:
        """Count one message.  Raises: RateLimited."""
        until = self._rules.messages.spend(self._said_until, self._rules.clock.monotonic())
        if until is None:
            raise RateLimited(id or "")
        self._said_until = until
        self._refused -= self._refused > 0

    def _refuse(self, error: ChatError) -> None:
        self._refused += 1
        if self._refused > self._rules.max_refused:
            self.socket.close(*FLOOD)
            return
        id = error.id if isinstance(error, BadRequest | RateLimited) else ""
        refusal = Refusal(id or "", error.code, str(error), error.retry, self._rules.clock.now())
        self.socket.write(self.format.encode([refusal]))

    @property
    @abstractmethod
    def format(self) -> FramedFormat: ...

    @abstractmethod
    def _decode(self, message: str) -> Publish | None:
        """Read a frame; None is a mere sign of life.  Raises: BadRequest."""


class PlainConn(WebSocketConn):
    """Without a subprotocol: a frame is what the user says."""

    __slots__ = ()

    @property
    def format(self) -> PlainFormat:
        return DEFLATED_PLAIN if self.socket.deflates else PLAIN

    def _decode(self, message: str) -> Publish:
        return Publish(message)


class V1Conn(WebSocketConn):
    """chat.v1: JSON with types and ids."""

    __slots__ = ("_channel", "_format")

    # A browser's page cannot see the WebSocket's own pings, and other clients answer those by themselves.
    PING: ClassVar[bytes] = ping_frame() + text_frame(ping())

    def __init__(self, socket: BaseSocket, rules: Rules, channel: str, format: FramedFormat) -> None:
        super().__init__(socket, rules)
        self._channel = channel
        self._format = format

    @property
    def format(self) -> FramedFormat:
        return self._format

    def _decode(self, message: str) -> Publish | None:
        request = decode(message)
        if not isinstance(request, Publish):
            return None
        if request.channel != self._channel:
            raise NotJoined(NotJoined.text, request.id)
        return request
