"""The client's HTTP: an answer is whole, or it is none."""

from collections.abc import Iterator

import gevent
import pytest
from gevent.server import StreamServer
from gevent.socket import socket as GeventSocket

from chat.client.address import Address
from chat.client.browser import Browser
from chat.client.errors import Unreachable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\nSet-Cookie: session=abc; Path=/\r\n\r\n"
BODY = b'{"token": "t"}'
WHOLE = HEAD + BODY
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + BODY[:7] + b"\r\n7\r\n" + BODY[7:] + b"\r\n0\r\n\r\n"
)
UNMEASURED = b"HTTP/1.1 200 OK\r\n\r\n" + BODY


class Site:
    """Gives everybody the same answer, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.address = Address.parse(f"http://127.0.0.1:{self._server.server_port}/chat")

    def _serve(self, sock: GeventSocket, _address: object) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        sock.sendall(self.answer)

    def close(self) -> None:
        self._server.stop()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    with gevent.Timeout(20):
        yield site
    site.close()


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, UNMEASURED])
def test_a_whole_answer_is_read(site: Site, answer: bytes) -> None:
    site.answer = answer

    assert Browser(site.address).get("/").json == {"token": "t"}


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED])
def test_an_answer_that_breaks_off_is_none_wherever_it_does(site: Site, answer: bytes) -> None:
    browser = Browser(site.address)
    for length in range(len(answer)):
        site.answer = answer[:length]
        with pytest.raises(Unreachable):
            browser.get("/")
