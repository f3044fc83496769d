"""Clients that share nothing with the servers: `http.client`, `websockets`, bare sockets.  Every wait has a deadline."""

import http.client
import socket
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import NamedTuple, Protocol

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

PATIENCE = 10.0  # seconds for anything that should happen at once


class Answer(NamedTuple):
    """What an HTTP server said."""

    status: int
    headers: Mapping[str, str]
    text: str


def ask(port: int, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
    """Send one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def encode(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode()


class Talker(Protocol):
    """A user."""

    def say(self, text: str) -> None: ...

    def hear(self) -> str:
        """The next text, with its date."""

    def wait_for(self, text: str) -> None:
        """Hear until `text` is what was said."""

    def is_hung_up_on(self) -> None:
        """Whatever is still to be heard, the other end has ended it."""

    def close(self) -> None: ...


def said(line: str) -> str:
    """A line without its date."""
    return line.partition(" > ")[2]


class WebSocketTalker:
    """Over a WebSocket.  Raises InvalidStatus when it is refused."""

    def __init__(self, address: str, *, origin: str | None = None, **headers: str) -> None:
        timeouts = {"open_timeout": PATIENCE, "close_timeout": PATIENCE}
        self._open = ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(address, origin=origin, additional_headers=headers, max_queue=None, proxy=None, **timeouts)
        )

    def say(self, text: str) -> None:
        self.socket.send(text)

    def hear(self) -> str:
        return self.socket.recv(timeout=PATIENCE)

    def wait_for(self, text: str) -> None:
        while said(self.hear()) != text:
            pass

    def is_hung_up_on(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                self.hear()

    def close(self) -> None:
        self._open.close()


class LineTalker:
    """Over TCP."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._lines = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def say(self, text: str) -> None:
        self.socket.sendall(f"{text}\n".encode())

    def hear(self) -> str:
        line = self._lines.readline()
        assert line.endswith("\n"), "the connection has ended"
        return line.removesuffix("\n")

    def wait_for(self, text: str) -> None:
        while said(self.hear()) != text:
            pass

    def is_hung_up_on(self) -> None:
        with suppress(ConnectionResetError):  # what we have sent was not read to its end
            while self._lines.readline():
                pass

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


def refusal(address: str, *, origin: str | None = None, **headers: str) -> tuple[int, str]:
    """Open a WebSocket that is refused; return the status and what was said."""
    with pytest.raises(InvalidStatus) as caught:
        WebSocketTalker(address, origin=origin, **headers)
    response = caught.value.response
    return response.status_code, response.body.decode()
