"""One process archives what all say, in order and without holes, whatever becomes of it and of the archive."""

from collections.abc import Iterator
from datetime import timedelta

import gevent
import pytest

from chat.archive import MemoryArchive
from chat.broker.feeding import PATIENCE
from chat.errors import BrokerUnavailable
from chat.event import Deleted, Edited, Message, Past
from tests.chat.broker.processes import META, STREAM, Process, Start, archived, cut, settled, unanswered, way_into
from tests.chat.contracts.hearing import DATE, LOBBY, say
from tests.chat.contracts.troubled import Troubled
from tests.chat.steps import wait_until
from tests.valkey import RedisServer

TEXTS = [str(number) for number in range(100)]


@pytest.fixture
def archive(clock) -> Troubled:
    return Troubled(clock)


@pytest.fixture
def ways(archive) -> list[Troubled]:
    """Those of two processes."""
    return [way_into(archive), way_into(archive)]


@pytest.fixture
def pair(start: Start, ways) -> list[Process]:
    """The first one archives."""
    pair = []
    for name, way in zip(("p1", "p2"), ways, strict=True):
        pair.append(start(name, way).open())
        wait_until(lambda: archiver(pair[0]) == "p1")
    return pair


def archiver(process: Process) -> str:
    return (process.bus.do(LOBBY.log, "HGET", META, "archiver") or b"").decode()


def is_done(process: Process) -> bool:
    """Whether everything is archived, and noted to be."""
    _, offset, archived = process.look()
    return offset == archived


def test_what_any_process_says_one_archives_in_order(pair, ways, archive):
    for text in TEXTS:
        pair[int(text) % 2].say(text)

    wait_until(lambda: is_done(pair[0]))
    assert archived(archive) == TEXTS
    assert ways[1].appends == []


def test_when_that_one_leaves_the_other_goes_on_with_what_is_said_next(pair, ways, archive):
    p1, p2 = pair
    p1.say("one")
    p1.close()
    assert ways[0].appends == [["one"]]
    p2.say("two")
    p2.say("three")

    wait_until(lambda: is_done(p2))
    assert archived(archive) == ["one", "two", "three"]
    assert archiver(p2) == "p2"


@pytest.mark.logs_errors
def test_what_it_leaves_undone_the_other_finds_although_nothing_more_is_said(pair, ways, archive, clock):
    p1, p2 = pair
    ways[0].faults = ["unavailable"] * 1000
    p1.say("one")
    wait_until(lambda: settled(p1, p2))
    p1.close()
    assert archived(archive) == []
    clock.advance(PATIENCE)

    wait_until(lambda: is_done(p2))
    assert archived(archive) == ["one"]


def test_when_it_dies_the_other_goes_on_as_soon_as_that_is_known(pair, ways, archive):
    p1, p2 = pair
    ways[0].go.clear()
    p1.say("one")
    wait_until(lambda: settled(p1, p2))
    p1.die()
    p2.say("two")
    assert archived(archive) == []

    assert p2.broker.forget(LOBBY.log, "p1") is True
    wait_until(lambda: is_done(p2))
    assert archived(archive) == ["one", "two"]


def test_who_is_dead_but_had_nothing_to_do_has_left_nothing_undone(pair, archive):
    p1, p2 = pair
    p1.say("one")
    wait_until(lambda: is_done(p1) and settled(p1, p2))
    p1.die()

    assert p2.broker.forget(LOBBY.log, "p3") is False
    assert p2.broker.forget(LOBBY.log, "p1") is False
    p2.say("two")
    wait_until(lambda: is_done(p2))
    assert archived(archive) == ["one", "two"]


def test_what_nobody_archived_is_archived_by_who_comes_next(start: Start, clock, archive, valkey: RedisServer):
    archive.go.clear()
    p1 = start("p1", archive, recent=10).open()
    for text in TEXTS:
        p1.say(text)
    p1.die()
    archive.go.set()
    p2 = start("p2", archive, recent=10)
    p2.broker.forget(LOBBY.log, "p1")
    assert archived(archive) == []
    p2.open()

    wait_until(lambda: is_done(p2))
    assert archived(archive) == TEXTS
    p2.close()
    wait_until(lambda: valkey.ask("TTL", STREAM.decode()) > 0)


def test_of_what_nobody_archived_the_stream_stays(start: Start, archive, valkey: RedisServer):
    archive.go.clear()
    p1 = start("p1", archive).open()
    p1.say("one")
    p1.close()
    wait_until(lambda: archiver(p1) == "")

    assert valkey.ask("TTL", STREAM.decode()) == -1
    archive.go.set()


