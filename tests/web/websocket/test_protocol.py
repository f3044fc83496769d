"""Frames to messages, and what is done about those that break the rules."""

import logging
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode

from chat.closing import Closing
from tests.fuzz.frames import MAX_FRAGMENTS, check_frames
from tests.web.fakes import PING, TEXT, client_frame, deflated
from tests.web.websocket.peers import farewell, masked, text
from web.websocket.protocol import MessageProtocol, cut_reason, ping_frame, text_frame

CONT = 0
FIN, RSV1 = 0x80, 0x40

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


def make(max_message: int | None = 100, max_fragments: int | None = 5) -> MessageProtocol:
    return MessageProtocol(max_message=max_message, max_fragments=max_fragments)


def close_frame(code: int, reason: str) -> bytes:
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


def fragments(opcode: Opcode, *parts: bytes) -> bytes:
    kinds = [opcode] + [Opcode.CONT] * (len(parts) - 1)
    return b"".join(
        masked(kind, part, fin=at == len(parts) - 1) for at, (kind, part) in enumerate(zip(kinds, parts, strict=True))
    )


@pytest.mark.parametrize("size", SIZES)
def test_our_frames_are_those_of_the_library(size):
    payload = b"x" * size

    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_a_ping_is_that_of_the_library():
    assert ping_frame(b"hi") == Frame(Opcode.PING, b"hi").serialize(mask=False)


def test_text_comes_as_str_and_binary_as_bytes():
    protocol = make()

    protocol.feed(text("grüße") + masked(Opcode.BINARY, b"\xff\x00"))

    assert protocol.messages == ["grüße", b"\xff\x00"]
    assert protocol.replies() == b""


def test_a_message_may_come_byte_by_byte():
    protocol = make()

    for byte in text("ada") + text("bob"):
        protocol.feed(bytes([byte]))

    assert protocol.messages == ["ada", "bob"]


def test_fragments_are_joined_across_a_character():
    protocol = make()
    snowman = "☃".encode()

    protocol.feed(fragments(Opcode.TEXT, b"a" + snowman[:1], snowman[1:2], snowman[2:]))

    assert protocol.messages == ["a☃"]


def test_binary_fragments_are_joined():
    protocol = make()

    protocol.feed(fragments(Opcode.BINARY, b"\xff", b"", b"\x00"))

    assert protocol.messages == [b"\xff\x00"]


def test_a_ping_between_two_fragments_is_answered_at_once():
    protocol = make()

    protocol.feed(masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.PING, b"?"))

    assert protocol.replies() == Frame(Opcode.PONG, b"?").serialize(mask=False)
    protocol.feed(masked(Opcode.CONT, b"b"))
    assert protocol.messages == ["ab"]


def test_pings_and_pongs_are_counted():
    protocol = make()

    protocol.feed(masked(Opcode.PING) + masked(Opcode.PONG) + masked(Opcode.PING))

    assert protocol.controls == 3


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_message_of_just_the_limit_is_taken(opcode):
    protocol = make(max_message=100)

    protocol.feed(masked(opcode, b"x" * 100) + fragments(opcode, b"x" * 60, b"x" * 40))

    assert [len(message) for message in protocol.messages] == [100, 100]


@pytest.mark.parametrize(
    "data", [masked(Opcode.TEXT, b"x" * 101), fragments(Opcode.TEXT, b"x" * 60, b"x" * 41)], ids=["whole", "parts"]
)
def test_a_byte_more_is_1009(data):
    protocol = make(max_message=100)

    protocol.feed(data)

    assert protocol.over
    assert protocol.ending.code == 1009
    assert protocol.messages == []


def test_a_message_is_too_big_from_its_header_on():
    protocol = make(max_message=100)

    protocol.feed(masked(Opcode.TEXT, b"x" * 101)[:4])

    assert protocol.ending.code == 1009


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_ping_between_fragments_takes_no_room_from_the_message(opcode):
    protocol = make(max_message=200)

    protocol.feed(masked(opcode, b"x" * 199, fin=False) + masked(Opcode.PING, b"y" * 125) + masked(Opcode.CONT, b"x"))

    assert [len(message) for message in protocol.messages] == [200]
    assert protocol.controls == 1


