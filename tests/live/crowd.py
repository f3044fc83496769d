"""Very many clients in one thread, over plain sockets: a library's client would cost more than the server does."""

import os
import selectors
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from tests.live.cable import reset
from tests.live.frames import cut_frame
from tests.live.people import Place
from tests.live.servers import Server, gunicorn, until

AT_ONCE = 200
PATIENCE = 30.0
TEXT, CLOSE = 0x1, 0x8


class Client:
    """One WebSocket, from its handshake to its end.  `ending` is the close frame's code and reason once it came."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(address)
        self.texts: list[str] = []
        self.ending: tuple[int, str] | None = None
        self.open = False
        self._request = request
        self._unread = b""

    def ask(self) -> None:
        """Send the handshake."""
        self.socket.sendall(self._request)

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.ending = self.ending or (1006, "")
            return
        self._unread += data
        if not self.open:
            self._read_answer()
        while self.open and self._read_frame():
            pass

    def _read_answer(self) -> None:
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        if end:
            assert head.startswith(b"HTTP/1.1 101 "), head
            self.open, self._unread = True, rest

    def _read_frame(self) -> bool:
        frame = cut_frame(self._unread)
        if frame is None:
            return False
        opcode, payload, self._unread = frame
        if opcode == CLOSE:
            self.ending = int.from_bytes(payload[:2], "big"), payload[2:].decode()
        elif opcode == TEXT:
            self.texts.append(payload.decode())
        return True

    def say_goodbye(self) -> None:
        """Answer a close frame; masked by nothing, which is a mask too."""
        assert self.ending is not None
        code = self.ending[0].to_bytes(2, "big")
        with suppress(ConnectionError):
            self.socket.send(bytes([0x80 | CLOSE, 0x80 | len(code)]) + bytes(4) + code)


class Crowd:
    """Clients that listen until they are sent away; they speak a `subprotocol`, or plain text.

    `stops` are the queries with which those come who come back, each for the token at the same place.
    """

    def __init__(self, url: str, tokens: Sequence[str], *, subprotocol: str = "", stops: Sequence[str] = ()) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = parts.hostname, parts.port
        self._host, self._path = parts.netloc, parts.path
        self._tokens = tokens
        self._subprotocol = subprotocol
        self._stops = stops or [""] * len(tokens)
        self._selector = selectors.DefaultSelector()
        self.clients: list[Client] = []

    def connect(self, at_once: int = AT_ONCE) -> None:
        """All of them, so many at a time."""
        waiting = iter(zip(self._tokens, self._stops, strict=True))
        coming: set[Client] = set()
        while coming or len(self.clients) < len(self._tokens):
            coming.update(self._begin(*who) for who in islice(waiting, at_once - len(coming)))
            self._turn(coming, lambda client: client.open)

    def wait(self, is_done: Callable[[Client], bool]) -> None:
        """Listen until that is so for each of them."""
        waiting = {client for client in self.clients if not is_done(client)}
        while waiting:
            self._turn(waiting, is_done)

    def reset(self) -> None:
        """End all connections by RST, which is what a lost network looks like once it is back."""
        for client in self.clients:
            reset(client.socket)
        self._selector.close()

    def endings(self, *, polite: bool = True) -> list[tuple[int, str]]:
        """Close code and reason of each, once all have theirs; `polite` ones answer."""
        waiting = {client for client in self.clients if client.ending is None}
        while waiting:
            gone = self._turn(waiting, lambda client: client.ending is not None)
            if polite:
                for client in gone:
                    client.say_goodbye()
        return [client.ending for client in self.clients if client.ending is not None]

    def close(self) -> None:
        for client in self.clients:
            client.socket.close()
        self._selector.close()

    def _begin(self, token: str, stop: str) -> Client:
        key = b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {self._path}{stop} HTTP/1.1",
            f"Host: {self._host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Authorization: Bearer {token}",
            *([f"Sec-WebSocket-Protocol: {self._subprotocol}"] if self._subprotocol else []),
        ]
        client = Client(self._address, "\r\n".join([*lines, "", ""]).encode())
        self.clients.append(client)
        self._selector.register(client.socket, selectors.EVENT_WRITE, client)
        return client

    def _turn(self, waiting: set[Client], is_done: Callable[[Client], bool]) -> list[Client]:
        """Serve whoever is ready, and take those that are done out of `waiting`."""
        began = time.monotonic()
        done: list[Client] = []
        ready = self._selector.select(PATIENCE)
        assert ready, f"{len(waiting)} clients wait for something for {time.monotonic() - began:.0f} s"
        for key, events in ready:
            client: Client = key.data
            if events & selectors.EVENT_WRITE:
                client.ask()
                self._selector.modify(client.socket, selectors.EVENT_READ, client)
                continue
            client.read()
            if client.ending is not None:
                self._selector.unregister(client.socket)
            if client in waiting and is_done(client):
                waiting.discard(client)
                done.append(client)
        return done


@contextmanager
def crowded(folder: Path, count: int, *args: str, **env: str) -> Iterator[tuple[Server, Place, Crowd]]:
    """A server with `count` open sockets."""
    tokens = folder / "tokens"
    minting = {"MINT_COUNT": str(count), "MINT_PATH": str(tokens), "CHAT_TOKEN_DEADLINE": "60", **env}
    config = ("-c", "bench/site.conf.py")
    with gunicorn(folder / "instance", *config, *args, app="bench.site:app", **minting) as (server, where):
        until(tokens.exists, "tokens", detail=lambda: server.log)
        crowd = Crowd(where.replace("http", "ws") + "/chat/ws", tokens.read_text().split())
        try:
            crowd.connect()
            yield server, Place(where), crowd
        finally:
            crowd.close()
