"""Clients that speak WebSocket by hand, so that they can stop at any step, and end as they like."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.frames import Opcode

from tests.live.people import Chatter, Place
from tests.live.servers import Server, gunicorn
from tests.web.websocket.peers import HANDSHAKE, Peer, masked, read_reply, request

PATIENCE = 10.0
MUCH = 4096  # bytes in one message, the most that is allowed

Address = tuple[str, int]


def upgrade(token: str) -> bytes:
    """The whole head of a handshake, for plain text."""
    return request("/chat/ws", **HANDSHAKE, Authorization=f"Bearer {token}")


class Wire(Peer):
    """A plain text client, from the 101 on; `heard` is all that was said to it."""

    def __init__(self, sock: socket.socket, rest: bytes = b"") -> None:
        super().__init__(sock, rest)
        sock.settimeout(PATIENCE)
        self.heard: list[str] = []

    def hear(self, text: str) -> str:
        """The next text frame with `text` in it; others are passed over."""
        while True:
            frame = self.recv()
            assert frame.opcode is not Opcode.CLOSE, f"closed: {bytes(frame.data)!r}"
            if frame.opcode is Opcode.TEXT:
                self.heard.append(bytes(frame.data).decode())
                if text in self.heard[-1]:
                    return self.heard[-1]

    def say(self, words: str) -> None:
        self.send(masked(Opcode.TEXT, words))

    def flood(self) -> None:
        """Say, and hear, much in little time."""
        self.send(*[masked(Opcode.TEXT, "x" * MUCH)] * 50)
        for _ in range(50):
            self.hear("x" * MUCH)

    def close(self) -> None:
        self.sock.close()


def accepted(sock: socket.socket) -> Wire:
    """Go on from the answer to a handshake, which has to be a yes."""
    reply = read_reply(sock)
    assert reply.status == 101, reply
    return Wire(sock, reply.rest)


@contextmanager
def faulty_server(
    folder: Path, *args: str, listeners: Sequence[socket.socket] = (), **env: str
) -> Iterator[tuple[Server, "Faulty"]]:
    """A server that runs `faulty_app`; in the end no client is left."""
    app = "tests.live.faulty_app:app"
    with gunicorn(folder / "instance", *args, app=app, listeners=listeners, **env) as (server, where):
        faulty = Faulty(where)
        try:
            yield server, faulty
        finally:
            faulty.hang_up()


class Faulty:
    """A server that runs `faulty_app`, and all who are connected to it."""

    def __init__(self, where: str) -> None:
        self._opened: list[socket.socket | Chatter] = []
        parts = urlsplit(where)
        assert parts.port is not None
        self.address: Address = ("127.0.0.1", parts.port)
        self.place = Place(f"http://127.0.0.1:{parts.port}")

    def tokens(self, channel: str, names: str, count: int) -> list[str]:
        answer = self.place.request("GET", f"/mint/{channel}/{names}/{count}")
        assert answer.status == 200, answer.text
        return answer.text.split()

    def token(self, channel: str, name: str) -> str:
        return self.tokens(channel, name, 0)[0]

    def dial(self, *, receive: int = 0) -> socket.socket:
        """Connect over TCP; `receive` is how many bytes the kernel shall hold for us, 0 is its own choice."""
        sock = self.keep(socket.socket())
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        sock.connect(self.address)
        return sock

    def keep(self, sock: socket.socket) -> socket.socket:
        """Close it in the end."""
        sock.settimeout(PATIENCE)
        self._opened.append(sock)
        return sock

    def hang_up(self) -> None:
        """Close all connections that are still open."""
        while self._opened:
            self._opened.pop().close()

    def join(self, channel: str, name: str, sock: socket.socket | None = None) -> Wire:
        """Be listed in the channel, and have heard so; `sock` is connected already."""
        sock = sock or self.dial()
        sock.sendall(upgrade(self.token(channel, name)))
        return self.accept(sock, name)

    def knock(self, channel: str, name: str) -> Wire:
        """Be let in, though perhaps not listed yet."""
        sock = self.dial()
        sock.sendall(upgrade(self.token(channel, name)))
        return accepted(sock)

    def accept(self, sock: socket.socket, name: str) -> Wire:
        """Go on from the answer to a handshake."""
        wire = accepted(sock)
        wire.hear(f"{name} is here")
        return wire

    def enter(self, channel: str, name: str) -> Chatter:
        """Be there over chat.v1, by a client that answers pings whether somebody asks it for messages or not."""
        protocols = ["chat.v1", f"chat.token.{self.token(channel, name)}"]
        chatter = Chatter(self.place.websocket("/chat/ws", subprotocols=protocols, max_queue=None), channel)
        self._opened.append(chatter)
        return chatter

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.place.request("GET", "/state").body)
        return state
