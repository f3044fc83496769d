"""The bytes of a WebSocket behind its handshake: read alike however cut, within limits, and answered by valid frames.

The first byte says by its lowest bit whether permessage-deflate was agreed on; the second how the rest is cut.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from chat.closing import Closing
from tests.fuzz.chunks import cut
from web.websocket.protocol import Message, MessageProtocol

MAX_MESSAGE = 300  # bytes; longer than a length of one byte can say
MAX_FRAGMENTS = 4
HEADER = 14  # bytes of the longest header of a frame
PEER = parse_uri("ws://chat.example")


class Outcome(NamedTuple):
    """What came of it."""

    messages: Sequence[Message]
    controls: int
    replies: bytes
    ending: Closing | None


def one(data: bytes) -> None:
    """Check one input."""
    if len(data) > 1:
        check_frames(data[2:], data[1], deflates=bool(data[0] & 1))


def check_frames(data: bytes, seed: int, *, deflates: bool) -> Outcome:
    """Whole or cut, they are the same messages, and get the same replies.  Returns what came of them."""
    whole = _feed([data], deflates)
    assert whole == _feed(cut(data, seed), deflates)
    assert all(_size(message) <= MAX_MESSAGE for message in whole.messages)
    _check_replies(whole, data)
    return whole


def _size(message: Message) -> int:
    return len(message.encode() if isinstance(message, str) else message)


def _feed(pieces: Sequence[bytes], deflates: bool) -> Outcome:
    extensions = [PerMessageDeflate(True, True, 15, 15)] if deflates else []
    protocol = MessageProtocol(max_message=MAX_MESSAGE, max_fragments=MAX_FRAGMENTS, extensions=extensions)
    replies = b""
    for piece in pieces:
        was_over, heard = protocol.over, len(protocol.messages)
        protocol.feed(piece)
        replies += protocol.replies()
        assert len(protocol.reader.buffer) <= MAX_MESSAGE + HEADER, "more is kept than one frame"
        assert not was_over or len(protocol.messages) == heard, "something was heard after the end"
    ending = protocol.ending if protocol.over else None
    outcome = Outcome(list(protocol.messages), protocol.controls, replies, ending)
    protocol.end()
    return outcome


def _check_replies(outcome: Outcome, data: bytes) -> None:
    """A client understands them: a pong for each ping, in order and with its payload, and a close at the end."""
    client = ClientProtocol(PEER, state=OPEN, max_size=None)
    client.receive_data(outcome.replies)
    assert client.parser_exc is None
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    opcodes = [frame.opcode for frame in frames]
    assert set(opcodes) <= {Opcode.PONG, Opcode.CLOSE}
    controls = [(opcode, payload) for opcode, payload in _cut_frames(data) if opcode in {Opcode.PING, Opcode.PONG}]
    read = controls[: outcome.controls]  # before the end, if it came to one
    pongs = [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG]
    assert pongs == [payload for opcode, payload in read if opcode == Opcode.PING]
    if outcome.ending is None:
        assert read == controls
        assert Opcode.CLOSE not in opcodes
    else:
        assert opcodes.index(Opcode.CLOSE) == len(opcodes) - 1


def _cut_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The opcode and the payload of each whole frame, also of those behind the end; as naive as can be."""
    while len(data) >= 2:
        extra = {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
        size = int.from_bytes(data[2 : 2 + extra], "big") if extra else data[1] & 0x7F
        start = 6 + extra
        if len(data) < start + size:
            return
        mask = data[start - 4 : start]
        yield data[0] & 0xF, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data[start : start + size]))
        data = data[start + size :]
