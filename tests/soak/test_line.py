"""A line's client is never held up by a server that reads nothing, and says what it says in one piece."""

from collections.abc import Iterator

import gevent
import pytest
from gevent import socket

from chat.testing import never_yields
from tests.soak.line import Line
from web.websocket.protocol import MessageProtocol

MUCH = [f"{number:060000}" for number in range(200)]  # more than the kernel takes for somebody who does not read


class Server:
    """One that says yes to one client, and reads nothing until it is asked to."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.address = self._listener.getsockname()
        self._sock = gevent.spawn(self._accept)

    def _accept(self) -> socket.socket:
        sock, _ = self._listener.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        return sock

    def read(self) -> MessageProtocol:
        """Read until the client has ended."""
        protocol = MessageProtocol(max_message=None, max_fragments=None)
        while data := self._sock.get().recv(2**20):
            protocol.feed(data)
        return protocol

    def close(self) -> None:
        self._listener.close()
        self._sock.get().close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with gevent.Timeout(20):
        yield server
    server.close()


def test_nobody_waits_for_a_server_that_reads_nothing_and_frames_do_not_mix(server: Server) -> None:
    line = Line(server.address, "/", "token")
    with never_yields():
        for text in MUCH:
            line.send(text)

    reader = gevent.spawn(server.read)
    line.break_off("half of this")

    assert reader.get().messages == MUCH


def test_a_server_that_reads_nothing_for_long_loses_its_client(server: Server) -> None:
    line = Line(server.address, "/", "token", patience=0.1)
    for text in MUCH:
        line.send(text)

    assert list(line.texts()) == []
    assert line.closing == (1006, "took nothing for 0.1 s")
