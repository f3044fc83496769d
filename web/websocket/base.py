"""One WebSocket after its handshake: delivery, pausing and the closing handshake, whatever carries the bytes.

The transports are `socket.Socket`, parked in the event loop, and `tls.GreenletSocket`.  Nothing here yields or raises, so
all of it may be called in the hub.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol

from gevent import get_hub
from gevent.socket import socket as GeventSocket

from chat.clock import Clock, Timer
from chat.closing import GONE, SLOW, CloseCode, Closing
from web.websocket.limits import Bounds
from web.websocket.outbox import Buffer, Outbox
from web.websocket.protocol import Message, MessageProtocol, cut_reason

DEFLATED_READ_BUF: Final = 1024  # bytes a turn of a peer that may compress: they inflate to 1 MiB at most
LINGER: Final = 1.0  # seconds to read on after we shut down writing: closing with unread input would send RST

_LOGGER: Final = logging.getLogger("web.websocket")


class Receiver(Protocol):
    """Who hears what comes over a socket.  Called in the hub, so none of these may block."""

    def received(self, message: Message) -> None:
        """One message, in order: text as str, binary as bytes."""

    def pinged(self, count: int) -> None:
        """So many control frames came at once; pings are answered already."""

    def ended(self, closing: Closing) -> None:
        """It is over, whoever ended it: called once, as soon as closing begins, and nothing after it."""


class State(Enum):
    """How far a socket has come."""

    OPEN = "open"
    CLOSING = "closing"  # our close frame is on its way, the peer's is awaited
    LINGERING = "lingering"  # all is said; what still comes is thrown away
    CLOSED = "closed"  # the descriptor is gone


OPEN: Final = State.OPEN  # the fan-out asks for each member, and to look it up in the enumeration takes longer

# CLOSED is legal from everywhere: the network needs no permission.
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.OPEN: frozenset({State.CLOSING, State.LINGERING, State.CLOSED}),
    State.CLOSING: frozenset({State.LINGERING, State.CLOSED}),
    State.LINGERING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


class IllegalMove(Exception):
    """A step that `TRANSITIONS` does not know: a fault of ours."""


class BaseSocket(ABC):
    """One WebSocket."""

    __slots__ = (
        "_bounds",
        "_clock",
        "_closing",
        "_delivering",
        "_outbox",
        "_paused",
        "_protocol",
        "_read_buf",
        "_receiver",
        "_rest",
        "_state",
        "_timer",
        "last_heard",
    )

    def __init__(self, protocol: MessageProtocol, bounds: Bounds, clock: Clock) -> None:
        self._protocol = protocol
        self._bounds = bounds
        self._read_buf = min(bounds.read_buf, DEFLATED_READ_BUF) if protocol.extensions else bounds.read_buf
        self._clock = clock
        self._receiver: Receiver | None = None
        self._state = State.OPEN
        self._closing: Closing | None = None
        self._paused = False
        self._delivering = False
        self._rest = b""
        self._outbox: Outbox | None = None  # only while something waits
        self._timer: Timer | None = None  # only while closing
        self.last_heard = clock.monotonic()

    # What a transport does.  All but `_transmit` are idempotent; none yields.

    @abstractmethod
    def park(self, sock: GeventSocket, rest: bytes) -> None:
        """Take the connection over; `rest` was read ahead.  Nothing is read before `start`."""

    @abstractmethod
    def _transmit(self, data: bytes) -> None:
        """Send `data` behind what waits: `_queue` it, and call `_sent` with what could be sent, now or later."""

    @abstractmethod
    def _read_on(self) -> None:
        """Call `_heard` with whatever comes, b"" at the end."""

    @abstractmethod
    def _read_off(self) -> None:
        """Let the peer wait."""

    @abstractmethod
    def _half_close(self) -> None:
        """Shut down writing."""

    @abstractmethod
    def _release(self) -> None:
        """Close the descriptor."""

    # For the owner of the socket.

    @property
    def closed(self) -> bool:
        """The descriptor is gone."""
        return self._state is State.CLOSED

    @property
    def closing(self) -> Closing | None:
        """Why it ended, from the moment that closing begins."""
        return self._closing

    @property
    def deflates(self) -> bool:
        """Frames may be compressed: it was agreed on with the peer, and that never changes."""
        return bool(self._protocol.extensions)

    @property
    def started(self) -> bool:
        """Somebody hears what comes, until the end."""
        return self._receiver is not None

    @property
    def paused(self) -> bool:
        """We do not read, so silence says nothing about the peer."""
        return self._paused

    @property
    def outstanding(self) -> int:
        """Bytes that wait for a slow peer."""
        return self._outbox.size if self._outbox is not None else 0

    def start(self, receiver: Receiver) -> None:
        """Begin to read.  Never yields; `receiver` is first called in a later turn of the hub."""
        self._receiver = receiver
        self._go_on_soon()

    def write(self, data: bytes) -> None:
        """Send frames.  Never yields; the socket closes itself with 4008 when over `write_buf` bytes wait from before.

        From before: what a returning client has missed may be more at once, and it is no slow reader for that.
        """
        if data and self._state is OPEN:
            if self._outbox is not None and self.outstanding > self._bounds.write_buf:
                self.close(*SLOW)
            else:
                self._transmit(data)

    def pause(self) -> None:
        """Deliver no more until `resume`, and let the peer wait.  Never yields; idempotent."""
        self._paused = True
        if self._state is State.OPEN:
            self._read_off()

    def resume(self) -> None:
        """Undo `pause`; what was read already comes first, in a later turn of the hub.  Never yields; idempotent."""
        if self._paused:
            self._paused = False
            self.last_heard = self._clock.monotonic()  # it was us who did not listen
            self._go_on_soon()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Say goodbye and wait up to `Bounds.close_timeout` for the peer's.  Never yields; idempotent.

        What is queued is still sent before it; what was received and not delivered is thrown away.  A code that must not
        be sent (1006) ends it without a word, like `abort`.
        """
        self._protocol.messages.clear()
        if self._state is State.OPEN and not self._protocol.over:
            self._say_goodbye(code, reason)
        self._tell()

    def abort(self) -> None:
        """Close hard, now.  Never yields; idempotent."""
        self._protocol.messages.clear()
        self._lost()
        self._tell()

    # Receiving, and delivery.

    def _go_on_soon(self) -> None:
        get_hub().loop.run_callback(self._on_go_on)

    def _on_go_on(self) -> None:
        try:
            self._go_on()
        except Exception:
            self._crashed()

    def _go_on(self) -> None:
        """Deliver what waits, then read again."""
        self._deliver()
        if self._rest and self._listening():
            data, self._rest = self._rest[: self._read_buf], self._rest[self._read_buf :]
            self._heard(data)
        if self._listening():
            if self._rest:
                self._go_on_soon()
            else:
                self._read_on()

    def _listening(self) -> bool:
        if self._state is State.OPEN:
            return self._receiver is not None and not self._paused
        return self._state is not State.CLOSED

    def _heard(self, data: bytes) -> None:
        """One turn: what was read, b"" at the end of the stream."""
        if not data:
            self._lost()
            return
        self.last_heard = self._clock.monotonic()
        if self._state is State.LINGERING:
            return
        protocol = self._protocol
        protocol.feed(data)
        replies = protocol.replies()
        if protocol.over:
            self._end(replies)
            return
        self.write(replies)  # not once closing, when nothing bounds them
        self._count_controls()
        self._deliver()

    def _end(self, replies: bytes) -> None:
        """The protocol is over.  What was said before is heard first, so that answers go out ahead of the close frame."""
        if self._closing is None:
            self._closing = self._protocol.ending
        try:
            self._count_controls()
            self._deliver()
        finally:
            self._linger(replies)
            if self._paused:
                self._go_on_soon()  # it has to hear the peer hang up

    def _count_controls(self) -> None:
        count, self._protocol.controls = self._protocol.controls, 0
        if count and self._receiver is not None:
            self._receiver.pinged(count)

    def _deliver(self) -> None:
        """Hand over what was received, then the end.  What the peer said before its end is heard before it."""
        if self._delivering or self._receiver is None:
            return
        messages = self._protocol.messages
        self._delivering = True
        try:
            while messages and not self._paused:
                self._receiver.received(messages.pop(0))
        finally:
            self._delivering = False
        if self._closing is not None and not messages:
            self._tell()

    def _tell(self) -> None:
        """Tell the end, to each receiver once; before there is one, `start` will."""
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        assert self._closing is not None
        try:
            receiver.ended(self._closing)
        except Exception:
            _LOGGER.exception("what hears the end of a WebSocket failed")

    # Sending.

    def _queue(self, data: Buffer) -> None:
        if self._outbox is None:
            self._outbox = Outbox()
        self._outbox.add(data)

    def _sent(self, count: int) -> None:
        """So much of the outbox has left it."""
        assert self._outbox is not None
        self._outbox.sent(count)
        if not self._outbox.size:
            self._outbox = None
            self._flushed()

    # Closing.

    def _say_goodbye(self, code: int, reason: str) -> None:
        frame = self._protocol.goodbye(code, reason)
        if frame is None:
            self._lost()
            return
        self._move(State.CLOSING)
        self._closing = Closing(int(code), cut_reason(reason))
        self._arm(self._bounds.close_timeout)
        self._transmit(frame)
        self._go_on_soon()  # a paused one has to hear the answer

    def _move(self, state: State) -> None:
        if state not in TRANSITIONS[self._state]:
            raise IllegalMove(f"from {self._state.value} to {state.value}")
        self._state = state

    def _linger(self, last: bytes = b"") -> None:
        """All is said once `last` is sent.  Then shut down writing, and read on for a while."""
        if self._state is State.CLOSED:
            return
        self._move(State.LINGERING)
        if self._timer is None:
            self._arm(self._bounds.close_timeout)
        if last:
            self._transmit(last)
        else:
            self._flushed()

    def _flushed(self) -> None:
        if self._state is State.LINGERING and self._outbox is None:
            self._half_close()
            self._arm(LINGER)

    def _lost(self) -> None:
        """Nothing can be sent or received any more."""
        if self._state is State.CLOSED:
            return
        if self._closing is None:
            self._closing = GONE
        self._move(State.CLOSED)
        self._disarm()
        self._outbox = None
        self._rest = b""
        self._release()
        self._protocol.end()
        self._deliver()
        self._bounds.on_closed(self)

    def _crashed(self) -> None:
        """The top of a callback caught something."""
        _LOGGER.exception("a WebSocket's callback failed")
        self.close(CloseCode.INTERNAL, "internal error")

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._clock.later(seconds, self._on_deadline)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _on_deadline(self) -> None:
        try:
            self._expire()
        except Exception:
            self._crashed()

    def _expire(self) -> None:
        self._timer = None
        if self._state is State.CLOSING and self._outbox is None:
            self._linger()
        else:
            self._lost()
