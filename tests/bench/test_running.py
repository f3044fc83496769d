"""When a server is ready."""

import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from bench.running import answers


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as it:
        it.settimeout(5)
        yield it


def test_a_server_that_listens_and_does_not_answer_is_not_ready(listener: socket.socket) -> None:
    assert not answers(listener.getsockname()[1], within=0.1)


def test_where_nobody_listens_it_is_not_ready(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()

    assert not answers(port)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\n\r\n", b""])
def test_any_answer_will_do_and_so_will_an_orderly_end(listener: socket.socket, answer: bytes) -> None:
    def serve() -> None:
        conn, _ = listener.accept()
        with conn:
            assert conn.recv(1000).startswith(b"GET / HTTP/1.1\r\nHost: ")
            conn.sendall(answer)

    server = Thread(target=serve)
    server.start()
    ready = answers(listener.getsockname()[1], within=5)
    server.join()

    assert ready
