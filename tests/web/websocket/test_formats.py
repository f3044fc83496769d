"""How events look on a WebSocket."""

import gc
import json
from datetime import UTC, datetime

import pytest

from chat.event import Ack, Event, Joined, Left, Message, Presence, Refusal, User, Welcome, Whisper
from chat.format import plain_text
from chat.frames import Limits
from tests.web.fakes import TEXT, Frame, Frames
from web.websocket.deflate import WORTHWHILE
from web.websocket.formats import DEFLATED_PLAIN, PLAIN, FramedFormat, V1Format, V1Formats

DATE = datetime(2026, 1, 2, 15, 4, 5, 678000, tzinfo=UTC)
STAMP = "2026-01-02 - 15:04:05 (+0000)"

EVENTS: list[tuple[Event, str]] = [
    (Message("ann", "hi", DATE, "1", 7), f"{STAMP} > ann: hi"),
    (Message("", "hi", DATE), f"{STAMP} > hi"),
    (Message("ann", "<b>hi</b>", DATE, rendered=True), "<b>hi</b>"),
    (Message("ann", "a\nb", DATE), f"{STAMP} > ann: a\n    b"),
    (Message("ann", "\U0001f600" * 20, DATE), f"{STAMP} > ann: {chr(0x1F600) * 20}"),
    (Message("ann", "x" * 70_000, DATE), f"{STAMP} > ann: {'x' * 70_000}"),
    (Whisper("ann", "bob", "psst", DATE), f"{STAMP} > ann: psst"),
    (Joined(User("ann"), DATE, "ann entered!"), f"{STAMP} > ann entered!"),
    (Left("ann", DATE, "ann exited"), f"{STAMP} > ann exited"),
    (Presence((User("ann"),), (), 200, DATE, "1 entered"), f"{STAMP} > 1 entered"),
    (Refusal("1", "forbidden", "no", False, DATE), f"{STAMP} > Not sent: no"),
]
HIDDEN: list[Event] = [
    Joined(User("ann"), DATE),
    Left("ann", DATE),
    Ack("1", 7),
    Welcome(User("ann"), (User("ann"),), 1, "e", 7, False),
    Message("ann", "", DATE, rendered=True),
]


@pytest.fixture
def formats() -> V1Formats:
    return V1Formats(Limits(4096, 10.0), 25.0)


def frames(form: FramedFormat, *events: Event) -> list[Frame]:
    return list(Frames().cut(form.encode(events)))


@pytest.mark.parametrize(("event", "line"), EVENTS, ids=lambda given: type(given).__name__)
def test_a_plain_client_gets_a_line_in_one_text_frame(event: Event, line: str) -> None:
    assert frames(PLAIN, event) == [Frame(TEXT, line.encode())]
    assert plain_text(event) == line


def test_what_one_reader_has_missed_is_not_compressed_for_it(formats: V1Formats) -> None:
    missed = [Message("ann", "again " * WORTHWHILE, DATE, "1", number) for number in range(3)]

    for form, packed in ((PLAIN, DEFLATED_PLAIN), (formats.of("lobby"), formats.of("lobby", deflated=True))):
        assert packed.encode_for_one(missed) == form.encode_for_one(missed) == form.encode(missed)
        assert packed.encode(missed) != form.encode(missed)


@pytest.mark.parametrize("event", HIDDEN, ids=lambda event: type(event).__name__)
def test_a_plain_client_gets_nothing_of_what_has_no_line(event: Event) -> None:
    assert PLAIN.encode([event]) == b""


def test_nothing_is_nothing(formats: V1Formats) -> None:
    assert PLAIN.encode([]) == formats.of("lobby").encode([]) == b""


def test_two_batches_one_behind_the_other_are_one_batch(formats: V1Formats) -> None:
    events = [event for event, _ in EVENTS] + HIDDEN

    for form in (PLAIN, formats.of("lobby")):
        assert form.encode(events[:5]) + form.encode(events[5:]) == form.encode(events)


def test_what_is_compressed_tells_by_its_size_nothing_of_what_stands_beside_it(formats: V1Formats) -> None:
    events = [event for event, _ in EVENTS] * 2

    for form in (DEFLATED_PLAIN, formats.of("lobby", deflated=True)):
        assert form.encode(events) == b"".join(form.encode([event]) for event in events)


@pytest.mark.parametrize("event", [event for event, _ in EVENTS] + HIDDEN, ids=lambda event: type(event).__name__)
def test_chat_v1_gets_a_json_object_of_its_channel_in_one_text_frame(formats: V1Formats, event: Event) -> None:
    [frame] = frames(formats.of("lobby"), event)

    assert frame.opcode == TEXT
    said = json.loads(frame.payload)
    assert said["channel"] == "lobby"
    assert said["type"] in {"message", "whisper", "joined", "left", "presence", "error", "ack", "welcome"}


def test_the_welcome_tells_the_limits_and_the_time_between_pings(formats: V1Formats) -> None:
    [frame] = frames(formats.of("lobby"), Welcome(User("ann"), (User("ann"),), 1, "e", 7, False))

    said = json.loads(frame.payload)
    assert (said["limits"], said["ping"]) == ({"message": 4096, "rate": 10.0, "channels": 100, "history": 200}, 25.0)


def test_members_of_one_channel_share_a_format_and_those_of_another_do_not(formats: V1Formats) -> None:
    lobby, attic = formats.of("lobby"), formats.of("attic")

    assert formats.of("lobby") is lobby
    assert attic is not lobby


def test_members_whose_sockets_are_compressed_share_another(formats: V1Formats) -> None:
    plain, deflated = formats.of("lobby"), formats.of("lobby", deflated=True)

    assert deflated is not plain
    assert formats.of("lobby", deflated=True) is deflated
    assert formats.of("lobby") is plain


def test_compressed_or_not_it_says_the_same_and_short_things_are_not(formats: V1Formats) -> None:
    events = [event for event, _ in EVENTS] + HIDDEN

    for plain, deflated in ((PLAIN, DEFLATED_PLAIN), (formats.of("lobby"), formats.of("lobby", deflated=True))):
        expected, found = frames(plain, *events), frames(deflated, *events)
        assert [frame.payload for frame in found] == [frame.payload for frame in expected]
        assert [len(frame.payload) for frame in found if frame.deflated] == [
            size for frame in expected if (size := len(frame.payload)) >= WORTHWHILE
        ]
        assert any(frame.deflated for frame in found)
        assert not any(frame.deflated for frame in expected)


def test_a_format_that_nobody_has_is_forgotten(formats: V1Formats) -> None:
    def made() -> list[object]:
        gc.collect()
        return [found for found in gc.get_objects() if isinstance(found, V1Format)]

    before = len(made())
    kept = formats.of("lobby")
    for number in range(100):
        formats.of(f"room {number}")

    assert len(made()) == before + 1
    assert formats.of("lobby") is kept
