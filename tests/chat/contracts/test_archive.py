"""What every `Archive` must do.  A new backend adds a parameter to `archive`."""

from datetime import UTC, datetime

import pytest

from chat.archive import Archive
from chat.archive.memory import MemoryArchive
from chat.event import Message
from tests.chat.steps import never_yields

DATE = datetime(2026, 1, 2, 15, 4, 5, 123000, tzinfo=UTC)
NEVER_YIELDS = ["memory"]


@pytest.fixture(params=["memory"])
def backend(request) -> str:
    return request.param


@pytest.fixture
def archive(backend) -> Archive:
    return {"memory": MemoryArchive}[backend]()


def said(*offsets: int, text: str = "hello") -> list[Message]:
    return [Message("ada", f"{text} {offset}", DATE, id=f"id-{offset}", offset=offset) for offset in offsets]


def test_an_empty_archive_has_nothing(archive):
    assert archive.read("lobby", "e1", 0, 10) == []
    assert archive.last("lobby", "e1") == 0


def test_what_was_appended_can_be_read(archive):
    archive.append("lobby", "e1", said(1, 2, 3))

    assert archive.read("lobby", "e1", 0, 10) == said(1, 2, 3)
    assert archive.last("lobby", "e1") == 3


def test_every_field_lasts(archive):
    event = Message("Ådä", "zwei\nZeilen 🦊 'quoted'", DATE, id="~!id", offset=1, rendered=True)
    archive.append("lobby", "e1", [event])

    assert archive.read("lobby", "e1", 0, 1) == [event]


def test_the_system_can_have_said_it(archive):
    event = Message("", "", DATE, offset=1)
    archive.append("lobby", "e1", [event])

    assert archive.read("lobby", "e1", 0, 1) == [event]


def test_batches_follow_each_other(archive):
    archive.append("lobby", "e1", said(1, 2))
    archive.append("lobby", "e1", said(3))

    assert archive.read("lobby", "e1", 0, 10) == said(1, 2, 3)


def test_reading_begins_past_the_offset(archive):
    archive.append("lobby", "e1", said(1, 2, 3, 4))

    assert archive.read("lobby", "e1", 2, 10) == said(3, 4)
    assert archive.read("lobby", "e1", 4, 10) == []
    assert archive.read("lobby", "e1", 99, 10) == []


def test_the_first_ones_are_read_up_to_the_limit(archive):
    archive.append("lobby", "e1", said(1, 2, 3, 4))

    assert archive.read("lobby", "e1", 1, 2) == said(2, 3)


def test_a_log_that_begins_late_is_read_from_its_first_event(archive):
    archive.append("lobby", "e1", said(2000, 2001))

    assert archive.read("lobby", "e1", 1999, 10) == said(2000, 2001)
    assert archive.last("lobby", "e1") == 2001


def test_channels_and_epochs_are_logs_of_their_own(archive):
    archive.append("lobby", "e1", said(1, text="old"))
    archive.append("lobby", "e2", said(1, 2, text="new"))
    archive.append("attic", "e1", said(1, text="else"))

    assert archive.read("lobby", "e1", 0, 10) == said(1, text="old")
    assert archive.read("lobby", "e2", 0, 10) == said(1, 2, text="new")
    assert archive.read("attic", "e1", 0, 10) == said(1, text="else")
    assert archive.last("lobby", "e1") == 1


def test_what_is_said_twice_is_kept_once(archive):
    archive.append("lobby", "e1", said(1, 2))
    archive.append("lobby", "e1", said(1, 2))
    archive.append("lobby", "e1", said(2, 3))

    assert archive.read("lobby", "e1", 0, 10) == said(1, 2, 3)


def test_an_empty_batch_changes_nothing(archive):
    archive.append("lobby", "e1", [])

    assert archive.last("lobby", "e1") == 0


def test_a_large_batch_is_kept_whole(archive):
    archive.append("lobby", "e1", said(*range(1, 1001)))

    assert archive.last("lobby", "e1") == 1000
    assert [event.offset for event in archive.read("lobby", "e1", 0, 5000)] == list(range(1, 1001))


@pytest.mark.parametrize("backend", NEVER_YIELDS, indirect=True)
def test_it_never_yields_where_it_says_so(archive):
    with never_yields():
        archive.append("lobby", "e1", said(1))
        archive.read("lobby", "e1", 0, 10)
        archive.last("lobby", "e1")
