"""The other end of one WebSocket: how much it may say, and whether it still lives.

Both are one socket's matter, however many channels it is in.  All of it runs in the hub, so nothing here blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from chat.clock import Clock
from chat.closing import FLOOD, NOT_TEXT, CloseCode, Closing
from chat.errors import ChatError
from chat.event import Event, Refusal
from chat.member import Member
from chat.rate import Rate
from chat.tokens import Grant
from web.websocket.base import BaseSocket
from web.websocket.limits import SocketLimits
from web.websocket.protocol import Message, ping_frame

MESSAGE_BURST: Final = 3.0  # seconds' worth of messages that one socket may send at once
CONTROL_BURST: Final = 6.0  # the same of pings and pongs
ANSWERS: Final = 2  # to one probe of ours: a pong frame and, on chat.v1, a `pong`


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all peers of one application."""

    clock: Clock
    messages: Rate
    controls: Rate
    """Of pings, pongs and what else is no message: who writes, who has read what."""
    max_refused: int
    on_end: "Callable[[Peer], None]"
    """Called in the hub when a socket has ended; again, perhaps."""

    @classmethod
    def of(cls, limits: SocketLimits, clock: Clock, on_end: "Callable[[Peer], None]") -> "Rules":
        """Those that `limits` make."""
        messages, controls = limits.message_rate, limits.ping_rate
        return Rules(
            clock,
            Rate.per_second(messages, max(messages * MESSAGE_BURST, 1.0)),
            Rate.per_second(controls, max(controls * CONTROL_BURST, float(ANSWERS))),
            limits.max_refused,
            on_end,
        )


class Peer(ABC):
    """Who has opened a socket: the `web.websocket.base.Receiver` of all that comes over it."""

    __slots__ = ("_controls_until", "_hushed", "_refused", "_rules", "_said_until", "asked", "bucket", "socket")

    PING: ClassVar[bytes] = ping_frame()

    def __init__(self, socket: BaseSocket, rules: Rules) -> None:
        self.socket = socket
        self.asked = 0.0  # when a sign of life was asked for last; Heartbeat sets it to 0 when one has come
        self.bucket = 0  # where Heartbeat keeps it
        self._rules = rules
        self._said_until = 0.0
        self._controls_until = 0.0
        self._refused = 0
        self._hushed = False

    # For the gate

    @property
    @abstractmethod
    def members(self) -> tuple[Member, ...]:
        """One for each channel that it is in, or about to be."""

    @property
    @abstractmethod
    def grant(self) -> Grant:
        """What its first token stood for: whose socket it is, and of which login."""

    @property
    def listening(self) -> bool:
        """We read what it sends, so its silence means something."""
        return self.socket.started and not self.socket.paused

    def probe(self) -> None:
        """Ask for a sign of life, which costs the peer nothing.  Never yields."""
        self._controls_until -= ANSWERS * self._rules.controls.interval
        self.socket.write(self.PING)

    def hush(self) -> None:
        """Hear no more of it, for good.  Never yields; idempotent."""
        self._hushed = True
        self.socket.pause()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """End the socket, and with it all that the peer is in.  Never yields; idempotent."""
        self.socket.close(code, reason)
        self._rules.on_end(self)  # a socket that was not started tells nobody of its end

    def answer(self, error: ChatError, id: str = "", channel: str = "") -> None:
        """Say that the request `id` was not done.  Never yields."""
        self._tell(Refusal(id, error.code, str(error), error.retry, self._rules.clock.now()), channel)

    # For the socket

    def received(self, message: Message) -> None:
        if isinstance(message, str):
            self._hear(message)
        else:
            self.socket.close(*NOT_TEXT)

    def pinged(self, count: int) -> None:
        if not self._may_signal(count):
            self.socket.close(*FLOOD)

    @abstractmethod
    def ended(self, closing: Closing) -> None:
        """The socket has ended."""

    # For those who speak its language

    @abstractmethod
    def _hear(self, text: str) -> None:
        """It says `text`."""

    @abstractmethod
    def _tell(self, event: Event, channel: str) -> None:
        """Tell it of something in `channel`; "" is none, or all of them."""

    def _may_speak(self) -> bool:
        """Count one message; False when that is too much."""
        until = self._rules.messages.spend(self._said_until, self._rules.clock.monotonic())
        if until is None:
            return False
        self._said_until = until
        self._refused -= self._refused > 0
        return True

    def _may_signal(self, count: int = 1) -> bool:
        """Count what is no message; False when that is too much."""
        until = self._rules.controls.spend(self._controls_until, self._rules.clock.monotonic(), count)
        if until is None:
            return False
        self._controls_until = until
        return True

    def _refuse(self, error: ChatError, id: str = "", channel: str = "") -> None:
        """Answer, unless there was too much to refuse: that ends it."""
        self._refused += 1
        if self._refused > self._rules.max_refused:
            self.socket.close(*FLOOD)
        else:
            self.answer(error, id, channel)
