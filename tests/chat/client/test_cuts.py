"""Wherever the connection is cut: nothing is lost, nothing doubled, and the order is kept."""

import gevent
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chat.client import ChatClient, ClientChannel, Message
from tests.chat.client.hall import Hall

CHANNELS = ("lobby", "annexe")
EACH = 4  # messages of the client's in each channel


def heard(channel: ClientChannel, count: int) -> list[str]:
    """The texts of the next messages, and that there are no more."""
    texts = []
    while len(texts) < count:
        event = channel.recv(5)
        assert isinstance(event, Message), event
        texts.append(event.text)
    assert list(channel._events) == []
    return texts


def check(fuses: list[int], moods: list[bool]) -> None:
    hall = Hall(fuses, moods)
    with ChatClient(hall.url, token=lambda channel: channel, chance=lambda: 0.0) as client:
        channels = [client.join(name, timeout=5) for name in CHANNELS]
        said = [(channel, number, channel.publish(f"{number}")) for number in range(EACH) for channel in channels]
        offsets = {(channel.name, str(number)): receipt.wait(5) for channel, number, receipt in said}

        for channel in channels:
            assert heard(channel, 2 * EACH) == hall.texts(channel.name)
            own = [message for message in hall.logs[channel.name] if message["from"] == "ann"]
            assert [message["text"] for message in own] == [f"{number}" for number in range(EACH)]
            assert [offsets[channel.name, message["text"]] for message in own] == [message["offset"] for message in own]
    with gevent.Timeout(5):
        hall.close()


FUSES = st.lists(st.integers(1, 12), max_size=8)
MOODS = st.lists(st.booleans(), max_size=8)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])  # which counts once, for all
@pytest.mark.usefixtures("no_chat_greenlet_left")
@given(FUSES, MOODS)
@example([], [])
@example([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [True, False] * 4)
def test_nothing_is_lost_or_doubled_and_the_order_is_kept(fuses: list[int], moods: list[bool]) -> None:
    check(fuses, moods)


def test_a_cut_behind_each_frame_of_a_whole_conversation() -> None:
    for fuse in range(1, 40):
        check([fuse], [])
