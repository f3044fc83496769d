"""A cable between a browser and a server that a test can cut, freeze and mend: a TCP relay on a loopback port of its own.

Why not the browser's own offline switch?  That one tells the browser that the network has gone.  A cut cable is found out
by errors, and a frozen one by nothing but silence.  One thread carries all connections; gevent is not used, because
Playwright's synchronous interface cannot live beside it.
"""

import enum
import selectors
import socket
import struct
import threading
from contextlib import suppress
from typing import Final
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


class Way:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.held = b""
        self.ended = False

    def move(self) -> None:
        """Read or write once, as far as that goes without waiting.  Raises: OSError."""
        with suppress(BlockingIOError):
            if self.held:
                self.held = self.held[self.sink.send(self.held) :]
            elif not self.ended:
                self.held = self.source.recv(CHUNK)
                self.ended = not self.held
                if self.ended:
                    self.sink.shutdown(socket.SHUT_WR)


class Pair:
    """A client's connection, and the one to the server that carries on from it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = client, server
        self._ways = Way(client, server), Way(server, client)
        for end in self._ends:
            end.setblocking(False)

    def register(self, selector: selectors.BaseSelector) -> None:
        """Ask to be woken when something can move."""
        for end in self._ends:
            events = 0
            for way in self._ways:
                if way.sink is end and way.held:
                    events |= selectors.EVENT_WRITE
                if way.source is end and not way.held and not way.ended:
                    events |= selectors.EVENT_READ
            if events:
                selector.register(end, events)

    def carry(self) -> bool:
        """Move what can be moved; return whether it goes on."""
        try:
            for way in self._ways:
                way.move()
        except OSError:
            self.reset()
            return False
        if not all(way.ended for way in self._ways):
            return True
        for end in self._ends:
            end.close()
        return False

    def reset(self) -> None:
        for end in self._ends:
            reset(end)


class Cable:
    """Leads to `target`, an http address, from `url`; a context manager.  It begins mended.

    The host that the server sees is the cable's, so Origin and cookies are those of one site.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._mode = self._wanted = Mode.MENDED
        self._changed = threading.Condition()
        self._accepted: list[socket.socket] = []
        """Not connected to the server yet, because the cable is frozen."""
        self._pairs: list[Pair] = []
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
        """Carry again, beginning with what was held up."""
        self._change(Mode.MENDED)

    def close(self) -> None:
        """Reset all connections and end the thread.  Idempotent."""
        if self._thread.is_alive():
            self._change(Mode.CLOSED)
            self._thread.join(PATIENCE)
        for end in (self._listener, self._bell, self._ear):
            end.close()

    def _change(self, mode: Mode) -> None:
        """Return once it is so.  Raises: RuntimeError, when the thread has ended."""
        with self._changed:
            self._wanted = mode
            with suppress(OSError):
                self._bell.send(b"!")
            if not self._changed.wait_for(lambda: self._mode in (mode, Mode.CLOSED), PATIENCE) or self._mode is not mode:
                raise RuntimeError(f"the cable is {self._mode.name}, and cannot become {mode.name}")

    def _run(self) -> None:
        try:
            while self._mode is not Mode.CLOSED:
                self._wait()
                self._obey()
                self._accept()
                if self._mode is Mode.MENDED:
                    self._carry()
        finally:
            self._reset_all()
            self._enter(Mode.CLOSED)

    def _wait(self) -> None:
        """Until there is something to do."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            if self._has_room:
                selector.register(self._listener, selectors.EVENT_READ)
            if self._mode is Mode.MENDED:
                for pair in self._pairs:
                    pair.register(selector)
            selector.select()

    def _obey(self) -> None:
        with suppress(BlockingIOError):
            self._ear.recv(CHUNK)
            if self._wanted in (Mode.CUT, Mode.CLOSED):
                self._reset_all()
            self._enter(self._wanted)

    def _enter(self, mode: Mode) -> None:
        with self._changed:
            self._mode = mode
            self._changed.notify_all()

    @property
    def _has_room(self) -> bool:
        return len(self._pairs) + len(self._accepted) < MOST

    def _accept(self) -> None:
        if self._has_room:
            with suppress(BlockingIOError):
                client, _ = self._listener.accept()
                self._accepted.append(client)
        if self._mode is Mode.CUT:
            self._reset_all()

    def _carry(self) -> None:
        while self._accepted:
            client = self._accepted.pop()
            try:
                self._pairs.append(Pair(client, socket.create_connection(self._target, PATIENCE)))
            except OSError:
                reset(client)
        self._pairs = [pair for pair in self._pairs if pair.carry()]

    def _reset_all(self) -> None:
        for client in self._accepted:
            reset(client)
        for pair in self._pairs:
            pair.reset()
        self._accepted, self._pairs = [], []


def reset(end: socket.socket) -> None:
    """Close without a goodbye, and without waiting for what was not sent."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    end.close()