@pytest.mark.logs_errors
def test_who_has_not_heard_that_it_is_to_archive_asks_again(start: Start, archive, clock, valkey: RedisServer):
    p1 = start("p1", archive).open()  # and its claim is on its way
    with unanswered(valkey, p1):
        pass
    p1.insist("one")
    assert archiver(p1) == "p1"
    assert archived(archive) == []
    clock.advance(PATIENCE)

    wait_until(lambda: is_done(p1))
    assert archived(archive) == ["one"]


@pytest.mark.logs_errors
def test_who_has_left_and_could_not_say_so_is_succeeded_all_the_same(pair, archive, clock, valkey: RedisServer):
    p1, p2 = pair
    p1.say("one")
    wait_until(lambda: is_done(p1))
    cut(valkey)
    wait_until(lambda: not p1.bus.is_up)
    p1.close()
    p2.insist("two")
    clock.advance(PATIENCE)

    wait_until(lambda: is_done(p2))
    assert archived(archive) == ["one", "two"]
    assert archiver(p2) == "p2"


@pytest.mark.logs_errors
def test_nobody_takes_over_from_who_only_cannot_do_it_now(pair, ways, archive, clock):
    p1, p2 = pair
    ways[0].faults = ["unavailable"] * 1000
    p1.say("one")
    wait_until(lambda: settled(p1, p2))
    for _ in range(5):
        clock.advance(PATIENCE - 1)
        attempts = len(ways[0].appends)
        wait_until(lambda attempts=attempts: len(ways[0].appends) > attempts + 1)
    ways[0].faults.clear()

    wait_until(lambda: is_done(p1))
    assert archived(archive) == ["one"]
    assert ways[1].appends == []


def test_two_that_think_it_is_theirs_write_everything_once(pair, ways, archive):
    p1, p2 = pair
    ways[0].go.clear()
    p1.say(*TEXTS[:50])
    wait_until(lambda: settled(p1, p2) and ways[0].appends)
    p2.broker.forget(LOBBY.log, "p1")  # which is only slow
    wait_until(lambda: is_done(p2))
    ways[0].go.set()
    for text in TEXTS[50:]:
        p1.say(text)

    wait_until(lambda: is_done(p2))
    assert archived(archive) == TEXTS
    assert archiver(p2) == "p2"
    assert len(ways[0].appends) == 1


@pytest.mark.logs_errors
@pytest.mark.parametrize("fault", ["unavailable", "kept", "late"])
def test_an_archive_that_is_away_for_a_while_has_everything_in_the_end(pair, ways, archive, fault):
    p1, p2 = pair
    ways[0].faults = [fault]
    for text in TEXTS:
        pair[int(text) % 2].say(text)

    wait_until(lambda: is_done(p1))
    assert archived(archive) == TEXTS
    assert p2.texts == TEXTS


@pytest.mark.logs_errors
def test_the_connection_may_break_while_it_is_archived(pair, archive, valkey: RedisServer):
    p1, p2 = pair
    for text in TEXTS:
        pair[int(text) % 2].insist(text)
        if int(text) % 30 == 29:
            cut(valkey)

    wait_until(lambda: is_done(p1), 5)
    assert archived(archive) == p1.texts == p2.texts == TEXTS


@pytest.mark.logs_errors
def test_what_cannot_be_archived_is_left_out_and_holds_up_nothing(pair, ways, archive):
    p1, _ = pair
    texts = ["one", "bad", "two", "bad", "bad", "three"]
    ways[0].go.clear()
    p1.say("zero")
    p1.broker.publish(LOBBY.key, say(*texts))
    ways[0].go.set()
    p1.say("four")

    wait_until(lambda: is_done(p1))
    assert archived(archive) == ["zero", "one", "two", "three", "four"]
    assert p1.look()[2] == 8


# What is asked while the archive lags behind


def edit(target: int, text: str) -> Edited:
    return Edited(target, "ada", text, DATE + timedelta(seconds=1))


def delete(target: int) -> Deleted:
    return Deleted(target, "ada", DATE + timedelta(seconds=2))


def past(offset: int, text: str, edited: bool = False, deleted: bool = False) -> Past:
    return Past(
        offset,
        "ada",
        text,
        DATE,
        edited=DATE + timedelta(seconds=1) if edited else None,
        deleted=DATE + timedelta(seconds=2) if deleted else None,
    )


