"""How a connection ends, on the wire: every code and reason with which we refuse, and the handshake from either side."""

import socket

import pytest

from chat.closing import Closing
from tests.web.fakes import BINARY, CLOSE, PING, PONG, TEXT, client_frame, close_frame
from tests.web.websocket.echo_server import Echo
from tests.web.websocket.peers import text
from web.websocket.limits import Bounds

CONT = 0
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
LIMITS = {"max_message": 1000, "max_fragments": 5}
ENDED = bytes([FIN | CLOSE, 13]) + (4503).to_bytes(2, "big") + b"as you wish"  # what the text `close` makes us say


def app(environ, start_response):
    """Echoes, over a parked socket or in a route; the text `close` closes."""
    if environ["PATH_INFO"] == "/parked":
        environ["web.websocket"].accept(Echo, on_abandoned=lambda: None, subprotocol=None, bounds=Bounds(**LIMITS))
        start_response("101 Switching Protocols", [])
        return []
    websocket = environ["wsgi.websocket"]
    while (message := websocket.receive()) is not None:
        if message == "close":
            websocket.close(4503, "as you wish")
            break
        websocket.send(message)
    return []


@pytest.fixture(params=["/parked", "/route"])
def peer(request, serve):
    """A client of either kind of connection, once its first message came back."""
    _, peer = serve(app, **LIMITS).upgrade(request.param)
    peer.send(text("before"))
    assert peer.recv().data == b"before"
    return peer


def until_eof(peer) -> bytes:
    """All bytes up to the end of the stream.  A reset raises."""
    return b"".join(iter(lambda: peer.sock.recv(65536), b""))


def unmasked(payload: bytes, opcode: int = TEXT) -> bytes:
    return bytes([FIN | opcode, len(payload)]) + payload


def part(payload: bytes, opcode: int = TEXT) -> bytes:
    """A fragment that is not the last."""
    return client_frame(payload, opcode, first=0)


def last(payload: bytes = b"") -> bytes:
    return client_frame(payload, CONT)


STATES = {
    "after a message": b"",
    "in a text": part(b"a"),
    "in a binary message": part(b"a", BINARY),
    "after a later fragment": part(b"a") + part(b"b", CONT),
    "after a ping in a message": part(b"a") + client_frame(b"", PING),
    "after a pong": client_frame(b"", PONG),
}
UNMASKED = {
    "text": unmasked(b"x"),
    "binary": unmasked(b"x", BINARY),
    "continuation": unmasked(b"x", CONT),
    "empty": unmasked(b""),
    "ping": unmasked(b"", PING),
    "pong": unmasked(b"", PONG),
    "close": unmasked(b"\x03\xe8", CLOSE),
}


@pytest.mark.parametrize("frame", UNMASKED.values(), ids=UNMASKED)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_what_is_not_masked_is_refused_in_every_state(peer, state, frame):
    peer.send(state + frame)

    assert peer.recv_close() == Closing(1002, "incorrect masking")
    assert peer.at_eof()


RESERVED = Closing(1002, "reserved bits must be 0")
FRAGMENTED = Closing(1002, "fragmented control frame")
LONG = Closing(1002, "control frame too long")
UNEXPECTED = Closing(1002, "unexpected continuation frame")
BAD_START = Closing(1007, "invalid start byte at position 0")
INCOMPLETE = Closing(1007, "unexpected end of data at position 0")
TOO_BIG = Closing(1009, "frame with 1001 bytes exceeds limit of 1000 bytes")
NO_OPCODES = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
NO_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)

