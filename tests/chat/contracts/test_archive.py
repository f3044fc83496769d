"""What every `Archive` must do.  A new backend adds a parameter to `archive`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from chat.archive import Archive, Id, MemoryArchive, Unread
from chat.archive.sql import SqlArchive
from chat.errors import BrokerUnavailable
from chat.event import Deleted, Edited, Logged, Message, Past
from tests.chat.steps import never_yields

DATE = datetime(2026, 1, 2, 15, 4, 5, 123000, tzinfo=UTC)
AGES_AGO = DATE - timedelta(days=365)
NEVER_YIELDS = ["memory"]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def backend(request) -> str:
    return request.param


@pytest.fixture
def database_url(backend, tmp_path, request) -> str:
    return f"sqlite:///{tmp_path}/chat.db" if backend == "sqlite" else request.getfixturevalue("postgres").url


@pytest.fixture
def archive(backend, clock, request) -> Iterator[Archive]:
    archive = MemoryArchive(clock) if backend == "memory" else SqlArchive(request.getfixturevalue("database"), clock)
    yield archive
    archive.close()


def at(seconds: float) -> datetime:
    return DATE + timedelta(seconds=seconds)


def said(*offsets: int, text: str = "hello", sender: str = "ada") -> list[Logged]:
    return [Message(sender, f"{text} {offset}", at(offset), id=f"id-{offset}", offset=offset) for offset in offsets]


def say(text: str, offset: int, sender: str = "ada") -> Message:
    return Message(sender, text, at(offset), id=f"id-{offset}", offset=offset)


def edit(target: int, text: str, offset: int, *, rendered: bool = False) -> Edited:
    return Edited(target, "ada", text, at(offset), id=f"id-{offset}", offset=offset, rendered=rendered)


def delete(target: int, offset: int) -> Deleted:
    return Deleted(target, "ada", at(offset), id=f"id-{offset}", offset=offset)


def past(offset: int, text: str, **more: object) -> Past:
    return Past(offset, "ada", text, at(offset), f"id-{offset}", **more)


def everything(archive: Archive, log: str = "lobby") -> list[Logged]:
    return archive.read(log, 0, 10_000)


def page(archive: Archive, before: int | None = None, after: int | None = None, limit: int = 3) -> tuple[list[int], bool]:
    found, more = archive.history("lobby", before=before, after=after, limit=limit)
    return [message.offset for message in found], more


# What was appended


def test_an_empty_archive_has_nothing(archive):
    assert everything(archive) == []
    assert archive.tail("lobby", 10, AGES_AGO) == []
    assert archive.ids("lobby", AGES_AGO, 10) == []
    assert archive.last("lobby") == 0
    assert archive.find("lobby", 1) is None
    assert page(archive) == ([], False)
    assert archive.unread("ada", ["lobby"]) == {"lobby": Unread(0, 0)}


def test_what_is_not_kept_at_once_can_be_appended(archive):
    with never_yields():
        is_kept = archive.append_at_once("lobby", said(1, 2))
    if not is_kept:
        archive.append("lobby", said(1, 2))

    assert everything(archive) == said(1, 2)
    archive.append("lobby", said(1, 2, 3))
    assert everything(archive) == said(1, 2, 3)


def test_an_offset_that_is_taken_is_not_taken_at_once_either(archive):
    archive.append("lobby", said(1))

    assert not archive.append_at_once("lobby", [say("another", 1, "bob")])
    assert everything(archive) == said(1)


def test_what_was_appended_can_be_read(archive):
    archive.append("lobby", said(1, 2, 3))

    assert everything(archive) == said(1, 2, 3)
    assert archive.last("lobby") == 3


def test_every_field_lasts(archive):
    date = datetime(2026, 1, 2, 15, 4, 5, 123456, tzinfo=UTC)
    events = [
        Message("Ådä", "zwei\nZeilen 🦊 'quoted'", date, id="~!id", offset=1, rendered=True),
        Edited(1, "Ådä", "drei", date, id="~!id2", offset=2, rendered=True),
        Message("", "", date, offset=3),
        Deleted(3, "bob", date, id="~!id3", offset=4),
    ]
    archive.append("lobby", events)

    assert everything(archive) == events


def test_a_date_comes_back_in_utc_whatever_it_was_given_in(archive):
    archive.append("lobby", [Message("ada", "hello", DATE.astimezone(), offset=1)])

    (event,) = everything(archive)
    assert (event.date, event.date.utcoffset()) == (DATE, timedelta(0))


def test_what_was_appended_is_beyond_the_reach_of_whoever_gave_it(archive):
    event = say("hello", 1)
    archive.append("lobby", [event])
    event.text, event.offset = "changed", 7

    assert everything(archive) == [say("hello", 1)]


def test_batches_follow_each_other(archive):
    archive.append("lobby", said(1, 2))
    archive.append("lobby", said(3))

    assert everything(archive) == said(1, 2, 3)


def test_reading_begins_past_the_offset(archive):
    archive.append("lobby", said(1, 2, 3, 4))

    assert archive.read("lobby", 2, 10) == said(3, 4)
    assert archive.read("lobby", 4, 10) == []
    assert archive.read("lobby", 1 << 60, 10) == []


def test_the_first_ones_are_read_up_to_the_limit(archive):
    archive.append("lobby", said(1, 2, 3, 4))

    assert archive.read("lobby", 1, 2) == said(2, 3)


def test_a_log_that_begins_late_is_read_from_its_first_event(archive):
    archive.append("lobby", said(2000, 2001))

    assert archive.read("lobby", 0, 10) == said(2000, 2001)
    assert archive.last("lobby") == 2001


def test_logs_are_kept_apart(archive):
    archive.append("lobby", [*said(1, text="here"), delete(1, 2)])
    archive.append("attic", said(1, text="there"))

    assert everything(archive, "attic") == said(1, text="there")
    assert (archive.last("lobby"), archive.last("attic")) == (2, 1)


def test_what_is_said_twice_is_kept_once(archive):
    archive.append("lobby", said(1, 2))
    archive.append("lobby", said(1, 2))
    archive.append("lobby", said(2, 3))

    assert everything(archive) == said(1, 2, 3)


def test_what_comes_late_is_kept_in_its_place(archive):
    archive.append("lobby", said(1, 10))
    archive.append("lobby", [*said(2), edit(1, "new", 3)])

    assert everything(archive) == [*said(1, 2), edit(1, "new", 3), *said(10)]
    assert page(archive) == ([1, 2, 10], False)
    assert archive.find("lobby", 1).text == "new"
    assert archive.last("lobby") == 10


def test_an_offset_that_another_event_holds_is_told_and_nothing_of_the_batch_is_kept(archive):
    archive.append("lobby", said(1, 2))
    others = [say("hello 2", 2, sender="bob"), edit(1, "hello 2", 2), Message("ada", "hello 2", at(2.001), "id-2", 2)]

    for other in [*others, say("hello 2", 2)]:
        other.id = "another" if other in said(2) else other.id
        with pytest.raises(BrokerUnavailable):
            archive.append("lobby", [other, *said(3)])

    assert everything(archive) == said(1, 2)


def test_an_empty_batch_changes_nothing(archive):
    archive.append("lobby", [])

    assert archive.last("lobby") == 0


def test_a_large_batch_is_kept_whole(archive):
    archive.append("lobby", said(*range(1, 1001)))

    assert archive.last("lobby") == 1000
    assert [event.offset for event in everything(archive)] == list(range(1, 1001))


def test_the_tail_is_what_was_said_last(archive):
    archive.append("lobby", said(1, 2, 3, 4))

    assert archive.tail("lobby", 2, AGES_AGO) == said(3, 4)
    assert archive.tail("lobby", 10, AGES_AGO) == said(1, 2, 3, 4)


def test_the_tail_leaves_out_what_is_too_old_but_has_no_holes_when_the_clock_was_set_back(archive):
    events = [Message("ada", "", at(second), offset=offset) for offset, second in enumerate((10, 20, 30, 15, 25), 1)]
    archive.append("lobby", events)

    assert archive.tail("lobby", 10, at(20)) == events[1:]
    assert archive.tail("lobby", 2, at(20)) == events[4:]
    assert archive.tail("lobby", 10, at(31)) == []


def test_the_ids_of_what_was_said_lately_are_known(archive):
    archive.append("lobby", [*said(1, 2), Message("", "no id", at(3), offset=3), edit(2, "x", 4), delete(2, 5)])

    assert archive.ids("lobby", at(2), 10) == [Id("ada", f"id-{offset}", offset, at(offset)) for offset in (2, 4, 5)]
    assert [found.offset for found in archive.ids("lobby", AGES_AGO, 3)] == [2, 4, 5]
    assert archive.ids("lobby", at(6), 10) == []


# Messages as they are now


def test_a_message_can_be_found(archive):
    archive.append("lobby", said(1, 2))

    assert archive.find("lobby", 2) == past(2, "hello 2")


def test_nothing_is_found_where_there_is_no_message(archive):
    archive.append("lobby", [*said(1), edit(1, "other", 2), delete(1, 3)])

    assert [archive.find("lobby", offset) for offset in (-1, 0, 2, 3, 4)] == [None] * 5


def test_an_edit_changes_the_message_and_stays_in_the_log(archive):
    events = [*said(1), edit(1, "new", 2), edit(1, "newest", 3, rendered=True)]
    archive.append("lobby", events)

    assert archive.find("lobby", 1) == past(1, "newest", edited=at(3), rendered=True)
    assert everything(archive) == events


def test_an_edit_that_is_said_again_does_not_undo_a_later_one(archive):
    archive.append("lobby", [*said(1), edit(1, "new", 2), edit(1, "newest", 3)])
    archive.append("lobby", [edit(1, "new", 2)])

    assert archive.find("lobby", 1).text == "newest"


def test_a_delete_erases_all_that_the_message_ever_said(archive):
    archive.append("lobby", [*said(1, 2), edit(1, "secret", 3), edit(2, "kept", 4)])
    archive.append("lobby", [delete(1, 5)])

    assert archive.find("lobby", 1) == past(1, "", edited=at(3), deleted=at(5))
    assert [event.text for event in archive.read("lobby", 0, 4)] == ["", "hello 2", "", "kept"]
    assert archive.read("lobby", 4, 1) == [delete(1, 5)]


def test_what_is_said_again_after_its_delete_stays_erased(archive):
    events = [say("for @bob", 1), edit(1, "secret, @bob", 2)]
    archive.append("lobby", [*events, delete(1, 3)])
    archive.append("lobby", events)
    archive.append("lobby", [delete(1, 4)])

    assert [event.text for event in archive.read("lobby", 0, 2)] == ["", ""]
    assert archive.find("lobby", 1) == past(1, "", edited=at(2), deleted=at(3))
    assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(0, 0)}


def test_an_edit_of_what_was_deleted_changes_nothing_and_its_text_is_not_kept(archive):
    archive.append("lobby", [*said(1), delete(1, 2), edit(1, "secret", 3)])

    assert archive.find("lobby", 1) == past(1, "", deleted=at(2))
    assert everything(archive)[2] == edit(1, "", 3)


@pytest.mark.parametrize("target", [0, 2, 3, 99])
def test_an_edit_or_delete_of_what_is_no_message_changes_nothing(archive, target):
    archive.append("lobby", [*said(1), edit(1, "new", 2)])
    archive.append("lobby", [edit(target, "for @bob", 3)])
    assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(0, 0)}
    archive.append("lobby", [delete(target, 4)])

    assert archive.find("lobby", 1) == past(1, "new", edited=at(2))
    assert [event.offset for event in everything(archive)] == [1, 2, 3, 4]


def test_an_edit_or_delete_of_what_comes_only_later_changes_nothing(archive):
    events = [edit(3, "x", 1), delete(3, 2), *said(3), edit(5, "y", 4), delete(5, 5)]
    archive.append("lobby", events)

    assert archive.find("lobby", 3) == past(3, "hello 3")
    assert everything(archive) == events


def test_history_is_told_from_its_end_the_oldest_first(archive):
    archive.append("lobby", said(1, 2, 3, 4))

    assert page(archive) == ([2, 3, 4], True)
    assert page(archive, limit=4) == ([1, 2, 3, 4], False)


def test_history_goes_back_page_by_page(archive):
    archive.append("lobby", said(*range(1, 8)))

    assert page(archive, before=8) == ([5, 6, 7], True)
    assert page(archive, before=5) == ([2, 3, 4], True)
    assert page(archive, before=2) == ([1], False)
    assert page(archive, before=1) == ([], False)


def test_history_goes_on_page_by_page(archive):
    archive.append("lobby", said(*range(1, 8)))

    assert page(archive, after=0) == ([1, 2, 3], True)
    assert page(archive, after=3) == ([4, 5, 6], True)
    assert page(archive, after=6) == ([7], False)
    assert page(archive, after=1 << 60) == ([], False)


def test_history_has_messages_as_they_are_now_and_counts_nothing_else(archive):
    archive.append("lobby", [*said(1, 2, 3), edit(1, "new", 4), delete(2, 5), *said(6)])

    found, more = archive.history("lobby", before=None, after=None, limit=4)

    assert found == [past(1, "new", edited=at(4)), past(2, "", deleted=at(5)), past(3, "hello 3"), past(6, "hello 6")]
    assert more is False


# What waits for a user


def test_without_a_mark_nothing_is_unread(archive):
    archive.append("lobby", said(1, 2))

    assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(0, 0)}


def test_messages_of_others_past_the_mark_are_unread(archive):
    archive.append("lobby", [*said(1, 2, 3), *said(4, sender="bob"), edit(3, "new", 5), *said(6), delete(6, 7)])
    archive.mark("lobby", "bob", 1)
    archive.mark("attic", "bob", 0)

    assert archive.unread("bob", ["lobby", "attic"]) == {"lobby": Unread(2, 0), "attic": Unread(0, 0)}


def test_a_mark_never_goes_back(archive):
    archive.append("lobby", said(1, 2, 3))
    archive.mark("lobby", "bob", 2)
    archive.flush()
    archive.mark("lobby", "bob", 1)

    assert archive.unread("bob", ["lobby"])["lobby"].unread == 1
    archive.flush()
    assert archive.unread("bob", ["lobby"])["lobby"].unread == 1


def test_a_mark_counts_at_once_and_for_its_user_and_log_alone(archive):
    for log in ("lobby", "attic"):
        archive.append(log, said(1, 2))
        archive.mark(log, "bob", 0)
        archive.mark(log, "cy", 0)
    archive.flush()
    archive.mark("lobby", "bob", 2)

    assert archive.unread("bob", ["lobby", "attic"]) == {"lobby": Unread(0, 0), "attic": Unread(2, 0)}
    assert archive.unread("cy", ["lobby"]) == {"lobby": Unread(2, 0)}


def test_who_is_mentioned_is_told_even_without_a_mark(archive):
    archive.append("lobby", [say("hello @Bob, and @cy", 1), say("@bob?", 2), say("@bob @bob!", 3)])

    assert archive.unread("bob", ["lobby"]) == archive.unread("BOB", ["lobby"]) == {"lobby": Unread(0, 3)}
    archive.mark("lobby", "bob", 2)
    assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(1, 1)}


def test_a_mention_counts_as_long_as_the_message_says_it_and_never_for_its_author(archive):
    events = [say("@bob", 1), edit(1, "@cy", 2), say("@bob", 3), delete(3, 4), say("hello", 5), edit(5, "@bob", 6)]
    archive.append("lobby", [*events, say("I, @ada, say this", 7)])

    found = {name: archive.unread(name, ["lobby"])["lobby"].mentions for name in ("ada", "bob", "cy")}
    assert found == {"ada": 0, "bob": 1, "cy": 1}


def test_counting_stops_at_100(archive):
    archive.append("lobby", [say("@bob", offset) for offset in range(1, 151)])
    archive.mark("lobby", "bob", 0)

    assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(100, 100)}


def test_any_number_of_logs_can_be_asked_about(archive):
    logs = [f"log {number}" for number in range(1200)]
    archive.append(logs[0], said(1))
    archive.append(logs[-1], said(1, 2))
    archive.mark(logs[0], "bob", 0)
    archive.mark(logs[-1], "bob", 0)

    found = archive.unread("bob", logs)

    assert list(found) == logs
    assert {log: unread for log, (unread, _) in found.items() if unread} == {logs[0]: 1, logs[-1]: 2}
    assert archive.unread("bob", []) == {}


# What does not last


def test_retention_by_count_keeps_the_last_ones_of_each_log(archive):
    archive.append("lobby", said(*range(1, 2501)))
    archive.append("attic", said(1, 2))
    archive.trim(0, 3)

    assert everything(archive) == said(2498, 2499, 2500)
    assert everything(archive, "attic") == said(1, 2)
    assert page(archive, before=2499) == ([2498], False)


def test_retention_by_age_keeps_what_is_younger(archive, clock):
    start = clock.now()
    dates = [start - timedelta(seconds=seconds) for seconds in (10, 5.001, 5, 0)]
    archive.append("lobby", [Message("ada", "", date, offset=offset) for offset, date in enumerate(dates, 1)])
    archive.trim(5, 0)

    assert [event.offset for event in everything(archive)] == [3, 4]


@pytest.mark.parametrize("again", [1, 2])
def test_when_everything_is_too_old_nothing_is_kept_but_the_count(archive, clock, again):
    archive.append("lobby", [Message("ada", "@bob", clock.now(), id=f"id-{n}", offset=n) for n in (1, 2, 3)])
    archive.mark("lobby", "bob", 0)
    clock.advance(5)
    for _ in range(again):
        archive.trim(4, 0)

    assert everything(archive) == archive.tail("lobby", 10, AGES_AGO) == archive.ids("lobby", AGES_AGO, 10) == []
    assert page(archive) == ([], False)
    assert archive.find("lobby", 3) is None
    assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(0, 0)}
    assert archive.last("lobby") == 3
    archive.append("lobby", [edit(3, "nothing", 4), *said(5)])
    assert archive.find("lobby", 3) is None
    assert page(archive) == ([5], False)
    assert archive.last("lobby") == 5


def test_of_the_last_one_that_is_too_old_to_be_kept_its_offset_is_still_its_own(archive, clock):
    (last,) = kept = [Message("ada", "old", clock.now(), id="old", offset=1)]
    archive.append("lobby", kept)
    clock.advance(5)
    archive.trim(4, 0)
    archive.append("lobby", kept)

    with pytest.raises(BrokerUnavailable):
        archive.append("lobby", [Message("bob", "new", clock.now(), id="new", offset=last.offset)])
    assert everything(archive) == []


def test_without_limits_everything_is_kept(archive, clock):
    archive.append("lobby", said(1, 2, 3))
    clock.advance(1e9)
    archive.trim(0, 0)

    assert everything(archive) == said(1, 2, 3)


def test_any_limit_can_be_set(archive):
    archive.append("lobby", said(1, 2, 3))
    archive.trim(1e300, 1 << 80)

    assert everything(archive) == said(1, 2, 3)


def test_an_edit_whose_message_is_no_longer_kept_changes_nothing(archive):
    archive.append("lobby", [*said(1), edit(1, "new", 2), *said(3)])
    archive.trim(0, 2)

    assert everything(archive) == [edit(1, "new", 2), *said(3)]
    assert page(archive) == ([3], False)
    assert archive.find("lobby", 1) is None


def test_a_delete_erases_edits_that_have_outlasted_their_message(archive):
    archive.append("lobby", [*said(1), edit(1, "secret, @bob", 2), *said(3)])
    archive.trim(0, 2)
    archive.append("lobby", [delete(1, 4)])

    assert [event.text for event in archive.read("lobby", 0, 2)] == ["", "hello 3"]
    assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(0, 0)}


def test_what_is_forgotten_is_gone_with_its_marks_and_can_begin_anew(archive):
    for log in ("lobby", "attic", "cellar"):
        archive.append(log, said(*range(1, 1502), text="for @cy"))
        archive.mark(log, "bob", 0)
    archive.flush()
    archive.mark("attic", "bob", 1)
    archive.forget(["lobby", "attic"])

    assert [archive.last(log) for log in ("lobby", "attic", "cellar")] == [0, 0, 1501]
    archive.append("lobby", said(1, 2))
    archive.append("attic", said(1, 2))
    assert archive.unread("bob", ["lobby", "attic", "cellar"]) == {
        "lobby": Unread(0, 0),
        "attic": Unread(0, 0),
        "cellar": Unread(100, 0),
    }
    assert archive.unread("cy", ["lobby"])["lobby"].mentions == 0


def test_close_is_idempotent(archive):
    archive.close()
    archive.close()


@pytest.mark.parametrize("backend", NEVER_YIELDS, indirect=True)
def test_it_never_yields_where_it_says_so(archive):
    with never_yields():
        archive.append("lobby", [*said(1, 2), edit(1, "new", 3), delete(2, 4)])
        everything(archive)
        archive.tail("lobby", 10, AGES_AGO)
        archive.ids("lobby", AGES_AGO, 10)
        archive.last("lobby")
        archive.find("lobby", 1)
        page(archive)
        archive.unread("bob", ["lobby"])
        archive.trim(1, 1)
        archive.flush()
        archive.forget(["lobby"])
        archive.close()


def test_a_mark_never_yields(archive):
    with never_yields():
        archive.mark("lobby", "bob", 1)