@pytest.fixture(params=["p1", "p2"])
def lagging(request, start: Start, ways, archive) -> Iterator[Process]:
    """A process in which only the last two events are at hand, of an archive that has 1 to 4 of 10."""
    pair = [start(name, way, recent=2).open() for name, way in zip(("p1", "p2"), ways, strict=True)]
    p1, p2 = pair
    p1.broker.publish(LOBBY.key, say("one", "two", "three", "four"))
    wait_until(lambda: is_done(p1))
    for way in ways:
        way.go.clear()
    p2.broker.publish(LOBBY.key, [*say("five"), edit(1, "ONE"), delete(2), edit(5, "FIVE")])
    p1.broker.publish(LOBBY.key, [*say("nine"), edit(9, "NINE")])
    wait_until(lambda: settled(p1, p2))
    assert p1.look()[2] == 4
    yield pair[request.param == "p2"]
    for way in ways:
        way.go.set()


EVERYTHING = [
    past(1, "ONE", edited=True),
    past(2, "", deleted=True),
    past(3, "three"),
    past(4, "four"),
    past(5, "FIVE", edited=True),
    past(9, "NINE", edited=True),
]


def test_history_is_whole_while_the_archive_lags_behind(lagging: Process, ways):
    def everything() -> None:
        history = lagging.broker.history
        assert history(LOBBY.key, limit=10) == (EVERYTHING, False)
        for limit in range(1, 6):
            assert history(LOBBY.key, limit=limit) == (EVERYTHING[-limit:], True)
            assert history(LOBBY.key, after=0, limit=limit) == (EVERYTHING[:limit], True)
        for index, one in enumerate(EVERYTHING):
            assert history(LOBBY.key, before=one.offset, limit=2) == (EVERYTHING[max(index - 2, 0) : index], index > 2)
            assert history(LOBBY.key, after=one.offset, limit=2) == (EVERYTHING[index + 1 : index + 3], index < 3)

    everything()
    for way in ways:
        way.go.set()
    wait_until(lambda: is_done(lagging))
    everything()


def test_every_message_is_found_as_it_is_now_while_the_archive_lags_behind(lagging: Process):
    for one in EVERYTHING:
        assert lagging.broker.find(LOBBY.key, one.offset) == one
    for offset in (0, 6, 7, 8, 10, 11):
        assert lagging.broker.find(LOBBY.key, offset) is None


def test_everything_can_be_read_while_the_archive_lags_behind(lagging: Process):
    for after in range(11):
        found = lagging.broker.read(LOBBY.key, after, 10 - after)
        assert [event.offset for event in found] == list(range(after + 1, 11))
        assert after == 10 or lagging.broker.read(LOBBY.key, after, 9 - after) is None


@pytest.mark.parametrize("ask", ["history", "find"])
def test_what_is_archived_while_it_is_asked_for_is_told_all_the_same(start: Start, clock, archive, ask):
    """Between the look at what is pending and that into the archive."""
    p1 = start("p1", archive, recent=1).open()
    archive.go.clear()
    p1.say("one", "two", "three")
    asking = gevent.spawn(
        lambda: p1.broker.history(LOBBY.key, limit=5)[0] if ask == "history" else p1.broker.find(LOBBY.key, 2)
    )
    gevent.sleep(0)
    archive.go.set()
    wait_until(lambda: is_done(p1))

    found = asking.get(timeout=2)
    assert ([one.text for one in found] if ask == "history" else found.text) == (
        ["one", "two", "three"] if ask == "history" else "two"
    )


def test_an_archive_that_is_away_leaves_what_is_at_hand(start: Start, clock):
    class Away(MemoryArchive):
        def history(self, *args, **options):
            raise BrokerUnavailable

    p1 = start("p1", Away(clock), recent=3).open()
    p1.say("one", "two", "three", "four")

    assert [one.text for one in p1.broker.history(LOBBY.key, limit=2)[0]] == ["three", "four"]
    with pytest.raises(BrokerUnavailable):
        p1.broker.history(LOBBY.key, limit=4)


def test_what_a_delete_has_erased_is_erased_in_the_archive_too_however_late_it_comes(pair, ways, archive):
    p1, _ = pair
    ways[0].go.clear()
    p1.broker.publish(LOBBY.key, [Message("ada", "secret", DATE), edit(1, "still secret")])
    p1.broker.publish(LOBBY.key, [delete(1)])
    ways[0].go.set()

    wait_until(lambda: is_done(p1))
    assert "secret" not in str(archive.read(LOBBY.log, 0, 10))
    assert archive.find(LOBBY.log, 1) == past(1, "", edited=True, deleted=True)
