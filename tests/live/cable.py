"""A cable between clients and a server that a test can cut, freeze and mend, all of it or one connection: a TCP relay on a
loopback port of its own.

Why not the browser's own offline switch?  That one tells the browser that the network has gone.  A cut cable is found out
by errors, and a frozen one by nothing but silence.  One thread carries all connections; gevent is not used, because
Playwright's synchronous interface cannot live beside it.
"""

import enum
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

PATIENCE: Final = 10.0  # seconds for what the thread does at once
CHUNK: Final = 65_536  # bytes read, and so held at most, per direction of a connection
MOST: Final = 64  # connections; more wait in the listener's backlog until one ends
AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST (socket(7))


class Mode(enum.Enum):
    MENDED = enum.auto()
    CUT = enum.auto()
    FROZEN = enum.auto()
    CLOSED = enum.auto()


class Harm(enum.Enum):
    """What can befall one connection."""

    RESET = "reset"
    DEAF = "half-open, from the client"
    """Nothing that the client says arrives any more, and nobody is told."""
    MUTE = "half-open, from the server"
    SILENT = "half-open, both ways"
    TRUNCATED = "truncated on the way to the server"
    """It ends in the middle of what is said next."""
    CURTAILED = "truncated on the way to the client"


class Broken(OSError):
    """A connection has ended in the middle of what was said."""


