"""What waits for a slow peer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.websocket.outbox import Outbox


def filled(*parts: bytes) -> Outbox:
    outbox = Outbox()
    for part in parts:
        outbox.add(part)
    return outbox


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 100])
def test_whatever_is_sent_at_a_time_the_order_stays(step):
    outbox = filled(b"abc", b"d", b"efghij")
    seen = b""

    while outbox.size:
        data = b"".join(outbox.vectors())[:step]
        seen += data
        outbox.sent(len(data))

    assert seen == b"abcdefghij"


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 100])
def test_a_piece_is_never_longer_than_asked(limit):
    outbox = filled(b"abc", b"d", b"efghij")
    seen = b""

    while outbox.size:
        data = bytes(outbox.piece(limit))
        assert 0 < len(data) <= limit
        seen += data
        outbox.sent(len(data))

    assert seen == b"abcdefghij"


def test_small_buffers_are_joined():
    assert filled(b"abc", b"d", b"efghij").piece(5) == b"abcd"


def test_nothing_is_copied():
    data = b"x" * 1000
    outbox = filled(data)

    outbox.sent(10)

    (rest,) = outbox.vectors()
    assert isinstance(rest, memoryview)
    assert rest.obj is data
    assert outbox.size == 990


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=100), st.lists(st.integers(1, 400)), st.booleans())
def test_what_goes_in_comes_out(parts: list[bytes], steps: list[int], in_pieces: bool) -> None:
    outbox = filled(*parts)
    seen = b""

    for step in [*steps, *[400] * 100]:
        if outbox.size:
            data = bytes(outbox.piece(step)) if in_pieces else b"".join(outbox.vectors())[:step]
            seen += data
            outbox.sent(len(data))

    assert (seen, outbox.size) == (b"".join(parts), 0)
