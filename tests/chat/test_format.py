from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.event import Ack, Joined, Left, Message, Presence, Refusal, User, Welcome, Whisper
from chat.format import LINES, plain_line, plain_text

DATE = datetime(2026, 1, 2, 15, 4, 5, 678000, tzinfo=UTC)
STAMP = "2026-01-02 - 15:04:05 (+0000) > "


def test_a_line_has_date_user_and_text():
    assert plain_line(DATE, "ada", "hello") == STAMP + "ada: hello"


def test_the_system_has_no_name_in_its_lines():
    assert plain_line(DATE, "", "hello") == STAMP + "hello"


def test_the_date_is_that_of_its_zone():
    date = DATE.astimezone(timezone(timedelta(hours=-3, minutes=-30)))

    assert plain_line(date, "", "x") == "2026-01-02 - 11:34:05 (-0330) > x"


@pytest.mark.parametrize("breaks", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_no_line_break_begins_a_line_that_looks_like_somebody_elses(breaks):
    forged = f"hi{breaks}{STAMP}bob: I quit"

    lines = plain_line(DATE, "ada", forged).splitlines()

    assert lines == [STAMP + "ada: hi", "    " + STAMP + "bob: I quit"]


def test_empty_lines_inside_a_text_stay():
    assert plain_line(DATE, "ada", "a\n\nb") == STAMP + "ada: a\n    \n    b"


def test_a_text_may_be_empty():
    assert plain_line(DATE, "ada", "") == STAMP + "ada: "


@pytest.mark.parametrize(
    "event",
    [Message("ada", "hello", DATE, "id", 7), Whisper("ada", "bob", "hello", DATE, "id")],
    ids=["message", "whisper"],
)
def test_what_is_said_is_a_line(event):
    assert plain_text(event) == STAMP + "ada: hello"


@pytest.mark.parametrize("text", ["<ada> hello", "two\nlines", ""])
@pytest.mark.parametrize(
    "event",
    [
        Message("ada", "?", DATE),
        Whisper("ada", "bob", "?", DATE),
        Joined(User("ada"), DATE),
        Left("ada", DATE),
        Presence((), (), 0, DATE),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_an_encoder_made_is_sent_as_it_is(event, text):
    event.text, event.rendered = text, True

    assert plain_text(event) == text


@pytest.mark.parametrize(
    "event",
    [Joined(User("ada"), DATE, "it happened"), Left("ada", DATE, "it happened"), Presence((), (), 5, DATE, "it happened")],
    ids=lambda event: type(event).__name__,
)
def test_a_notice_is_a_line_of_the_system(event):
    assert plain_text(event) == STAMP + "it happened"


@pytest.mark.parametrize(
    "event",
    [
        Joined(User("ada"), DATE),
        Left("ada", DATE),
        Presence((), (), 5, DATE),
        Welcome(User("ada"), (User("ada"),), 1, "e1", 0, recovered=False),
        Ack("id", 3),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_plain_client_sees_nothing_of_it(event):
    assert plain_text(event) == ""
    assert LINES.encode([event]) == b""


def test_a_refusal_is_told_in_words():
    assert plain_text(Refusal("id", "bad_text", "the text is bad", False, DATE)) == STAMP + "Not sent: the text is bad"


def test_a_batch_can_be_taken_apart_again():
    events = [Message("ada", "one\ntwo", DATE), Ack("id", 1), Message("bob", "🦊", DATE)]

    assert LINES.split(LINES.encode(events)) == [STAMP + "ada: one\n    two", STAMP + "bob: 🦊"]


def test_two_batches_are_one_behind_the_other():
    first, second = [Message("ada", "one", DATE)], [Message("bob", "two", DATE), Message("bob", "three", DATE)]

    assert LINES.encode(first) + LINES.encode(second) == LINES.encode(first + second)


def test_an_empty_batch_is_no_bytes():
    assert LINES.encode([]) == b""
    assert LINES.split(b"") == []


def test_a_probe_is_one_empty_text_wherever_it_stands():
    assert LINES.split(LINES.probe) == [""]
    assert LINES.split(LINES.join(["a"]) + LINES.probe + LINES.join(["b"])) == ["a", "", "b"]


@given(st.lists(st.sampled_from(["\n", "\r", "\u2028", "\x85", "\x0b", "2026-01-02 - 15:04:05 (+0000) > eve: ", "a", " "])))
def test_no_text_makes_a_line_of_its_own(parts: list[str]) -> None:
    first, *others = plain_line(DATE, "ann", "".join(parts)).splitlines()

    assert first.startswith(STAMP + "ann: ")
    assert all(line.startswith("    ") for line in others)
