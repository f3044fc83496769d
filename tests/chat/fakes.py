"""Stand-ins for the ends of a chat: connections that tests hold in their hands.

Each passes the contract tests of the real thing, in `test_conn.py`.
"""

from collections import deque
from collections.abc import Sequence

import gevent
from gevent.event import Event as Flag

from chat.archive.memory import MemoryArchive
from chat.closing import GONE, CloseCode, Closing
from chat.conn import Conn, DirectConn, OnGone, OnMessage
from chat.errors import ConnEOF
from chat.event import Event, Message
from chat.format import LINES, Format
from chat.wire import Publish


class EventFormat(Format):
    """Keeps the events themselves; on the wire they are numbers.  Counts how often it is asked."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self._events: list[Event] = []

    def encode(self, events: Sequence[Event]) -> bytes:
        self.batches.append(list(events))
        first = len(self._events)
        self._events.extend(events)
        return b"".join(b"%d\n" % number for number in range(first, len(self._events)))

    def decode(self, data: bytes) -> list[Event]:
        return [self._events[int(number)] for number in data.split()]


class DirectFake(DirectConn):
    """A `DirectConn` without a wire.  `stall` makes the peer stop reading; what is written then is queued."""

    def __init__(self, form: Format = LINES, write_buf: int = 1 << 20) -> None:
        self._form = form
        self._limit = write_buf
        self._on_message: OnMessage | None = None
        self._on_gone: OnGone | None = None
        self._said: deque[Publish] = deque()
        self._queue: deque[bytes] = deque()
        self._stalled = False
        self._paused = False
        self._arrived = Flag()
        self.writes: list[bytes] = []  # what has reached the peer, one entry a write
        self.closing: Closing | None = None
        self.probes = 0

    @property
    def format(self) -> Format:
        return self._form

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def started(self) -> bool:
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
        if self._stalled:
            if sum(map(len, self._queue)) > self._limit:
                self._queue.clear()
                self.close(CloseCode.SLOW, "slow")
            self._queue.append(data)
            return
        self.writes.append(data)
        self._arrived.set()

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

    def _end(self, closing: Closing) -> None:
        if self.closing is not None:
            return
        self.closing = closing
        self._arrived.set()
        if self._on_gone is not None:
            self._on_gone(closing)

    def _read(self) -> None:
        while self._said and self._on_message is not None and not self._paused and self.closing is None:
            self._on_message(self._said.popleft())

    # The peer's side

    def say(self, text: str, *, id: str | None = None, to: str | None = None) -> None:
        self._said.append(Publish(text=text, id=id, to=to))
        self._read()

    def hang_up(self) -> None:
        self._end(GONE)

    def stall(self) -> None:
        self._stalled = True

    def catch_up(self) -> None:
        self._stalled = False
        while self._queue:
            self.write(self._queue.popleft())

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
        """What has arrived, for conns with the plain format."""
        return LINES.split(b"".join(self.writes))

    def wait_for(self, kind: type[Event], many: int = 1, timeout: float = 2.0) -> list[Event]:
        """All events of `kind`, once there are `many`."""
        with gevent.Timeout(timeout, AssertionError(f"not {many} of {kind.__name__} came")):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < many:
                self._arrived.clear()
                self._arrived.wait()
        return found

    def wait_closed(self, timeout: float = 2.0) -> Closing:
        """Why it was closed, once it was."""
        with gevent.Timeout(timeout, AssertionError("it was not closed")):
            while self.closing is None:
                self._arrived.clear()
                self._arrived.wait()
        return self.closing


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

    def send_str(self, msg: str) -> None:
        self.is_sending.set()
        self.jam.wait()
        raise ConnEOF

    def close(self) -> None:
        self.jam.set()
        super().close()


class GatedArchive(MemoryArchive):
    """An archive that waits at its gate, or refuses, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Flag()
        self.gate.set()
        self.is_waiting = Flag()
        self.fault: Exception | None = None

    def append(self, channel: str, epoch: str, events: Sequence[Message]) -> None:
        self._pass()
        super().append(channel, epoch, events)

    def read(self, channel: str, epoch: str, after: int, limit: int) -> list[Message]:
        self._pass()
        return super().read(channel, epoch, after, limit)

    def _pass(self) -> None:
        if not self.gate.is_set():
            self.is_waiting.set()
            self.gate.wait()
        if self.fault is not None:
            raise self.fault
