"""Turns the bytes of one WebSocket into messages, without any I/O.

Frames, masking, sizes, extensions and the closing handshake come from `websockets`, whose sans-I/O protocol yields single
frames.  Ours is what a frame alone cannot tell: joining fragments, UTF-8 across them, how many there may be, and a close
that comes between two of them.
"""

import logging
from codecs import getincrementaldecoder
from collections.abc import Generator, Sequence
from typing import Final, TypeAlias
from uuid import UUID

from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.frames import CloseCode as LibraryCode
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol

from chat.closing import CloseCode, Closing

Message: TypeAlias = str | bytes

MAX_CONTROL: Final = 125  # bytes of a control frame (RFC 6455 section 5.5)
MAX_REASON: Final = MAX_CONTROL - 2  # two are the code

# At INFO the library says "connection closed" once a connection.
_LOGGER: Final = logging.getLogger("web.websocket.protocol")
_LOGGER.setLevel(logging.WARNING)

_UTF8: Final = getincrementaldecoder("utf-8")
_NO_ID: Final = UUID(int=0)
_NO_EXTENSIONS: Final[list[Extension]] = []

_TEXT: Final = 0x80 | Opcode.TEXT
_PING: Final = 0x80 | Opcode.PING


def text_frame(payload: bytes) -> bytes:
    """Frame UTF-8 text as a server sends it: unmasked, in one piece."""
    return frame(_TEXT, payload)


def ping_frame(payload: bytes = b"") -> bytes:
    """Frame a ping; `payload` has at most 125 bytes."""
    return frame(_PING, payload)


def frame(first: int, payload: bytes) -> bytes:
    """Put a server's header before `payload`; `first` is the header's first byte: flags and opcode."""
    # RFC 6455 section 5.2.  By hand because a fan-out frames each event: `Frame.serialize` takes 6 times as long.
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def cut_reason(reason: str) -> str:
    """Cut a close reason to what fits, between two characters."""
    return reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore")


class _TextParts:
    """A text message of which some fragments are still to come."""

    __slots__ = ("_decoder", "_parts", "size")

    def __init__(self) -> None:
        self.size = 0  # bytes
        self._decoder = _UTF8()
        self._parts: list[str] = []

    def add(self, part: bytes, final: bool) -> None:
        """Raises: UnicodeDecodeError, with the first fragment that shows the text cannot be UTF-8."""
        self.size += len(part)
        self._parts.append(self._decoder.decode(part, final))

    def join(self) -> str:
        return "".join(self._parts)


