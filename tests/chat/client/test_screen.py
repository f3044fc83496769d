"""What a terminal shows."""

from datetime import UTC, datetime
from io import StringIO

import pytest

from chat.client import (
    Deleted,
    Edited,
    Event,
    IsTyping,
    Joined,
    Left,
    Lost,
    Message,
    Past,
    Position,
    Presence,
    User,
    Whisper,
)
from chat.client.screen import Screen, safe, safe_lines

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(event: Event, **given: bool) -> str:
    out = StringIO()
    screen = Screen(out, **given)
    screen.me = "ann"
    screen.show(event)
    return out.getvalue()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Message("ann", "hello", NOON), "12:00 ann: hello\n"),
        (Message("", "a new version", NOON), "12:00 a new version\n"),
        (Message("ann", "one\n12:00 bob: two", NOON), "12:00 ann: one\n    12:00 bob: two\n"),
        (Edited(1, "ann", "new", NOON), "12:00 ann: (edited) new\n"),
        (Deleted(1, "ann", NOON), "12:00 ann has deleted a message\n"),
        (Whisper("bob", "ann", "psst", NOON), "12:00 bob -> ann: psst\n"),
        (Joined(User("bob"), NOON), "-- bob is here\n"),
        (Joined(User("ann"), NOON), ""),
        (Left("bob", NOON), "-- bob has gone\n"),
        (Presence((User("a"), User("b")), ("c",), 9, NOON), "-- 2 have come, 1 have gone\n"),
        (IsTyping(User("bob")), ""),
        (Lost(Position("e", 1)), "-- some messages may be missing here; /history shows the last ones\n"),
    ],
)
def test_an_event_is_a_line(event: Event, line: str) -> None:
    assert shown(event) == line


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x9b2J", "\r", "\x07", "\x08", "\u202e", "\u2028", "\x00", "\x7f", "\x85", "\ud800"]
)
def test_nothing_that_a_terminal_obeys_gets_through(evil: str) -> None:
    events = [
        Message(f"a{evil}b", f"c{evil}d", NOON),
        Whisper(f"a{evil}b", f"a{evil}b", evil, NOON),
        Edited(1, "x", evil, NOON),
        Joined(User(evil), NOON),
        Left(f"{evil}!", NOON),
    ]

    for event in events:
        line = shown(event)
        assert evil not in line
        assert all(char.isprintable() or char == "\n" for char in line), line


def test_joined_letters_and_emoji_stay_whole() -> None:
    assert safe("می\u200cخواهم 👩\u200d🚀") == "می\u200cخواهم 👩\u200d🚀"
    assert safe_lines("a\tb") == "a b"


def test_colours_are_for_names_and_notices() -> None:
    assert shown(Left("bob", NOON), colours=True) == "\x1b[2m-- bob has gone\x1b[0m\n"
    line = shown(Message("bob", "hello", NOON), colours=True)
    assert line.startswith("12:00 \x1b[3")
    assert line.endswith("mbob\x1b[0m: hello\n")


def test_history_shows_what_became_of_a_message() -> None:
    out = StringIO()
    Screen(out).show_past(
        [Past(1, "ann", "a", NOON), Past(2, "bob", "b", NOON, edited=NOON), Past(3, "ann", "", NOON, deleted=NOON)]
    )

    assert out.getvalue() == "12:00 ann: a\n12:00 bob: (edited) b\n12:00 ann had said what is deleted now\n"
