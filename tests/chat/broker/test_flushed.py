"""The Redis forgets everything in mid-life: all processes go on together, from another place, and what they have heard is
archived."""

import gevent
import pytest
from msgspec.structs import replace

from chat.archive import MemoryArchive
from chat.archive.sql import SqlArchive
from chat.registry import ChannelRecord
from tests.chat.broker.processes import LEAP, Process, Start, archived, attempt, said, settled, way_into
from tests.chat.contracts.hearing import LOBBY
from tests.chat.contracts.troubled import Troubled
from tests.chat.steps import wait_until
from tests.valkey import RedisServer

pytestmark = pytest.mark.logs_errors  # of a connection that breaks


@pytest.fixture
def processes(start: Start) -> list[Process]:
    return [start(name).open() for name in ("p1", "p2", "p3")]


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


def agree(processes: list[Process]) -> None:
    """They have moved to the same place, once, and have heard the same from there on."""
    wait_until(lambda: settled(*processes), 5)
    assert len({tuple(process.heard.places) for process in processes}) == 1
    [place] = processes[0].heard.places
    assert place.epoch != processes[0].place.epoch
    after = [[event for event in process.heard.events if event.offset > place.offset] for process in processes]
    assert after[0] == after[1] == after[2]


def test_who_says_something_next_begins_a_new_epoch_far_ahead(processes, valkey: RedisServer):
    p1, p2, _ = processes
    p1.say("one", "two")
    wait_until(lambda: settled(*processes))
    valkey.ask("FLUSHALL")

    assert p2.say("three") == [LEAP + 3]
    agree(processes)
    assert all(process.texts == ["one", "two", "three"] for process in processes)


def test_when_all_notice_at_once_they_agree_on_one_epoch(processes, valkey: RedisServer):
    processes[0].say("one")
    wait_until(lambda: settled(*processes))
    for count in range(2, 12):
        valkey.ask("FLUSHALL")
        saying = [attempt(process.say, f"{process.name} {count}") for process in processes]

        offsets = sorted(offset for one in saying for offset in one.get(timeout=5))
        assert offsets == list(range(offsets[0], offsets[0] + 3))
        wait_until(lambda: settled(*processes), 5)
        assert all(process.heard.places == processes[0].heard.places for process in processes)
        assert len(processes[0].heard.places) == count - 1
    assert all(process.heard.events == processes[0].heard.events for process in processes)


def test_a_server_that_restarts_empty_is_noticed_by_all_when_they_return(processes, valkey: RedisServer):
    processes[0].say("one")
    wait_until(lambda: settled(*processes))
    valkey.restart()
    wait_until(lambda: all(process.heard.places for process in processes), 5)

    assert processes[1].say("two") == [LEAP + 2]
    agree(processes)


def test_in_the_midst_of_a_conversation_nothing_that_was_acked_since_is_lost(processes, valkey: RedisServer):
    acked: list[tuple[int, str]] = []

    def talk(process: Process) -> None:
        for number in range(100):
            text = f"{process.name} {number}"
            acked.extend((offset, text) for offset in process.say(text))

    talking = [gevent.spawn(talk, process) for process in processes]
    wait_until(lambda: processes[0].last > 100)
    valkey.ask("FLUSHALL")
    gevent.joinall(talking, raise_error=True)

    agree(processes)
    base = processes[0].heard.places[0].offset
    assert base > LEAP
    heard = {event.offset: event.text for event in processes[0].heard.events}
    assert {offset: text for offset, text in acked if offset > base}.items() <= heard.items()
    assert len(acked) == 300


def test_what_was_not_archived_yet_is_archived_by_those_who_have_heard_it(start: Start, clock, valkey: RedisServer):
    archive = Troubled(clock)
    p1, p2 = (start(name, archive).open() for name in ("p1", "p2"))
    p1.say("one")
    wait_until(lambda: archived(archive) == ["one"])
    archive.go.clear()
    p1.say("two", "three")
    p2.say("four")
    wait_until(lambda: settled(p1, p2))
    p1.die()
    valkey.ask("FLUSHALL")
    p2.say("five")
    assert archived(archive) == ["one"]
    archive.go.set()

    wait_until(lambda: archived(archive) == ["one", "two", "three", "four", "five"])
    wait_until(lambda: p2.look()[1] == p2.look()[2])


def test_so_it_is_in_a_database(start: Start, database, valkey: RedisServer):
    archive = SqlArchive(database)
    p1, p2 = (start(name, archive).open() for name in ("p1", "p2"))
    for number in range(20):
        p1.say(f"{number}")
        p2.say(f"{number} too")
        if number in (5, 10):
            valkey.ask("FLUSHALL")

    wait_until(lambda: p2.look()[1] == p2.look()[2], 5)
    wait_until(lambda: len(archived(archive)) == 40, 5)
    assert archived(archive) == p1.texts == p2.texts
    assert len(p1.heard.places) == 2
    archive.close()


def test_and_where_it_is_archived_late_it_stands_in_its_place(start: Start, clock, valkey: RedisServer):
    """The process that archives has heard nothing of it."""
    archive = MemoryArchive(clock)
    soon, late = way_into(archive), way_into(archive)
    p1, p2 = start("p1", soon).open(), start("p2", late).open()
    late.go.clear()
    soon.go.clear()
    p1.say("one", "two")
    wait_until(lambda: settled(p1, p2))
    p1.die()
    valkey.ask("FLUSHALL")
    soon.go.set()
    p3 = start("p3", archive).open()
    p3.say("three")
    wait_until(lambda: settled(p2, p3))
    p3.broker.forget(LOBBY.log, "p2")
    wait_until(lambda: archived(archive) == ["three"])
    late.go.set()

    wait_until(lambda: archived(archive) == ["one", "two", "three"])


def test_history_and_edits_go_on_before_anybody_has_said_anything(start: Start, clock, valkey: RedisServer):
    archive = MemoryArchive(clock)
    p1 = start("p1", archive, recent=2).open()
    p1.say("one", "two", "three")
    wait_until(lambda: p1.look()[2] == 3)
    valkey.ask("FLUSHALL")

    found, more = p1.broker.history(LOBBY.key, limit=10)

    assert ([past.text for past in found], more) == (["one", "two", "three"], False)
    assert p1.broker.find(LOBBY.key, 1).text == "one"
    assert len(p1.heard.places) == 1


def test_who_opens_a_log_that_is_gone_goes_on_past_all_that_is_known_of_it(start: Start, clock, valkey: RedisServer):
    archive = MemoryArchive(clock)
    archive.append(LOBBY.log, [replace(said("one"), offset=1)])
    places = []
    for number, (offset, log) in enumerate([(0, "l1"), (7, "l1"), (7, "l2"), (0, "l3")]):
        process = start(f"p{number}", archive)
        places.append(process.broker.open(ChannelRecord("lobby", "e1", log, offset), process.heard))
        process.die()
        valkey.ask("FLUSHALL")

    assert [place.offset for place in places] == [1 + LEAP, 7 + LEAP, 7 + LEAP, LEAP]
    assert all(place.epoch != "e1" for place in places)


def test_a_new_one_begins_where_its_record_says(start: Start):
    p1, p2 = (start(name).open() for name in ("p1", "p2"))

    assert p1.place == p2.place == ("e1", 0)
