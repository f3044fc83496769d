"""What travels through a Redis is unpacked as what it was, whenever that is."""

import pytest

from chat.broker import parcel
from chat.event import Deleted, Edited, IsTyping, Joined, Left, Message, Presence, Published, User, Whisper
from tests.chat.contracts.hearing import DATE

ANN = User("ann")
MESSAGES = [
    Message("ann", "hello", DATE, "id 1"),
    Message("", 'a {"type":"message","sender":"\n{"type":"message",', DATE),
    Message("bob", "\u2028 \x85 \r\n ü 😀", DATE, rendered=True),
]
OTHERS = [
    Edited(1, "ann", '{"type":"message",\n', DATE),
    Deleted(1, "ann", DATE),
    Whisper("ann", "bob", '{"type":"message",\n', DATE),
    Joined(ANN, DATE),
    Left("ann", DATE),
    Presence((ANN,), ("bob",), 1, DATE),
    IsTyping(ANN),
]


def sent(events: list[Published]) -> parcel.Parcel:
    count = sum(isinstance(event, Message | Edited | Deleted) for event in events)
    return parcel.read(b"e1 7 %d p1\n" % count + parcel.lines_of(events))


def test_messages_are_unpacked_later_with_their_offsets():
    packed = sent([*MESSAGES]).messages()

    assert packed is not None
    assert (len(packed), packed.first, packed.last) == (3, 7, 9)
    assert [(event.text, event.offset) for event in packed] == [
        (event.text, offset) for offset, event in enumerate(MESSAGES, 7)
    ]
    assert list(packed) == sent([*MESSAGES]).events()
    assert packed[1:] == list(packed)[1:]


@pytest.mark.parametrize("other", OTHERS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("beside", [[], MESSAGES], ids=["alone", "beside messages"])
def test_whatever_is_something_else_is_looked_at_now(other: Published, beside: list[Published]):
    whole = sent([*beside, other])

    assert whole.messages() is None
    assert type(whole.events()[-1]) is type(other)
