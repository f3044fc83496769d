"""Those at the other end who are no real Redis: one who hears, and listeners of our own that hang up, stall, or talk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

import gevent
from gevent import socket
from gevent.server import StreamServer

RETURNED = "returned"


class Hearing:
    """Keeps what a topic brings, and that it returned."""

    def __init__(self) -> None:
        self.events: list[bytes | str] = []

    def heard(self, payload: bytes) -> None:
        self.events.append(payload)

    def returned(self) -> None:
        self.events.append(RETURNED)


class Door:
    """Takes connections on a port of its own, and does the same with each."""

    def __init__(self, receive: Callable[[socket.socket], None]) -> None:
        self.came_at: list[float] = []
        self._receive = receive
        self._server = StreamServer(("127.0.0.1", 0), self._take)
        self._server.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.server_port}"

    def _take(self, sock: socket.socket, _address: object) -> None:
        self.came_at.append(monotonic())
        with suppress(OSError):  # hung up
            self._receive(sock)

    def close(self) -> None:
        self._server.stop(timeout=0)


def hang_up(sock: socket.socket) -> None:
    """As a proxy does that reaches nobody."""


def answer_once(sock: socket.socket) -> None:
    """As a Redis would that dies of every second question."""
    sock.recv(100)
    sock.sendall(b"+PONG\r\n")


def say_unasked(words: bytes) -> Callable[[socket.socket], None]:
    """Greet like a Redis, and then say something that nobody has asked for."""

    def receive(sock: socket.socket) -> None:
        answer_once(sock)
        sock.sendall(words)
        sock.recv(100)  # until it is hung up

    return receive


class Relay:
    """Lies between us and a server, and can fall silent: then nobody is told, as when a cable is pulled out."""

    def __init__(self, port: int) -> None:
        self.lets_through = gevent.event.Event()
        self.lets_through.set()
        self._port = port
        self._door = Door(self._receive)
        self.url = self._door.url

    @property
    def count(self) -> int:
        """Connections that came."""
        return len(self._door.came_at)

    def _receive(self, sock: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as beyond:
            there = gevent.spawn(self._pass_on, sock, beyond)
            try:
                self._pass_on(beyond, sock)
            finally:
                there.kill()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65_536):
                self.lets_through.wait()
                target.sendall(piece)
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._door.close()


class Talker:
    """One conversation, in which the test itself is the Redis."""

    def __init__(self) -> None:
        self._conversations: list[socket.socket] = []
        self._may_end = gevent.event.Event()
        self._door = Door(self._receive)
        self.url = self._door.url

    def _receive(self, sock: socket.socket) -> None:
        answer_once(sock)
        self._conversations.append(sock)
        self._may_end.wait()

    @property
    def count(self) -> int:
        """Conversations that began."""
        return len(self._conversations)

    def say(self, *words: bytes) -> None:
        """What would be an array of strings, in the last conversation."""
        self._conversations[-1].sendall(
            b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        )

    def close(self) -> None:
        self._may_end.set()
        self._door.close()


@contextmanager
def full_door() -> Iterator[str]:
    """The URL of a port whose queue is full: the kernel answers nobody who wants to connect there."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        with socket.create_connection(door.getsockname()):  # whom nobody takes
            yield f"redis://127.0.0.1:{door.getsockname()[1]}"
