"""A member's connection: what anybody's transport has to be able to do, and what a fast one can do besides.

Three blocking methods (`Conn`) are enough for a transport; it is then given a reader and a writer greenlet
(`GreenletConn`).  These cost 10 KB a member and half of the throughput, so a transport that can write without blocking is
a `DirectConn`: the channel writes to it straight from the fan-out, and it needs no greenlet at all.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeAlias

import gevent
from gevent.event import Event as Flag
from gevent.queue import Queue, ShutDown

from chat.closing import GONE, CloseCode, Closing
from chat.errors import ConnEOF, SlowConsumer, TestTimeout
from chat.format import LINES, Format
from chat.requests import Publish, Request

OnMessage: TypeAlias = Callable[[Request], None]
OnGone: TypeAlias = Callable[[Closing], None]


CLOSE_DEADLINE: Final = 5.0  # seconds for what is still queued when a connection is closed


class Conn(ABC):
    """One connection of one user to one channel.  Subclasses need not call `__init__`."""

    __slots__ = ()

    @abstractmethod
    def recv(self) -> str:
        """Return the next message of the user.  Blocks.

        Raises: ConnEOF at the end; any other exception counts as gone too.
        """

    @abstractmethod
    def send_str(self, msg: str) -> None:
        """Send one message; "" probes whether the other end still lives.  May block; any exception counts as gone."""

    @abstractmethod
    def close(self) -> None:
        """End it, and wake a blocked `recv`.  Idempotent."""


class Sink(Protocol):
    """Where bytes for a connection go."""

    def write(self, data: bytes) -> None:
        """As `DirectConn.write`."""


class DirectConn(Conn):
    """A connection that can be written to without blocking.

    `recv` and `send_str` work too, for whoever wants to use it without a channel.  A subclass with `__slots__` has one for
    `_texts`, which is None at first.
    """

    __slots__ = ()

    _texts: "Queue[str] | None" = None  # what `recv` has still to return, once it was called

    @property
    @abstractmethod
    def format(self) -> Format:
        """How events look on this wire; the same object for all connections that look alike."""

    @abstractmethod
    def start(self, on_message: OnMessage, on_gone: OnGone) -> None:
        """Begin to read.  Never yields.

        `on_message` is called for each request, in order, and never blocks; so it may be called in the hub.  `on_gone` is
        called once, whoever ends the connection, and nothing after it.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send what `format` encoded.  Never yields and never raises: what cannot be sent now is queued, up to a bound
        past which the connection is closed as too slow."""

    @property
    def sink(self) -> Sink:
        """What the fan-out writes to: itself, or the one object all its life that it passes everything on to as it is."""
        return self

    def probe(self) -> None:
        """Find out whether the other end still lives; `on_gone` tells.  Never yields."""
        self.send_str("")

    @abstractmethod
    def pause(self) -> None:
        """Call `on_message` no more until `resume`; the peer is made to wait.  Never yields; idempotent."""

    @abstractmethod
    def resume(self) -> None:
        """Undo `pause`.  Never yields; idempotent."""

    @abstractmethod
    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """End it, saying why where the wire can.  Never yields; idempotent."""

    def wait_closed(self) -> None:
        """Return when what was queued before the end is sent, or given up.  Blocks."""

    def recv(self) -> str:
        if self._texts is None:
            self._texts = Queue()  # type: ignore[misc]  # subclasses have a place for it
            self.start(self._keep, self._keep_no_more)
        text = _get(self._texts)
        if self._texts.empty():
            self.resume()
        return text

    def _keep(self, request: Request) -> None:
        """Keep a text for `recv`, and let the peer wait until it was fetched."""
        assert self._texts is not None
        if isinstance(request, Publish):
            self._texts.put_nowait(request.text)
            self.pause()

    def _keep_no_more(self, _closing: Closing) -> None:
        assert self._texts is not None
        self._texts.shutdown()


class GreenletConn(DirectConn):
    """Makes a `DirectConn` of any `Conn`, with a reader greenlet, a writer greenlet and a bounded queue between."""

    def __init__(self, conn: Conn, write_buf: int) -> None:
        self._conn = conn
        self._limit = write_buf
        self._outbox: deque[bytes] = deque()
        self._queued = 0
        self._work = Flag()
        self._unpaused = Flag()
        self._unpaused.set()
        self._closing: Closing | None = None
        self._on_gone: OnGone | None = None
        self._reader: gevent.Greenlet[..., None] | None = None
        self._writer: gevent.Greenlet[..., None] | None = None
        self._finisher: gevent.Greenlet[..., None] | None = None

    @property
    def format(self) -> Format:
        return LINES

    def start(self, on_message: OnMessage, on_gone: OnGone) -> None:
        if self._closing is not None:
            on_gone(self._closing)
            return
        self._on_gone = on_gone
        self._reader = gevent.spawn(self._read, on_message)
        self._writer = gevent.spawn(self._send)

    def _read(self, on_message: OnMessage) -> None:
        """The reader greenlet."""
        try:
            while self._closing is None:
                text = self._conn.recv()
                self._unpaused.wait()
                if self._closing is None:
                    on_message(Publish(text=text))
                gevent.sleep(0)  # a recv that always has something does not yield, and nobody else would have a turn
        except (Exception, gevent.Timeout, gevent.GreenletExit):  # "any other exception counts as gone"
            self._end(GONE)

    def _send(self) -> None:
        """The writer greenlet; what was queued before the end is still sent."""
        try:
            while self._outbox or self._closing is None:
                if not self._outbox:
                    self._work.clear()
                    self._work.wait()
                    continue
                data = self._outbox.popleft()
                for text in LINES.split(data):
                    self._conn.send_str(text)
                self._queued -= len(data)
        except (Exception, gevent.Timeout, gevent.GreenletExit):
            self._end(GONE)

    def write(self, data: bytes) -> None:
        if self._closing is not None or not data:
            return
        if self._queued > self._limit:  # what waits already: one batch, or a filled gap, may be larger than the bound
            self._outbox.clear()
            self._end(Closing(CloseCode.SLOW, SlowConsumer.text))
            return
        self._outbox.append(data)
        self._queued += len(data)
        self._work.set()

    def probe(self) -> None:
        self.write(LINES.probe)

    def pause(self) -> None:
        self._unpaused.clear()

    def resume(self) -> None:
        self._unpaused.set()

    def recv(self) -> str:
        return self._conn.recv()

    def send_str(self, msg: str) -> None:
        self.write(LINES.join([msg]))

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        self._end(Closing(code, reason))

    def _end(self, closing: Closing) -> None:
        if self._closing is not None:
            return
        self._closing = closing
        self._work.set()
        self._unpaused.set()
        self._finisher = gevent.spawn(self._finish)
        if self._on_gone is not None:
            self._on_gone(closing)

    def wait_closed(self) -> None:
        if self._finisher is not None:
            self._finisher.join()

    def _finish(self) -> None:
        """Give the writer time for what is queued, then end both greenlets, wherever the transport holds them."""
        greenlets = [greenlet for greenlet in (self._writer, self._reader) if greenlet is not None]
        gevent.joinall(greenlets[:1], timeout=CLOSE_DEADLINE)
        try:
            self._conn.close()
        finally:
            gevent.killall(greenlets, block=False)


def as_direct(conn: Conn, write_buf: int) -> DirectConn:
    """`conn` itself if it can be written to without blocking, else with greenlets around.  Raises: TypeError."""
    if isinstance(conn, DirectConn):
        return conn
    if not isinstance(conn, Conn):
        raise TypeError(f"conn: a chat.Conn is wanted, not {type(conn).__name__}")
    return GreenletConn(conn, write_buf)


PIPE_LIMIT: Final = 1024  # messages; a pipe is for tests and bots, which read


class PipeConn(Conn):
    """A connection in memory.  The server has this end, a test or a bot has `.client`."""

    def __init__(self) -> None:
        self._in: Queue[str] = Queue(PIPE_LIMIT)
        self._out: Queue[str] = Queue(PIPE_LIMIT)
        self.client = PipeClient(self._in, self._out)

    def recv(self) -> str:
        return _get(self._in)

    def send_str(self, msg: str) -> None:
        _put(self._out, msg)

    def close(self) -> None:
        self.client.close()


class PipeClient:
    """The client end of a `PipeConn`."""

    def __init__(self, out: "Queue[str]", in_: "Queue[str]") -> None:
        self._out = out
        self._in = in_

    def send(self, text: str) -> None:
        """Say `text`.  Blocks while the server does not read.  Raises: ConnEOF."""
        _put(self._out, text)

    def recv(self, timeout: float | None = None) -> str:
        """Return the next message, waiting at most `timeout` seconds.  Raises: TestTimeout, ConnEOF."""
        with gevent.Timeout(timeout, TestTimeout()):
            while not (text := _get(self._in)):
                pass  # a probe, which no client sees
        return text

    def __iter__(self) -> Iterator[str]:
        """All messages until the connection ends.  Blocks."""
        while True:
            try:
                yield self.recv()
            except ConnEOF:
                return

    def close(self) -> None:
        """Hang up.  What was sent before can still be received.  Idempotent."""
        self._in.shutdown()
        self._out.shutdown()


def _get(queue: "Queue[str]") -> str:
    try:
        return queue.get()
    except ShutDown:
        raise ConnEOF from None


def _put(queue: "Queue[str]", text: str) -> None:
    try:
        queue.put(text)
    except ShutDown:
        raise ConnEOF from None
