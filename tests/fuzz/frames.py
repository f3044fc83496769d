"""The bytes of a WebSocket behind its handshake: read alike however cut, within limits, and answered by valid frames.

The first byte says by its lowest bit whether permessage-deflate was agreed on; the second how the rest is cut.
"""

from collections.abc import Sequence
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
    _check_replies(whole)
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


def _check_replies(outcome: Outcome) -> None:
    """A client understands them: a pong for a ping, and a close at the end."""
    client = ClientProtocol(PEER, state=OPEN, max_size=None)
    client.receive_data(outcome.replies)
    assert client.parser_exc is None
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    opcodes = [frame.opcode for frame in frames]
    assert opcodes.count(Opcode.PONG) <= outcome.controls
    assert set(opcodes) <= {Opcode.PONG, Opcode.CLOSE}
    if outcome.ending is None:
        assert Opcode.CLOSE not in opcodes
    else:
        assert opcodes.index(Opcode.CLOSE) == len(opcodes) - 1
