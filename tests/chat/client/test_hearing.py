"""What the server writes, the client reads: each event there and back again."""

import json
from datetime import UTC, datetime

import pytest

from chat import frames
from chat.client.hearing import Greeting, Heard, hear
from chat.event import (
    Ack,
    Closed,
    Deleted,
    Edited,
    Event,
    IsTyping,
    Joined,
    Left,
    Message,
    Page,
    Past,
    Presence,
    Refusal,
    User,
    Welcome,
    Whisper,
)
from chat.wire import Dialect, ping

NOON = datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)
ANN = User("ann", "Ann Example")
LIMITS = frames.Limits(4096, 10.0)
WELCOME = Welcome(ANN, (ANN, User("bob")), 2, "e", 7, True)
EVENTS: list[Event] = [
    Message("ann", 'hello\n"you" 👩\u200d🚀', NOON, "k", 1),
    Message("", "by the system", NOON, "", 2),
    Edited(1, "ann", "new", NOON, "k", 3),
    Deleted(1, "ann", NOON, "k", 4),
    Whisper("ann", "bob", "psst", NOON, "k"),
    Joined(ANN, NOON),
    Left("ann", NOON),
    Presence((ANN,), ("bob",), 300, NOON),
    IsTyping(ANN),
    Ack("k", 5),
    Ack("k"),
    Page("k", (Past(1, "ann", "", NOON, "k", edited=NOON, deleted=NOON), Past(2, "", "b", NOON)), True),
    Refusal("k", "forbidden", "not here", False, NOON),
    Closed(4503, "removed"),
]
DIALECT = Dialect("lobby", LIMITS, 25.0)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert hear(DIALECT.encode(event), lambda: NOON) == Heard("lobby", event)


def test_a_welcome_brings_what_the_client_may_do() -> None:
    assert hear(DIALECT.encode(WELCOME), lambda: NOON) == Heard("lobby", Greeting(WELCOME, 25.0, LIMITS))


def test_a_ping_is_about_no_channel() -> None:
    assert hear(ping(), lambda: NOON) == Heard("", frames.Ping())


def test_what_a_newer_server_adds_is_passed_over() -> None:
    frame = {**json.loads(DIALECT.encode(EVENTS[0])), "mood": "merry"}

    assert hear(json.dumps(frame).encode(), lambda: NOON) == Heard("lobby", EVENTS[0])
    assert hear(b'{"type":"fanfare"}', lambda: NOON) is None


DEEP = b'{"type":"ack","x":' + b"[" * 100_000
BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"type":1}',
    b'{"type":"ack"}',
    b"[" * 5000,
    DEEP,
    DEEP.replace(b"ack", b"x"),
    b"\xff",
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_what_is_broken_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        hear(text, lambda: NOON)


def test_a_date_that_is_none_is_a_value_error() -> None:
    frame = {**json.loads(DIALECT.encode(EVENTS[0])), "date": "soon"}

    with pytest.raises(ValueError, match="soon"):
        hear(json.dumps(frame).encode(), lambda: NOON)