def test_as_many_fragments_as_allowed_are_taken():
    protocol = make(max_fragments=5)

    protocol.feed(fragments(Opcode.TEXT, *[b"x"] * 5) * 2)

    assert protocol.messages == ["xxxxx", "xxxxx"]


def test_a_fragment_more_is_1008_even_if_empty():
    protocol = make(max_fragments=5)

    protocol.feed(fragments(Opcode.TEXT, *[b""] * 6))

    assert protocol.ending == Closing(1008, "too many fragments")
    assert protocol.replies() == close_frame(1008, "too many fragments")


def test_without_limits_there_are_none():
    protocol = make(max_message=None, max_fragments=None)

    protocol.feed(fragments(Opcode.BINARY, *[b"x" * 1000] * 2000))

    assert len(protocol.messages[0]) == 2_000_000


@pytest.mark.parametrize(
    "data",
    [
        masked(Opcode.TEXT, b"\xff"),
        masked(Opcode.TEXT, b"a\xe2", fin=True),
        masked(Opcode.TEXT, b"\xed\xa0\x80"),
        masked(Opcode.CLOSE, b"\x03\xe8\xff"),
    ],
    ids=["byte", "truncated", "surrogate", "reason"],
)
def test_what_is_not_utf8_is_1007(data):
    protocol = make()

    protocol.feed(data)

    assert protocol.ending.code == 1007


def test_what_cannot_become_utf8_any_more_is_refused_before_the_message_ends():
    protocol = make()

    protocol.feed(masked(Opcode.TEXT, b"a\xff", fin=False))

    assert protocol.ending.code == 1007


@pytest.mark.parametrize(
    "data",
    [
        Frame(Opcode.TEXT, b"x").serialize(mask=False),
        masked(Opcode.CONT, b"x"),
        masked(Opcode.TEXT, b"x", fin=False) + text("y"),
        b"\x09\x80\x00\x00\x00\x00",
        masked(Opcode.CLOSE, b"\x03"),
        masked(Opcode.CLOSE, b"\x03\xee"),
        b"\xc1\x80\x00\x00\x00\x00",
        b"\x83\x80\x00\x00\x00\x00",
    ],
    ids=["unmasked", "continuation", "interrupted", "fragmented ping", "short", "1006", "reserved bit", "opcode"],
)
def test_what_breaks_the_rules_is_1002(data):
    protocol = make()

    protocol.feed(data)

    assert protocol.ending.code == 1002
    assert protocol.replies().startswith(b"\x88")


def test_a_peers_close_is_answered_in_kind():
    protocol = make()

    protocol.feed(farewell(4321, "bye"))

    assert protocol.over
    assert protocol.ending == Closing(4321, "bye")
    assert protocol.replies() == close_frame(4321, "bye")


def test_a_close_without_a_code_is_1005():
    protocol = make()

    protocol.feed(masked(Opcode.CLOSE))

    assert protocol.ending == Closing(1005, "")


def test_a_close_in_the_middle_of_a_message_is_a_clean_one():
    protocol = make()

    protocol.feed(masked(Opcode.TEXT, b"half", fin=False) + farewell(1000))

    assert protocol.ending == Closing(1000)
    assert protocol.messages == []


def test_after_the_end_nothing_is_read_and_nothing_raises():
    protocol = make()
    protocol.feed(farewell(1000))
    protocol.replies()

    protocol.feed(text("late"))
    protocol.end()
    protocol.feed(text("later"))

    assert protocol.messages == []
    assert protocol.replies() == b""


def test_our_goodbye_is_answered_and_over():
    protocol = make()

    assert protocol.goodbye(4000, "go") == close_frame(4000, "go")
    assert not protocol.over
    protocol.feed(text("unheard") + farewell(4000))

    assert protocol.over
    assert protocol.messages == []
    assert protocol.replies() == b""


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_code_that_must_not_be_sent_is_not(code):
    protocol = make()

    assert protocol.goodbye(code, "") is None
    assert protocol.replies() == b""


def test_a_long_reason_is_cut_between_characters():
    assert cut_reason("x" * 123) == "x" * 123
    assert cut_reason("ab" + "é" * 100) == "ab" + "é" * 60
    assert cut_reason("\ud800") == "?"


def inflating(max_message: int = 65536) -> MessageProtocol:
    return MessageProtocol(max_message=max_message, max_fragments=100, extensions=[PerMessageDeflate(True, True, 15, 15)])


