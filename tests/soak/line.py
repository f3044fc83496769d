"""A WebSocket client on gevent that costs little, and that can end in all the ways in which clients do."""

import os
import struct
from base64 import b64encode
from collections import deque
from collections.abc import Iterator

import gevent
from gevent import socket

from tests.live.frames import cut_frame

PATIENCE = 30.0
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


class Line:
    """One connection; `closing` is the code and the reason of the server's close frame, (1006, "") where none came."""

    def __init__(
        self, address: tuple[str, int], path: str, token: str, *, buffer: int = 0, patience: float = PATIENCE
    ) -> None:
        """Shake hands.  `buffer` is how many bytes the kernel takes for who does not read, 0 for its own idea; `patience`
        the seconds in which the server has to take what is sent.

        Raises: OSError, also when it is refused.
        """
        self.closing: tuple[int, str] = (1006, "")
        self._patience = patience
        self._unread = b""
        self._unsent: deque[bytes] = deque()
        self._writer: gevent.Greenlet | None = None
        self._socket = socket.socket()
        try:
            if buffer:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self._socket.settimeout(patience)
            self._socket.connect(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._shake_hands(f"{address[0]}:{address[1]}", path, token)
            self._socket.settimeout(None)
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self, host: str, path: str, token: str) -> None:
        key = b64encode(os.urandom(16)).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Protocol: chat.v1\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        while b"\r\n\r\n" not in self._unread:
            self._fill()
        answer, _, self._unread = self._unread.partition(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(answer.partition(b"\r\n")[0].decode())

    def send(self, text: str) -> None:
        """Say it as soon as the server takes it.  Never yields, never raises: who reads hears of the end."""
        self._send(_frame(TEXT, text.encode()))

    def texts(self, pace: float = 0.0) -> Iterator[str]:
        """All that is said until the end; with a `pace` it is read at most so often, in seconds."""
        while True:
            frame = self._next(pace)
            if frame is None:
                return
            kind, payload = frame
            if kind == TEXT:
                yield payload.decode()
            elif kind == PING:
                self._send(_frame(PONG, payload))
            elif kind == CLOSE:
                self.closing = int.from_bytes(payload[:2], "big"), payload[2:].decode()
                self._send(_frame(CLOSE, payload[:2]))
                self._flush()
                return

    def say_goodbye(self) -> None:
        """Begin a clean end; `texts` goes on until the server has answered."""
        self._send(_frame(CLOSE, b"\x03\xe8"))

    def break_off(self, text: str) -> None:
        """End in the middle of a frame."""
        frame = _frame(TEXT, text.encode())
        self._send(frame[: len(frame) // 2])
        self._flush()
        self.close()

    def reset(self) -> None:
        """End by RST."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Give the descriptor back, which ends whoever reads or writes.  Idempotent."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        self._unsent.append(data)
        if not self._writer:  # there is none, or it has ended
            self._writer = gevent.spawn(self._write)

    def _write(self) -> None:
        """Send one after the other.  A server that takes nothing for long loses us, and `closing` says why."""
        try:
            while self._unsent:
                with gevent.Timeout(self._patience, TimeoutError):
                    self._socket.sendall(self._unsent[0])
                self._unsent.popleft()
        except TimeoutError:
            self.closing = 1006, f"took nothing for {self._patience:g} s"
            self.close()
        except OSError:  # gone
            self._unsent.clear()

    def _flush(self) -> None:
        """Wait until all is sent, or cannot be."""
        if self._writer:
            self._writer.join()

    def _next(self, pace: float) -> tuple[int, bytes] | None:
        """The next frame, None at the end."""
        while (frame := self._cut_frame()) is None:
            try:
                self._fill(pace)
            except OSError:
                return None
            gevent.sleep(pace)  # 0 too: whoever hears much does not keep others from hearing
        return frame

    def _cut_frame(self) -> tuple[int, bytes] | None:
        frame = cut_frame(self._unread)
        if frame is None:
            return None
        opcode, payload, self._unread = frame
        return opcode, payload

    def _fill(self, pace: float = 0.0) -> None:
        data = self._socket.recv(2048 if pace else 65536)
        if not data:
            raise ConnectionError("hung up")
        self._unread += data


def _frame(kind: int, payload: bytes) -> bytes:
    """Masked by nothing, which is a mask too; payloads are short of 64 KiB."""
    size = len(payload)
    head = bytes([0x80 | kind, 0x80 | size]) if size < 126 else bytes([0x80 | kind, 0xFE]) + size.to_bytes(2, "big")
    return head + bytes(4) + payload