class _BinaryParts:
    """A binary message of which some fragments are still to come."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = bytearray()

    @property
    def size(self) -> int:
        return len(self._parts)

    def add(self, part: bytes, final: bool) -> None:  # noqa: ARG002 (the text's counterpart needs it)
        self._parts += part

    def join(self) -> bytes:
        return bytes(self._parts)


class MessageProtocol(ServerProtocol):
    """The server's side of one WebSocket, from the 101 on.

    `max_message` is in bytes on the wire, after decompression; `max_fragments` is a number of frames a message.  None
    disables a limit.  Complete messages collect in `messages` (text as str, binary as bytes), and `controls` counts the
    pings and pongs that came; whoever feeds takes them out.  Nothing here raises on what the peer sent: a violation ends
    the protocol (`over`) and leaves the close frame that says so among the `replies`.
    """

    # Beside the library's __dict__, which has room for no more than 30 keys before instances stop sharing them.
    __slots__ = ("_fragments", "_max_fragments", "_parts", "controls", "messages")

    def __init__(
        self,
        *,
        max_message: int | None,
        max_fragments: int | None,
        extensions: Sequence[Extension] = (),
    ) -> None:
        super().__init__(state=OPEN, max_size=max_message, logger=_LOGGER)
        self.messages: list[Message] = []
        self.controls = 0
        self._max_fragments = max_fragments
        self._fragments = 0
        self._parts: _TextParts | _BinaryParts | None = None
        # Both are only read, and an idle connection should cost little.
        self.id = _NO_ID
        self.extensions = list(extensions) if extensions else _NO_EXTENSIONS

    def parse(self) -> Generator[None]:
        """Parse frames from the start: the server's own parser goes round them once more, for a handshake that is over."""
        return Protocol.parse(self)

    @property
    def over(self) -> bool:
        """Nothing more will be read: the peer closed, or broke the rules.  Once `replies` are sent, half-close."""
        return self.eof_sent

    @property
    def ending(self) -> Closing:
        """What ended it, once `over`: the peer's close, or ours.  1005 is a close without a code."""
        close = self.close_rcvd if self.close_rcvd_then_sent else self.close_sent
        assert close is not None, "not over yet"
        return Closing(int(close.code), close.reason)

    def feed(self, data: bytes) -> None:
        """Take in what was read.  Never raises."""
        if not self.over:
            self.receive_data(data)

    def replies(self) -> bytes:
        """Take what has to be sent because of what was fed: pongs, a close frame; mostly nothing."""
        return b"".join(self.data_to_send()) if self.writes else b""

    def goodbye(self, code: int, reason: str) -> bytes | None:
        """Begin to close; return the frame that says so, or None when `code` must not be sent (1005, 1006, 999)."""
        try:
            self.send_close(code, cut_reason(reason))
        except ProtocolError:
            return None
        return self.replies()

    def end(self) -> None:
        """Let go of the parser, and of what ended it: both refer to us, and would leave a cycle to the collector."""
        self.eof_sent = True
        self._parts = None
        self.parser.close()
        self.parser_exc = None

    def fail(self, code: LibraryCode | int, reason: str = "") -> None:
        self._parts = None
        super().fail(code, reason)

    def recv_frame(self, frame: Frame) -> None:
        """What the library's parser calls with each frame; what is raised here becomes its close frame."""
        if frame.opcode is Opcode.CONT:
            if self.current_size is None:
                raise ProtocolError("unexpected continuation frame")
            self._add(frame)
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if self.current_size is not None:
                raise ProtocolError("expected a continuation frame")
            self._begin(frame)
        else:
            self._control(frame)

    def _begin(self, frame: Frame) -> None:
        is_text = frame.opcode is Opcode.TEXT
        if frame.fin:
            self._complete(str(frame.data, "utf-8") if is_text else bytes(frame.data))
            return
        self._parts = _TextParts() if is_text else _BinaryParts()
        self._fragments = 0
        self.current_size = 0
        self._add(frame)

    def _add(self, frame: Frame) -> None:
        self._fragments += 1
        if self._max_fragments is not None and self._fragments > self._max_fragments:
            # Not 1009: told that, a client would send shorter messages, which is not what helps.
            self.fail(CloseCode.POLICY, "too many fragments")
            return
        parts, limit = self._parts, self.max_message_size
        assert parts is not None
        if limit is not None:
            size = parts.size + len(frame.data)
            if size > limit:
                self.fail(CloseCode.TOO_BIG, f"message with over {limit} bytes")
                return
            # By this the library limits the next frame, of whatever kind: leave room for a ping.  And never none at all:
            # zlib takes that for no limit.
            self.current_size = max(min(size, limit - MAX_CONTROL), 0)
        parts.add(bytes(frame.data), frame.fin)
        if frame.fin:
            message = parts.join()
            self._parts = self.current_size = None
            self._complete(message)

    def _complete(self, message: Message) -> None:
        # Once we have said goodbye, what still comes is for nobody (RFC 6455 section 1.4).
        if self.state is OPEN:
            self.messages.append(message)

    def _control(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            # The library would answer a close between two fragments with 1002; it is a close like any other.
            self._parts = self.current_size = None
        else:
            self.controls += 1
        super().recv_frame(frame)
        self.events.clear()