class Way:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.held = b""
        self.ended = False
        self.silent = False
        self.breaks = False

    def move(self) -> None:
        """Read and write once, as far as that goes without waiting.  Raises: OSError."""
        if self.silent:
            return
        with suppress(BlockingIOError):
            if not self.held and not self.ended:
                self.held = self.source.recv(CHUNK)
                self.ended = not self.held
                if self.ended:
                    self.sink.shutdown(socket.SHUT_WR)
            if self.breaks and len(self.held) > 1:
                self.sink.send(self.held[: len(self.held) // 2])
                raise Broken
            if self.held:
                self.held = self.held[self.sink.send(self.held) :]


class Pair:
    """A client's connection, and the one to the server that carries on from it."""

    def __init__(self, client: socket.socket, server: socket.socket, selector: selectors.BaseSelector) -> None:
        self.is_open = True
        self._ends = client, server
        self._ways = Way(client, server), Way(server, client)
        self._selector = selector
        self._events = [0, 0]  # what each end is watched for
        for end in self._ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    @property
    def is_whole(self) -> bool:
        return not any(way.silent or way.breaks or way.ended for way in self._ways)

    def carry(self) -> None:
        """Move what can be moved; where that ends it, `is_open` says so."""
        try:
            for way in self._ways:
                way.move()
        except Broken:
            self._close()
        except OSError:
            self.reset()
        else:
            if all(way.ended for way in self._ways):
                self._close()
            else:
                self._watch()

    def harm(self, how: Harm) -> None:
        there, back = self._ways
        match how:
            case Harm.RESET:
                self.reset()
            case Harm.DEAF:
                there.silent = True
            case Harm.MUTE:
                back.silent = True
            case Harm.SILENT:
                there.silent = back.silent = True
            case Harm.TRUNCATED:
                there.breaks = True
            case Harm.CURTAILED:
                back.breaks = True
        self._watch()

    def mend(self) -> None:
        """Carry again, beginning with what was held up."""
        for way in self._ways:
            way.silent = way.breaks = False
        self._watch()

    def reset(self) -> None:
        self._close(reset)

    def _watch(self) -> None:
        """Ask to be woken when something can move."""
        for number, end in enumerate(self._ends) if self.is_open else ():
            events = self._wanted(end)
            if events == self._events[number]:
                continue
            if not self._events[number]:
                self._selector.register(end, events, self)
            elif events:
                self._selector.modify(end, events, self)
            else:
                self._selector.unregister(end)
            self._events[number] = events

    def _wanted(self, end: socket.socket) -> int:
        events = 0
        for way in self._ways:
            if way.sink is end and way.held and not way.silent:
                events |= selectors.EVENT_WRITE
            if way.source is end and not (way.held or way.ended or way.silent):
                events |= selectors.EVENT_READ
        return events

    def _close(self, close: Callable[[socket.socket], None] = socket.socket.close) -> None:
        self.is_open = False
        for end, events in zip(self._ends, self._events, strict=True):
            if events:
                self._selector.unregister(end)
            close(end)


class Cable:
    """Leads to `target`, an http address, from `url`; a context manager.  It begins mended, and has room for `most`.

    The host that the server sees is the cable's, so Origin and cookies are those of one site.
    """

    def __init__(self, target: str, most: int = MOST) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._most = most
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=most)
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._mode = Mode.MENDED
        self._orders: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._accepted: list[socket.socket] = []
        """Not connected to the server yet, because the cable is frozen."""
        self._pairs: dict[Pair, None] = {}  # by age
        self._selector = selectors.DefaultSelector()
        self._listens = False
        self._thread = threading.Thread(target=self._run, name=f"cable to {target}", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Cable":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Reset all connections, at both ends, and from now on each new one."""
        self._change(Mode.CUT)

    def freeze(self) -> None:
        """Carry nothing more, and tell nobody: what is sent is held up, and who connects is accepted."""
        self._change(Mode.FROZEN)

    def mend(self) -> None:
        """Carry again, beginning with what was held up, also where a single connection was harmed."""
        self._change(Mode.MENDED)

    def harm(self, how: Harm, which: float) -> bool:
        """Do that to one of the connections that are whole: by age the one at the share `which`, below 1, of them.

        Return whether there was one.
        """
        return self._do(lambda: self._harm(how, which))

    def close(self) -> None:
        """Reset all connections and end the thread.  Idempotent."""
        if self._thread.is_alive():
            self._change(Mode.CLOSED)
            self._thread.join(PATIENCE)
        for end in (self._listener, self._bell, self._ear):
            end.close()

    def _change(self, mode: Mode) -> None:
        """Return once it is so.  Raises: RuntimeError, when the thread has ended."""
        self._do(lambda: self._turn_to(mode))

    def _do(self, work: Callable[[], Any]) -> Any:
        if not self._thread.is_alive():
            raise RuntimeError(f"the cable is {self._mode.name}")
        done: Future[Any] = Future()
        self._orders.append((done, work))
        self._bell.send(b"!")
        return done.result(PATIENCE)

    def _run(self) -> None:
        self._selector.register(self._ear, selectors.EVENT_READ)
        try:
            while self._mode is not Mode.CLOSED:
                self._listen()
                for key, _ in self._selector.select():
                    if key.data in self._pairs:
                        key.data.carry()
                        self._forget(key.data)
                self._obey()
                self._accept()
                if self._mode is Mode.MENDED:
                    self._connect()
        finally:
            self._reset_all()
            self._selector.close()
            self._mode = Mode.CLOSED

    def _listen(self) -> None:
        """While there is room."""
        if self._has_room and not self._listens:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._listens and not self._has_room:
            self._selector.unregister(self._listener)
        self._listens = self._has_room

    def _obey(self) -> None:
        with suppress(BlockingIOError):
            self._ear.recv(CHUNK)
            while self._orders:
                done, work = self._orders.popleft()
                done.set_result(work())

    def _turn_to(self, mode: Mode) -> None:
        match mode:
            case Mode.CUT | Mode.CLOSED:
                self._reset_all()
            case Mode.FROZEN:
                for pair in self._pairs:
                    pair.harm(Harm.SILENT)
            case Mode.MENDED:
                for pair in self._pairs:
                    pair.mend()
        self._mode = mode

    def _harm(self, how: Harm, which: float) -> bool:
        whole = [pair for pair in self._pairs if pair.is_whole]
        if whole:
            pair = whole[int(which * len(whole))]
            pair.harm(how)
            self._forget(pair)
        return bool(whole)

    def _forget(self, pair: Pair) -> None:
        """Unless it goes on."""
        if not pair.is_open:
            del self._pairs[pair]

    @property
    def _has_room(self) -> bool:
        return len(self._pairs) + len(self._accepted) < self._most

    def _accept(self) -> None:
        if self._has_room:
            with suppress(BlockingIOError):
                client, _ = self._listener.accept()
                self._accepted.append(client)
        if self._mode is Mode.CUT:
            self._reset_all()

    def _connect(self) -> None:
        while self._accepted:
            client = self._accepted.pop()
            try:
                server = socket.create_connection(self._target, PATIENCE)
            except OSError:
                reset(client)
            else:
                self._pairs[Pair(client, server, self._selector)] = None

    def _reset_all(self) -> None:
        for client in self._accepted:
            reset(client)
        for pair in self._pairs:
            pair.reset()
        self._accepted, self._pairs = [], {}


def reset(end: socket.socket) -> None:
    """Close without a goodbye, and without waiting for what was not sent."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    end.close()
