"""The Redis loses the last events, and goes on without them."""

import pytest

from chat.archive import MemoryArchive
from chat.errors import BrokerUnavailable
from chat.registry import ChannelRecord
from tests.chat.broker.processes import LEAP, STREAM, Process, Start, archived, settled, snapshot, way_into
from tests.chat.contracts.hearing import LOBBY
from tests.chat.contracts.troubled import Troubled
from tests.chat.steps import wait_until
from tests.valkey import RedisServer, Sentinel

pytestmark = pytest.mark.logs_errors  # of connections that break, and of what is lost


@pytest.fixture
def pair(sentinel: Sentinel, start: Start) -> list[Process]:
    return [start(name, url=sentinel.url).open() for name in ("p1", "p2")]


def lose_replica(sentinel: Sentinel) -> RedisServer:
    """From now on it hears nothing of what is said."""
    replica = sentinel.replica
    replica.pause()
    sentinel.master.ask("CLIENT", "KILL", "TYPE", "replica")
    return replica


def promote(sentinel: Sentinel, replica: RedisServer) -> None:
    sentinel.master.kill()
    replica.resume()
    wait_until(lambda: sentinel.master is replica and replica.ask("ROLE")[0] == "master", 20)


def test_after_a_failover_that_has_lost_the_last_events_all_go_on_from_another_place(pair, sentinel: Sentinel):
    p1, p2 = pair
    p1.say("one", "two")
    wait_until(lambda: sentinel.replica.ask("XLEN", STREAM.decode()) == 1)
    replica = lose_replica(sentinel)
    assert p2.say("three") == [3]
    wait_until(lambda: settled(p1, p2))
    promote(sentinel, replica)
    wait_until(lambda: p1.heard.places and p2.heard.places, 10)

    assert p1.heard.places == p2.heard.places
    assert p1.say("four") == [LEAP + 4]
    wait_until(lambda: settled(p1, p2), 5)
    assert p1.texts == p2.texts == ["one", "two", "three", "four"]


def test_after_one_that_has_lost_nothing_they_go_on_where_they_were(pair, sentinel: Sentinel):
    p1, p2 = pair
    p1.say("one", "two")
    wait_until(lambda: sentinel.replica.ask("XLEN", STREAM.decode()) == 1)
    sentinel.failover()

    assert p2.insist("three") == [3]
    wait_until(lambda: settled(p1, p2), 5)
    assert p1.texts == p2.texts == ["one", "two", "three"]
    assert p1.heard.places == p2.heard.places == []


def test_who_has_heard_what_is_lost_finds_out_however_far_the_others_have_got(p1: Process, start: Start, valkey):
    """Logs of the same length, too."""
    for ahead in (0, 1, 2):
        p2 = start(f"p2 {ahead}").open()
        p1.say(f"kept {ahead}")
        wait_until(lambda p2=p2: settled(p1, p2))
        forget = snapshot(valkey)
        p2.die()
        p1.say(f"lost {ahead}")
        last, places = p1.last, len(p1.heard.places)
        forget()
        p3 = start(f"p3 {ahead}").open()
        said = [p3.say(f"other {ahead} {number}") for number in range(ahead)]
        assert [offset for offsets in said for offset in offsets] == list(range(last, last + ahead))

        wait_until(lambda places=places: len(p1.heard.places) == places + 1, 5)
        wait_until(lambda p3=p3: settled(p1, p3), 5)
        assert p1.heard.places[-1].offset == max(last + LEAP, last - 1 + ahead)
        assert p3.say(f"after {ahead}") == [p1.heard.places[-1].offset + 1]
        wait_until(lambda p3=p3: settled(p1, p3), 5)
        assert p1.texts[-1] == f"after {ahead}"
        p3.die()


def test_nobody_goes_back_to_an_epoch_that_has_ended(p1: Process, p2: Process, valkey: RedisServer):
    p1.say("one")
    forget = snapshot(valkey)
    valkey.ask("FLUSHALL")
    assert p1.say("two") == [LEAP + 2]
    wait_until(lambda: settled(p1, p2))
    forget()
    wait_until(lambda: len(p1.heard.places) == len(p2.heard.places) == 2, 5)

    assert p1.say("three") == [2 * LEAP + 3]
    wait_until(lambda: settled(p1, p2), 5)
    assert p1.texts == p2.texts == ["one", "two", "three"]
    assert len({place.epoch for place in (p1.place, *p1.heard.places)}) == 3


def test_who_publishes_what_the_log_cannot_follow_begins_anew(p1: Process, p2: Process, valkey: RedisServer):
    """It has not even noticed that the connection was another one."""
    p1.say("one")
    with valkey.client() as client:
        meta = client.hgetall("chat:{l1}:meta")
        p1.say("two")
        client.hset("chat:{l1}:meta", mapping=meta)
        client.xtrim(STREAM, minid="1-1", approximate=False)
        client.execute_command("XDEL", STREAM, "2-0")

    assert p1.say("three") == [LEAP + 3]
    wait_until(lambda: settled(p1, p2))
    assert p1.texts == p2.texts == ["one", "two", "three"]


