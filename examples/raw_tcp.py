"""Chat over raw TCP: lines of text, of which the first is the user's name.

    python -m examples.raw_tcp --port 9000

from the top folder of the project; then `nc 127.0.0.1 9000` and type a name.

A connection is the simplest there is, a `Conn` of three methods; the core gives it a reader and a writer greenlet.
"""

import argparse
import signal
import socket
from contextlib import suppress
from typing import Final

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import socket as Socket

from chat import ChatChannel, ChatError, ChatServer, Conn, ConnEOF, IdleChannel, InvalidChannel

LINE: Final = 4096  # bytes; what `ServerConf.max_message` allows
NAME_TIMEOUT: Final = 10.0  # seconds for the first line


class LineConn(Conn):
    """A user at the other end of a TCP connection."""

    def __init__(self, sock: Socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._sock = sock
        self._lines = sock.makefile("rb")
        self.closed = Event()

    def recv(self) -> str:
        line = self._lines.readline(LINE + 1)  # of a longer one there is no newline in it
        if not line.endswith(b"\n"):
            raise ConnEOF
        return line.rstrip(b"\r\n").decode()

    def send_str(self, msg: str) -> None:
        if msg:  # lines have no probe: keep-alive, which the kernel sends, finds out who has gone
            self._sock.sendall(f"{msg}\n".encode())

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes whoever reads
        self.closed.set()


def lobby(chat: ChatServer) -> ChatChannel:
    """The one channel; it ends when nobody has been there for five minutes."""
    try:
        return chat.get_channel("lobby")
    except (InvalidChannel, IdleChannel):
        return chat.create_channel("lobby")


def talk(chat: ChatServer, sock: Socket) -> None:
    """Serve one connection; the socket is closed when this returns."""
    conn = LineConn(sock)
    try:
        with gevent.Timeout(NAME_TIMEOUT, ConnEOF()):
            name = conn.recv()
        lobby(chat).connect_user(name, conn)
    except ConnEOF:
        return
    except (ChatError, UnicodeDecodeError) as exc:
        why = "that is not UTF-8" if isinstance(exc, UnicodeDecodeError) else str(exc)
        conn.send_str(f"You cannot enter: {why}")
        return
    conn.closed.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Chat over raw TCP.")
    parser.add_argument("--port", type=int, default=9000)
    port = parser.parse_args().port
    with ChatServer() as chat:
        server = StreamServer(("127.0.0.1", port), lambda sock, _address: talk(chat, sock))
        server.start()
        print(f"Listening on 127.0.0.1:{server.server_port}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        server.serve_forever()


if __name__ == "__main__":
    main()
