"""A server of chat.v1 that does what the test says: the other end of a client's real sockets."""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import gevent
from gevent import socket as gevent_socket
from gevent.event import AsyncResult
from gevent.queue import Queue
from gevent.server import StreamServer
from gevent.socket import socket as GeventSocket
from websockets.datastructures import Headers
from websockets.frames import Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

T = TypeVar("T")

DEADLINE = 5.0  # seconds for what a client should do at once
LIMITS = {"message": 4096, "rate": 0.0}
DATE = "2026-01-31T12:00:00.123Z"


def begin(call: Callable[..., T], *args: object, **given: object) -> "AsyncResult[T]":
    """Call it in a greenlet, and return what will have come of it."""
    outcome: AsyncResult[T] = AsyncResult()

    def run() -> None:
        try:
            outcome.set(call(*args, **given))
        except Exception as exc:
            outcome.set_exception(exc)

    gevent.spawn(run)
    return outcome


class Peer:
    """One connection.  A test lets it in, hears what it says, and answers."""

    def __init__(self, sock: GeventSocket) -> None:
        self._sock = sock
        sock.setsockopt(gevent_socket.IPPROTO_TCP, gevent_socket.TCP_NODELAY, 1)
        self._protocol = ServerProtocol(subprotocols=[Subprotocol("chat.v1")])
        self._heard: list[object] = []
        self.closing: tuple[int, str] | None = None
        """What the client's close frame says."""
        self.request = self._next()
        assert isinstance(self.request, Request)
        self.ended: AsyncResult[None] = AsyncResult()

    @property
    def token(self) -> str:
        return self.request.headers["Authorization"].removeprefix("Bearer ")

    def refuse(self, status: int, code: str, **headers: str) -> None:
        """Answer the handshake with an error of ours."""
        body = json.dumps({"error": {"code": code, "message": f"it is {code}"}}).encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        self._sock.sendall(Response(status, "No", Headers(fields), body).serialize())
        self.hang_up()

    def let_in(self) -> "Peer":
        self._protocol.send_response(self._protocol.accept(self.request))
        self.flush()
        return self

    def welcome(self, channel: str = "lobby", **more: object) -> "Peer":
        """Let it in, if that is not done, and welcome it."""
        if self._protocol.state is not OPEN:
            self.let_in()
        self.says("welcome", channel, **welcome(**more))
        return self

    def says(self, type: str, channel: str | None = "lobby", **fields: object) -> None:
        self.says_text(json.dumps(frame(type, channel, **fields)))

    def says_text(self, *texts: str) -> None:
        """All in one piece."""
        for text in texts:
            self._protocol.send_text(text.encode())
        self.flush()

    def message(self, offset: int, text: str, sender: str = "bob", id: str | None = None) -> None:
        self.says("message", offset=offset, id=id, text=text, date=DATE, **{"from": sender})

    def hears(self, type: str | None = None) -> dict:
        """The next request, which is of that type."""
        found = self._next()
        assert isinstance(found, dict), found
        assert type in (None, found["type"]), found
        return found

    def acks(self, offset: int | None) -> dict:
        """Hear a request, and say that it is done."""
        asked = self.hears()
        self.says("ack", asked["channel"], id=asked["id"], offset=offset)
        return asked

    def hears_nothing(self) -> bool:
        """Whether nothing more has come, once all greenlets had their turn."""
        gevent.idle()
        with suppress(BlockingIOError):
            self._sock.settimeout(0)
            self._take(self._sock.recv(65536))
        self._sock.settimeout(DEADLINE)
        return not self._heard

    def waits_for_end(self) -> None:
        """Hear what comes until the client has hung up."""
        with suppress(EOFError):
            while True:
                self._next()

    def close(self, code: int, reason: str = "") -> None:
        self._protocol.send_close(code, reason)
        self.flush()
        self.waits_for_end()
        self.hang_up()

    def cut(self) -> None:
        """Reset it."""
        self._sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def hang_up(self) -> None:
        self._sock.close()

    def flush(self) -> None:
        self._sock.sendall(b"".join(self._protocol.data_to_send()))

    def send_half(self, type: str, channel: str = "lobby", **fields: object) -> None:
        """The first half of a frame."""
        self._protocol.send_text(json.dumps(frame(type, channel, **fields)).encode())
        data = b"".join(self._protocol.data_to_send())
        self._sock.sendall(data[: len(data) // 2])

    def _next(self) -> object:
        while not self._heard:
            data = self._sock.recv(65536)
            if not data:
                raise EOFError
            self._take(data)
        return self._heard.pop(0)

    def _take(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._heard.append(event)
            elif event.opcode == Opcode.TEXT:
                self._heard.append(json.loads(event.data))
            elif event.opcode == Opcode.CLOSE:
                assert self._protocol.close_rcvd
                self.closing = (self._protocol.close_rcvd.code, self._protocol.close_rcvd.reason)
        if self._protocol.state is OPEN or self.closing:
            with suppress(OSError):
                self.flush()


def frame(type: str, channel: str | None, **fields: object) -> dict:
    return {"type": type, **({} if channel is None else {"channel": channel}), **fields}


def welcome(user: str = "ann", users: tuple[str, ...] = ("ann",), **more: object) -> dict:
    """The fields of one."""
    people = [{"user": name} for name in users]
    plain = {"epoch": "e", "offset": 0, "recovered": False, "ping": 25.0, "limits": LIMITS}
    return {"user": {"user": user}, "users": people, "count": len(people), **plain, **more}


class ScriptedServer:
    """Listens on a free port; a test takes the connections one by one, or has them `handle`d."""

    def __init__(self, handle: Callable[[GeventSocket], None] | None = None) -> None:
        self._waiting: Queue[Peer] = Queue()
        self._peers: list[Peer] = []
        self._server = StreamServer(("127.0.0.1", 0), lambda sock, _address: (handle or self._keep)(sock))
        self._server.start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/chat"

    def next(self) -> Peer:
        """Who comes next."""
        return self._waiting.get(timeout=DEADLINE)

    def nobody_comes(self) -> bool:
        gevent.idle()
        return self._waiting.empty()

    def close(self) -> None:
        for peer in self._peers:
            peer.ended.set()
            peer.hang_up()
        self._server.stop(timeout=DEADLINE)

    def _keep(self, sock: GeventSocket) -> None:
        sock.settimeout(DEADLINE)
        try:
            peer = Peer(sock)
        except EOFError:
            return
        self._peers.append(peer)
        self._waiting.put(peer)
        peer.ended.wait()  # StreamServer closes the socket when this returns