REFUSED = {
    "a reserved bit": (client_frame("x", first=FIN | RSV1), RESERVED),
    "another": (client_frame("x", first=FIN | RSV2), RESERVED),
    "the third": (client_frame("x", first=FIN | RSV3), RESERVED),
    "all in a ping": (client_frame("", PING, first=FIN | RSV1 | RSV2 | RSV3), RESERVED),
    "one in a continuation": (part(b"x") + client_frame("x", CONT, first=FIN | RSV1), RESERVED),
    **{f"opcode {opcode}": (client_frame("", opcode), Closing(1002, "invalid opcode")) for opcode in NO_OPCODES},
    "a fragmented ping": (client_frame("", PING, first=0), FRAGMENTED),
    "a fragmented pong": (client_frame("", PONG, first=0), FRAGMENTED),
    "a fragmented close": (client_frame(b"\x03\xe8", CLOSE, first=0), FRAGMENTED),
    "a ping of 126 bytes": (client_frame(b"x" * 126, PING), LONG),
    "a pong of 126 bytes": (client_frame(b"x" * 126, PONG), LONG),
    "a close of 126 bytes": (close_frame(1000, "x" * 124), LONG),
    "a continuation of nothing": (last(b"x"), UNEXPECTED),
    "a continuation of what is complete": (part(b"a") + last() + last(), UNEXPECTED),
    "a text in a text": (part(b"a") + text("b"), Closing(1002, "expected a continuation frame")),
    "no UTF-8": (client_frame(b"\xff"), BAD_START),
    "no UTF-8 later": (client_frame(b"ab\xff"), Closing(1007, "invalid start byte at position 2")),
    "no UTF-8 in a fragment": (part(b"\xff"), BAD_START),
    "no UTF-8 in a reason": (client_frame(b"\x03\xe8\xff", CLOSE), BAD_START),
    "a surrogate": (client_frame(b"\xed\xa0\x80"), Closing(1007, "invalid continuation byte at position 0")),
    "half a character": (client_frame(b"\xe2\x98"), INCOMPLETE),
    "half a character in fragments": (part(b"\xe2") + last(b"\x98"), INCOMPLETE),
    "half a close code": (client_frame(b"\x03", CLOSE), Closing(1002, "close frame too short")),
    **{f"code {code}": (close_frame(code), Closing(1002, "invalid status code")) for code in NO_CODES},
    "too big": (client_frame("x" * 1001), TOO_BIG),
    "too big, by its header": (client_frame("x" * 1001)[:4], TOO_BIG),
    "too big in fragments": (part(b"x" * 999) + last(b"xx"), Closing(1009, "message with over 1000 bytes")),
    "too many fragments": (part(b"x") + part(b"x", CONT) * 5, Closing(1008, "too many fragments")),
}


@pytest.mark.parametrize(("data", "closing"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_a_rule_is_told_which_and_ends(peer, data, closing):
    peer.send(data)

    assert peer.recv_close() == closing
    assert peer.at_eof()


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x10\xe1so long", b"\x0b\xb8" + "☃".encode() * 41])
def test_a_peers_close_is_echoed_and_we_hang_up_first_and_hear_no_more(peer, payload):
    peer.send(client_frame(payload, CLOSE) + text("late") + client_frame("", PING) + close_frame(4999))
    peer.send(unmasked(b"later"))

    assert until_eof(peer) == bytes([FIN | CLOSE, len(payload)]) + payload


@pytest.mark.parametrize("answer", [close_frame(4503), close_frame(1000, "bye"), client_frame("", CLOSE)])
def test_our_close_is_the_last_we_say_and_we_hang_up_first_once_it_is_answered(peer, answer):
    peer.send(text("close"))
    assert peer.recv_close() == Closing(4503, "as you wish")

    peer.send(text("unheard") + part(b"half") + answer + text("late"))

    assert until_eof(peer) == b""


def test_when_both_close_at_once_each_says_so_once(peer):
    peer.send(text("close"))
    peer.sock.recv(1, socket.MSG_PEEK)  # ours is there, and not read yet

    peer.send(close_frame(4000, "mine"))

    assert until_eof(peer) == ENDED


@pytest.mark.parametrize("data", [unmasked(b"x"), client_frame("", 3), client_frame(b"\xff"), close_frame(999)])
def test_what_breaks_a_rule_when_we_have_closed_is_not_answered(peer, data):
    peer.send(text("close"))

    assert peer.recv_close() == Closing(4503, "as you wish")
    peer.send(data)

    assert until_eof(peer) == b""
