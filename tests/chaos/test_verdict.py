"""The verdict of the chaos sees what it is there for: it cannot pass by blindness."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.record import Chapter, Event, Item, Record, Said, View
from tests.chaos.verdict import Kept, judge, judge_archive, misjudged
from tests.faults import Faults

TEXTS = {1: "one", 2: "two", 3: "drei", 5: "three", 6: "six"}


def log() -> list[Event]:
    """ann and bob say three things; bob mends the third one, ann takes the second one back; bob goes on."""
    return [
        Event("message", 1, "a1", "ann", 0, "one"),
        Event("message", 2, "a2", "ann", 0, ""),
        Event("message", 3, "b1", "bob", 0, "drei"),
        Event("delete", 4, "a3", "ann", 2, ""),
        Event("edit", 5, "b2", "bob", 3, "three"),
        Event("message", 6, "b3", "bob", 0, "six"),
    ]


def heard() -> list[Event]:
    """By somebody who was there all the time."""
    return [event._replace(text=TEXTS.get(event.offset, "")) for event in log()]


def said() -> list[Said]:
    return [Said(event.sender, "lobby", event.kind, event.id, event.text, event.offset, "") for event in heard()]


def whole() -> Record:
    """ann has heard it all, bob came back after the delete, and cy had to begin anew."""
    ann = View("ann", "lobby", [Chapter(0, {}, heard())])
    bob = View("bob", "lobby", [Chapter(0, {}, [heard()[0], *log()[1:]])])
    history = {1: Item("ann", "one", False), 2: Item("ann", "", True), 3: Item("bob", "three", False)}
    cy = View("cy", "lobby", [Chapter(0, {}, heard()[:1]), Chapter(4, history, heard()[4:])])
    return Record([ann, bob, cy], said())


def kinds(record: Record, kept: Kept | None = None, *, messages: int = 4) -> set[str]:
    faults = Faults()
    judge(record, kept or {"lobby": log()}, faults, messages=messages)
    return set(faults.counts)


def with_events(change: Callable[[list[Event]], list[Event]]) -> Record:
    """ann has heard something else."""
    record = whole()
    return replace(record, views=[View("ann", "lobby", [Chapter(0, {}, change(heard()))]), *record.views[1:]])


def with_log(change: Callable[[list[Event]], list[Event]]) -> set[str]:
    """Something else is kept."""
    return kinds(whole(), {"lobby": change(log())})


def with_said(number: int, **change: object) -> Record:
    record = whole()
    record.said[number] = record.said[number]._replace(**change)
    return record


def test_where_all_is_the_same_nothing_is_amiss() -> None:
    assert kinds(whole()) == set()


def test_a_record_that_went_through_a_file_is_the_same(tmp_path: Path) -> None:
    whole().write(tmp_path / "record")

    assert Record.read(tmp_path / "record") == whole()


def test_two_files_are_one_record(tmp_path: Path) -> None:
    for name in ("one", "two"):
        whole().write(tmp_path / name)

    assert Record.read(tmp_path / "one", tmp_path / "two").views == whole().views * 2


def test_a_message_that_was_passed_over_is_lost() -> None:
    assert kinds(with_events(lambda events: events[:2] + events[3:])) == {"lost", "differs"}


def test_a_message_that_did_not_come_at_the_end_is_lost() -> None:
    assert kinds(with_events(lambda events: events[:-1])) == {"lost"}


def test_who_has_never_been_there_has_lost_all() -> None:
    assert kinds(Record([View("ann", "lobby")], said())) == {"lost"}


def test_a_message_that_came_twice_is_doubled() -> None:
    assert kinds(with_events(lambda events: events[:2] + events[1:])) == {"doubled"}


def test_two_messages_in_another_order_are_swapped() -> None:
    assert kinds(with_events(lambda events: [events[0], events[2], events[1], *events[3:]])) == {"lost", "swapped"}


def test_another_text_is_found() -> None:
    assert kinds(with_events(lambda events: [events[0]._replace(text="won"), *events[1:]])) == {"changed", "differs"}


def test_another_text_of_what_was_deleted_later_is_found() -> None:
    assert kinds(with_events(lambda events: [events[0], events[1]._replace(text="too"), *events[2:]])) == {"changed"}


def test_another_text_of_an_edit_is_found() -> None:
    change = with_events(lambda events: [*events[:4], events[4]._replace(text="thre"), events[5]])

    assert kinds(change) == {"changed", "differs"}


@pytest.mark.parametrize("other", [{"id": "x"}, {"sender": "cy"}, {"kind": "edit", "target": 1}])
def test_something_else_than_is_kept_was_taken_back(other: dict) -> None:
    assert "taken back" in kinds(with_events(lambda events: [*events[:5], events[5]._replace(**other)]))


def test_what_was_heard_and_is_not_kept_was_taken_back() -> None:
    more = Event("message", 7, "b4", "bob", 0, "seven")

    assert kinds(with_events(lambda events: [*events, more])) == {"taken back", "differs"}


def test_who_begins_anew_before_what_was_heard_is_told_that_it_was_taken_back() -> None:
    record = whole()
    record.views[2].chapters[0] = Chapter(0, {}, heard()[:5])

    assert kinds(record) == {"taken back"}


@pytest.mark.parametrize("item", [Item("ann", "oh", False), Item("ann", "", True), Item("bob", "one", False)])
def test_another_history_is_found(item: Item) -> None:
    record = whole()
    record.views[2].chapters[1].items[1] = item

    assert kinds(record) == {"differs"}


def test_a_history_that_leaves_something_out_is_found() -> None:
    record = whole()
    del record.views[2].chapters[1].items[1]

    assert kinds(record) == {"differs"}


def test_a_hole_in_what_is_kept_is_found() -> None:
    assert "holes" in with_log(lambda events: events[:2] + events[3:])


def test_what_is_kept_in_another_order_is_found() -> None:
    assert "holes" in with_log(lambda events: [events[1], events[0], *events[2:]])


def test_what_is_kept_twice_is_found() -> None:
    assert "doubled" in with_log(lambda events: [*events, events[-1]._replace(offset=7)])


def test_what_is_kept_and_nobody_said_is_found() -> None:
    record = whole()
    del record.said[-1]

    assert kinds(record) == {"invented"}


def test_what_is_kept_with_another_text_is_found() -> None:
    assert "changed" in with_log(lambda events: [*events[:5], events[5]._replace(text="sex")])


def test_a_text_that_outlives_its_deletion_is_found() -> None:
    assert "changed" in with_log(lambda events: [events[0], events[1]._replace(text="two"), *events[2:]])


@pytest.mark.parametrize("other", [{"offset": 7}, {"offset": 3}, {"channel": "elsewhere"}, {"kind": "edit"}])
def test_what_was_acked_and_is_not_kept_there_is_found(other: dict) -> None:
    assert kinds(with_said(5, **other)) == {"unkept"}


def test_what_was_not_acked_may_be_kept_all_the_same() -> None:
    record = whole()
    record.said += [Said("ann", "elsewhere", "message", f"e{number}", "", number, "") for number in range(1, 15)]
    record.said[5] = record.said[5]._replace(offset=0)
    elsewhere = [Event("message", number, f"e{number}", "ann", 0, "") for number in range(1, 15)]

    assert kinds(record, {"lobby": log(), "elsewhere": elsewhere}) == set()


def test_too_few_acks_are_found() -> None:
    assert kinds(with_said(0, offset=0)) == {"unacked"}


def test_too_few_messages_are_found() -> None:
    assert kinds(whole(), messages=5) == {"idle"}


def archived(offsets: list[int], end: int) -> set[str]:
    """What is amiss where these are kept of a log that goes so far."""
    faults = Faults()
    judge_archive({"lobby": [log()[0]._replace(offset=offset) for offset in offsets]}, {"lobby": end}, faults)
    return set(faults.counts)


def test_an_archive_that_has_each_event_once_is_whole() -> None:
    assert archived([1, 2, 3], 3) == set()
    assert archived([], 0) == set()


@pytest.mark.parametrize("offsets", [[1, 2], [2, 3], [1, 3], []])
def test_what_an_archive_has_not_is_found(offsets: list[int]) -> None:
    assert archived(offsets, 3) == {"unarchived"}


def test_what_an_archive_has_twice_is_found() -> None:
    assert archived([1, 2, 2, 3], 3) == {"archived twice"}


@pytest.mark.parametrize("offset", [0, 4])
def test_what_an_archive_has_and_the_log_has_not_is_found(offset: int) -> None:
    assert archived([1, 2, 3, offset], 3) == {"beyond"}


def test_a_channel_of_which_nothing_is_archived_is_found() -> None:
    faults = Faults()
    judge_archive({}, {"lobby": 1}, faults)

    assert set(faults.counts) == {"unarchived"}


@pytest.mark.parametrize(
    ("count", "users", "complaints"),
    [(2, ["ann", "bob"], 0), (1, ["ann"], 2), (3, ["ann", "bob", "cy"], 2), (2, ["ann", "cy"], 1)],
)
def test_who_takes_somebody_to_be_here_or_not_who_is_not_or_is_found(count: int, users: list[str], complaints: int) -> None:
    crowds = {"lobby": [(2, ["ann", "bob"]), (count, users)]}

    assert len(list(misjudged({"lobby": {"ann", "bob"}, "attic": set()}, crowds))) == complaints


def test_in_a_large_room_not_everybody_is_known_and_all_are_counted() -> None:
    members = {f"user{number}" for number in range(101)}

    assert list(misjudged({"lobby": members}, {"lobby": [(101, ["user1"])]})) == []
    assert len(list(misjudged({"lobby": members}, {"lobby": [(102, ["user1"])]}))) == 1
