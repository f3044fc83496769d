"""Connections that a test holds in its hands: one that needs no wire, and what somebody's own three methods look like.

Each passes the contract tests of the real thing.
"""

from collections import deque
from collections.abc import Sequence

import gevent
from gevent.event import Event as Flag

from chat.closing import GONE, CloseCode, Closing
from chat.conn import Conn, DirectConn, OnGone, OnMessage
from chat.errors import ConnEOF, SlowConsumer
from chat.event import Event
from chat.format import LINES, Format, plain_text
from chat.requests import Publish, Request
from chat.testing.turns import DEADLINE


class EventFormat(Format):
    """Keeps the events themselves; on the wire they are numbers.  Counts how often it is asked."""

    __slots__ = ("_events", "batches")

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self._events: list[Event] = []

    def encode(self, events: Sequence[Event]) -> bytes:
        self.batches.append(list(events))
        first = len(self._events)
        self._events.extend(events)
        return b"".join(b"%d\n" % number for number in range(first, len(self._events)))

    def decode(self, data: bytes) -> list[Event]:
        """The events in `data`; one of which only a part has come is none."""
        return [self._events[int(number)] for number in data.split(b"\n")[:-1]]


class DirectFake(DirectConn):
    """A `DirectConn` without a wire, with the peer's side in the test's hands.

    `form` is an `EventFormat` of its own, unless another is given.  `stall` makes the peer stop reading; what is written
    then is queued, up to `write_buf` bytes.
    """

    def __init__(self, form: Format | None = None, write_buf: int = 1 << 20) -> None:
        self._form = form if form is not None else EventFormat()
        self._limit = write_buf
        self._on_message: OnMessage | None = None
        self._on_gone: OnGone | None = None
        self._said: deque[Request] = deque()
        self._queue: deque[bytes] = deque()
        self._stalled = False
        self._paused = False
        self._changed = Flag()
        self.writes: list[bytes] = []  # what has reached the peer, one entry a write
        self.closing: Closing | None = None
        self.probes = 0

    @property
    def format(self) -> Format:
        return self._form

    @property
    def paused(self) -> bool:
        """Whether the server makes the peer wait."""
        return self._paused

    @property
    def started(self) -> bool:
        """Whether the server listens."""
        return self._on_message is not None

    # The server's side

    def start(self, on_message: OnMessage, on_gone: OnGone) -> None:
        self._on_message, self._on_gone = on_message, on_gone
        if self.closing is not None:
            on_gone(self.closing)
        self._read()

    def write(self, data: bytes) -> None:
        if self.closing is not None or not data:
            return
        if not self._stalled:
            self._arrive(data)
        elif sum(map(len, self._queue)) > self._limit:
            self._queue.clear()
            self.close(CloseCode.SLOW, SlowConsumer.text)
        else:
            self._queue.append(data)

    def probe(self) -> None:
        self.probes += 1

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._read()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        self._end(Closing(code, reason))

    def send_str(self, msg: str) -> None:
        self.write(LINES.join([msg]))

    def _arrive(self, data: bytes) -> None:
        self.writes.append(data)
        self._changed.set()

    def _end(self, closing: Closing) -> None:
        if self.closing is not None:
            return
        self.closing = closing
        self._changed.set()
        if self._on_gone is not None:
            self._on_gone(closing)

    def _read(self) -> None:
        while self._said and self._on_message is not None and not self._paused and self.closing is None:
            self._on_message(self._said.popleft())

    # The peer's side

    def say(self, text: str, *, id: str | None = None, to: str | None = None) -> None:
        """Say `text`, to everybody or `to` one user; with an `id` it is answered by an Ack or a Refusal."""
        self.ask(Publish(text=text, id=id, to=to))

    def ask(self, request: Request) -> None:
        """Ask for anything that a member can ask for."""
        self._said.append(request)
        self._read()

    def hang_up(self) -> None:
        """End it, as a network does."""
        self._end(GONE)

    def stall(self) -> None:
        """Stop reading."""
        self._stalled = True

    def catch_up(self) -> None:
        """Read what has been queued, and go on reading."""
        self._stalled = False
        while self._queue:
            self.write(self._queue.popleft())

    def wait_read(self) -> None:
        """Return once the peer has read what waits for it; at once when it reads nothing.  Blocks, without a deadline."""

    @property
    def unread(self) -> int:
        """Requests that wait because the server has paused the peer."""
        return len(self._said)

    @property
    def events(self) -> list[Event]:
        """What has arrived, for conns with an `EventFormat`."""
        assert isinstance(self._form, EventFormat)
        return self._form.decode(b"".join(self.writes))

    @property
    def lines(self) -> list[str]:
        """What has arrived, as a plain client sees it."""
        if isinstance(self._form, EventFormat):
            return [line for event in self.events if (line := plain_text(event))]
        return LINES.split(b"".join(self.writes))

    def wait_for(self, kind: type[Event], many: int = 1, timeout: float = DEADLINE) -> list[Event]:
        """All events of `kind`, once there are `many`.  Raises: AssertionError after `timeout` seconds."""
        with gevent.Timeout(timeout, AssertionError(f"not {many} of {kind.__name__} came")):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < many:
                self.wait_for_change()
        return found

    def wait_for_end(self, timeout: float = DEADLINE) -> Closing:
        """Why it was closed, once it was.  Raises: AssertionError after `timeout` seconds."""
        with gevent.Timeout(timeout, AssertionError("it was not closed")):
            while self.closing is None:
                self.wait_for_change()
        return self.closing

    def wait_for_change(self) -> None:
        """Return when something arrives, or it ends.  Blocks, without a deadline."""
        self._changed.clear()
        self._changed.wait()


class ThreeMethods(Conn):
    """What somebody's own transport may look like: three methods, and an `__init__` that calls nobody else's."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed = Flag()
        self.fault: BaseException = ConnEOF()
        self.wakes = Flag()

    def recv(self) -> str:
        self.wakes.wait()
        raise self.fault

    def send_str(self, msg: str) -> None:
        self.sent.append(msg)

    def close(self) -> None:
        self.closed.set()
        self.wakes.set()

    def fail(self, fault: BaseException) -> None:
        """Let recv raise."""
        self.fault = fault
        self.wakes.set()


class Jammed(ThreeMethods):
    """Its peer reads nothing: `send_str` blocks until it is closed, then raises."""

    def __init__(self) -> None:
        super().__init__()
        self.jam = Flag()
        self.is_sending = Flag()

    def send_str(self, msg: str) -> None:  # noqa: ARG002 (nobody reads it)
        self.is_sending.set()
        self.jam.wait()
        raise ConnEOF

    def close(self) -> None:
        self.jam.set()
        super().close()