def cut(message: bytes, *at: int) -> bytes:
    """A compressed message in fragments that end there."""
    edges = [0, *at, len(message)]
    return b"".join(
        client_frame(
            message[start:end], CONT if start else TEXT, first=(0 if start else RSV1) | (FIN if end == edges[-1] else 0)
        )
        for start, end in pairwise(edges)
    )


def test_what_inflates_to_just_the_limit_is_taken():
    protocol = inflating()
    message = deflated(b"x" * 65536)

    protocol.feed(cut(message) + cut(message, 40))

    assert protocol.messages == ["x" * 65536] * 2


@pytest.mark.parametrize("size", [65537, 65536 + 258, 100_000, 10_000_000])
def test_what_inflates_to_more_is_refused_wherever_it_is_cut(size):
    message = deflated(b"x" * size)

    for at in range(1, len(message), 1 + len(message) // 100):
        protocol = inflating()
        protocol.feed(cut(message, at))
        assert protocol.messages == []
        assert protocol.ending.code == 1009


def test_a_fragment_that_is_empty_brings_nothing_past_the_limit():
    message = deflated(b"x" * (65536 + 300))

    for at in range(1, len(message)):
        protocol = inflating()
        protocol.feed(client_frame(message[:at], first=RSV1) + client_frame(b"", CONT, first=FIN))
        assert all(len(taken) <= 65536 for taken in protocol.messages)


@pytest.mark.parametrize("fin", [FIN, 0], ids=["whole", "first of many"])
def test_a_bomb_is_refused_before_it_is_all_inflated(fin):
    protocol = inflating()
    bomb = client_frame(deflated(b"\0" * 60_000_000), first=fin | RSV1)
    tracemalloc.start()
    try:
        protocol.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert protocol.ending == Closing(1009, "frame exceeds limit of 65536 bytes")
    assert peak < 500_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (client_frame(b"\xff" * 10, first=FIN | RSV1), "decompression failed"),
        (client_frame(deflated(b"x"), CONT, first=FIN | RSV1), "reserved bits must be 0"),
        (
            client_frame(deflated(b"x"), first=RSV1) + client_frame(b"", CONT, first=FIN | RSV1),
            "RSV1 bit set in continuation frame",
        ),
        (client_frame(b"", PING, first=FIN | RSV1), "reserved bits must be 0"),
        (client_frame(b"x", first=FIN | 0x20), "reserved bits must be 0"),
    ],
    ids=["no deflate", "continuation", "later fragment", "ping", "another bit"],
)
def test_what_breaks_the_rules_of_compression_is_1002(data, reason):
    protocol = inflating()

    protocol.feed(data)

    assert protocol.ending == Closing(1002, reason)


def test_compressed_text_is_text_all_the_same():
    protocol = inflating()

    protocol.feed(client_frame(deflated(b"\xff"), first=FIN | RSV1))

    assert protocol.ending.code == 1007


def test_nothing_is_logged_about_a_connection(caplog):
    caplog.set_level(logging.DEBUG)
    protocol = make()

    protocol.feed(text("secret") + farewell(1000))
    protocol.receive_eof()

    assert caplog.records == []


def test_an_ended_protocol_is_freed_without_the_collector():
    class Watched(MessageProtocol):
        gone = False

        def __del__(self) -> None:
            Watched.gone = True

    protocol = Watched(max_message=1, max_fragments=1)
    protocol.end()
    del protocol

    assert Watched.gone


MESSAGES = st.text(max_size=70)  # characters; at most 280 bytes


@given(st.lists(st.tuples(MESSAGES, st.integers(1, MAX_FRAGMENTS)), max_size=5), st.integers(0, 255), st.booleans())
def test_wherever_frames_are_cut_they_are_the_same_messages(said: list[tuple[str, int]], seed: int, deflates: bool) -> None:
    data = b""
    for message, count in said:
        payload = message.encode()
        size = len(payload) // count + 1
        data += fragments(Opcode.TEXT, *[payload[at : at + size] for at in range(0, count * size, size)])

    outcome = check_frames(data, seed, deflates=deflates)

    assert outcome.messages == [message for message, _ in said]
    assert (outcome.controls, outcome.replies, outcome.ending) == (0, b"", None)
