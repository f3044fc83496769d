"""Frames that are compressed once, for everybody."""

import random
import zlib

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from web.websocket.deflate import WINDOW_BITS, WORTHWHILE, deflated_text_frame
from web.websocket.protocol import text_frame

RSV1 = 0x40
PAYLOADS = [
    b"x" * WORTHWHILE,
    b"nobody compresses like the snow " * 100,
    "grüße ".encode() * 1000,
    b"".join(b"%d " % number for number in range(20_000)),  # far longer than the window
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
def test_a_client_of_the_library_reads_them_one_by_one(payload):
    client = ClientProtocol(parse_uri("ws://chat.example"), state=OPEN, max_size=None)
    client.extensions = [PerMessageDeflate(True, True, 15, 15)]

    client.receive_data(deflated_text_frame(payload) * 2 + deflated_text_frame(b"short"))

    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    assert [bytes(frame.data) for frame in frames] == [payload, payload, b"short"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
def test_a_client_with_the_smallest_window_we_agree_to_reads_them(payload):
    frame = deflated_text_frame(payload)
    header = 2 if frame[1] < 126 else 4 if frame[1] == 126 else 10

    inflated = zlib.decompressobj(wbits=-WINDOW_BITS).decompress(frame[header:] + b"\x00\x00\xff\xff")

    assert inflated == payload
    assert len(frame) < len(payload) / 2


def test_what_is_short_goes_as_it_is():
    assert deflated_text_frame(b"") == text_frame(b"")
    assert deflated_text_frame(b"x" * (WORTHWHILE - 1)) == text_frame(b"x" * (WORTHWHILE - 1))
    assert deflated_text_frame(b"x" * WORTHWHILE)[0] & RSV1


def test_what_does_not_become_smaller_goes_as_it_is():
    noise = random.Random(7).randbytes(1000)

    assert deflated_text_frame(noise) == text_frame(noise)