def test_what_is_lost_in_the_redis_is_archived_by_those_who_have_heard_it(start: Start, clock, valkey: RedisServer):
    archive = Troubled(clock)
    p1, p2 = (start(name, archive).open() for name in ("p1", "p2"))
    archive.go.clear()
    p1.say("one")
    forget = snapshot(valkey)
    p2.say("two", "three")
    wait_until(lambda: settled(p1, p2))
    forget()
    wait_until(lambda: p1.heard.places and p2.heard.places, 5)
    p1.say("four")
    archive.go.set()

    wait_until(lambda: archived(archive) == ["one", "two", "three", "four"], 5)
    wait_until(lambda: p1.look()[1] == p1.look()[2])
    assert [event.offset for event in archive.read(LOBBY.log, 0, 10)] == [1, 2, 3, LEAP + 4]


def test_what_only_the_stream_has_is_archived_although_an_epoch_has_ended(start: Start, clock, valkey: RedisServer):
    """More than any process has at hand waits for the archive."""
    archive = Troubled(clock)
    p1, p2 = (start(name, archive, recent=5).open() for name in ("p1", "p2"))
    archive.go.clear()
    texts = [str(number) for number in range(40)]
    for text in texts[:-2]:
        p1.say(text)
    forget = snapshot(valkey)
    p2.say(*texts[-2:])
    wait_until(lambda: settled(p1, p2))
    forget()
    wait_until(lambda: p1.heard.places and p2.heard.places, 5)
    assert p1.say("more") == [LEAP + 41]
    archive.go.set()

    wait_until(lambda: archived(archive) == [*texts, "more"], 5)
    wait_until(lambda: p1.look()[1] == p1.look()[2])


def test_a_leap_does_not_count_as_what_waits_for_the_archive(start: Start, clock, valkey: RedisServer):
    archive = Troubled(clock)
    p1 = start("p1", archive, unarchived=5).open()
    archive.go.clear()
    p1.say("one", "two")
    forget = snapshot(valkey)
    p1.say("three")
    forget()
    wait_until(lambda: p1.heard.places, 5)

    assert p1.say("four", "five", "six", "seven") == [LEAP + offset for offset in (4, 5, 6, 7)]
    assert p1.say("eight") == [LEAP + 8]
    with pytest.raises(BrokerUnavailable):
        p1.say("nine")
    archive.go.set()


class Endless(Troubled):
    """Does not tell how much it has."""

    def last(self, log: str) -> int:
        return 0


def test_where_the_archive_has_another_event_that_one_stays_and_the_rest_is_archived(start: Start, clock, valkey):
    """Both were acked at the same offset, by processes of which one has never heard the other's."""
    archive = MemoryArchive(clock)
    p1 = start("p1", archive).open()
    p1.say("one")
    wait_until(lambda: archived(archive) == ["one"])
    forget = snapshot(valkey)
    p1.say("two", "three")
    wait_until(lambda: archived(archive) == ["one", "two", "three"])
    p1.die()
    forget()
    p2 = start("p2", way_into(archive, Endless)).open()
    assert p2.say("other") == [2]
    assert p2.say("another", "four") == [3, 4]
    p2.broker.forget(LOBBY.log, "p1")

    wait_until(lambda: archived(archive) == ["one", "two", "three", "four"], 5)
    wait_until(lambda: p2.look()[2] == 4)


def test_what_is_archived_and_lost_is_not_taken_for_archived_by_those_who_say_something_else(start: Start, clock, valkey):
    """The process that archives does not know of the loss yet."""
    archive = Troubled(clock)
    p1 = start("p1", archive).open()
    p1.say("one")
    wait_until(lambda: p1.look()[2] == 1)
    forget = snapshot(valkey)
    archive.go.clear()
    p1.say("two", "three")
    p1.lease.is_valid = False
    forget()
    archive.go.set()

    wait_until(lambda: p1.broker._open[LOBBY.key].follower.feeder._is_mine is False, 5)
    assert archived(archive) == ["one", "two", "three"]
    assert p1.look()[1:] == (1, 1)
    p1.lease.is_valid = True
    wait_until(lambda: p1.heard.places, 5)


def test_who_opens_a_log_of_which_more_is_archived_than_the_redis_has_begins_anew(start: Start, clock, valkey):
    archive = MemoryArchive(clock)
    p1 = start("p1", archive).open()
    p1.say("one")
    forget = snapshot(valkey)
    p1.say("two")
    wait_until(lambda: p1.look()[2] == 2)
    p1.die()
    forget()
    p2 = start("p2", archive).open()

    assert p2.place.offset == 2 + LEAP
    assert p2.say("three") == [3 + LEAP]
    p2.broker.forget(LOBBY.log, "p1")
    wait_until(lambda: archived(archive) == ["one", "two", "three"])


def test_or_of_which_the_registry_knows_more(start: Start, valkey: RedisServer):
    p1 = start("p1").open()
    p1.say("one")
    p1.die()

    assert start("p2").open(ChannelRecord("lobby", "e1", "l1", 2)).place.offset == 2 + LEAP
