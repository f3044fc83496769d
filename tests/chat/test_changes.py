"""Who may change what, and until when."""

from datetime import UTC, datetime, timedelta

import pytest

from chat.changes import objection
from chat.event import Deleted, Edited, Past
from chat.member import EVERYBODY

THEN = datetime(2026, 1, 2, tzinfo=UTC)
ADAS = Past(7, "ada", "hello", THEN)
MODERATOR = EVERYBODY | {"moderate"}


def edit(sender: str = "ada", after: float = 0.0) -> Edited:
    return Edited(7, sender, "hi", THEN + timedelta(seconds=after))


def delete(sender: str = "ada", after: float = 0.0) -> Deleted:
    return Deleted(7, sender, THEN + timedelta(seconds=after))


@pytest.mark.parametrize(
    ("event", "past", "rights", "code"),
    [
        (edit(), ADAS, EVERYBODY, None),
        (delete(), ADAS, EVERYBODY, None),
        (edit(), None, MODERATOR, "no_such_message"),
        (delete(), None, None, "no_such_message"),
        (edit("bob"), ADAS, EVERYBODY, "not_your_message"),
        (delete("bob"), ADAS, EVERYBODY, "not_your_message"),
        (edit("bob"), ADAS, MODERATOR, None),
        (delete("bob"), ADAS, frozenset({"moderate"}), None),
        (edit(), ADAS, EVERYBODY - {"edit"}, "forbidden"),
        (edit(), ADAS, EVERYBODY - {"delete"}, None),
        (delete(), ADAS, EVERYBODY - {"delete"}, "forbidden"),
        (delete(), ADAS, EVERYBODY - {"edit"}, None),
        (edit(""), ADAS, None, None),
        (edit("", after=1e6), ADAS, None, None),
        (edit(after=60), ADAS, EVERYBODY, None),
        (edit(after=61), ADAS, EVERYBODY, "too_late"),
        (delete(after=61), ADAS, EVERYBODY, "too_late"),
        (delete(after=61), ADAS, MODERATOR, None),
    ],
)
def test_only_authors_in_time_and_moderators_may_change_a_message(event, past, rights, code):
    error = objection(event, past, rights, 60.0)

    assert (error and error.code) == code


@pytest.mark.parametrize("rights", [EVERYBODY, MODERATOR, None])
def test_nobody_may_change_what_was_deleted(rights):
    gone = Past(7, "ada", "", THEN, deleted=THEN)

    for event in (edit(), delete()):
        error = objection(event, gone, rights, 60.0)
        assert error is not None
        assert error.code == "message_deleted"


def test_a_window_of_0_is_no_limit():
    assert objection(edit(after=1e9), ADAS, EVERYBODY, 0.0) is None


def test_that_it_was_edited_before_does_not_lengthen_the_window():
    edited = Past(7, "ada", "hi", THEN, edited=THEN + timedelta(seconds=59))
    error = objection(edit(after=61), edited, EVERYBODY, 60.0)

    assert error is not None
    assert error.code == "too_late"
