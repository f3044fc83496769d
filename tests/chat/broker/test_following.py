"""Whatever happens to its connections, a process tells of each event once and in order, or that some are missing."""

import gevent
import pytest

from chat.archive import MemoryArchive
from chat.broker import parcel
from chat.errors import BrokerUnavailable, ChannelClosed
from chat.event import Joined, User
from chat.orders import End
from tests.chat.broker.processes import META, STREAM, TOPIC, Process, Start, attempt, cut, deafen, said, settled
from tests.chat.contracts.hearing import DATE, LOBBY
from tests.chat.fakes import GatedArchive
from tests.chat.steps import wait_until
from tests.valkey import RedisServer

pytestmark = pytest.mark.logs_errors  # of connections that break


def texts(count: int, begin: int = 0) -> list[str]:
    return [str(number) for number in range(begin, begin + count)]


def deafen_one(process: Process, server: RedisServer) -> None:
    """Hang up where it hears, and wait until it has noticed."""
    deafen(server)
    wait_until(lambda: not process.bus.is_up)


def talk(process: Process, count: int) -> None:
    for text in texts(count):
        process.insist(text)


@pytest.mark.parametrize("hang_up", [cut, deafen])
def test_what_was_said_while_the_connections_broke_is_heard_once_and_in_order(p1: Process, p2: Process, valkey, hang_up):
    talking = gevent.spawn(talk, p1, 400)
    for many in (100, 200, 300):
        wait_until(lambda many=many: p1.last > many, 5)
        hang_up(valkey)
    talking.get(timeout=10)

    wait_until(lambda: settled(p1, p2), 5)
    assert p1.texts == p2.texts == texts(400)
    assert p1.heard.places == p2.heard.places == []


@pytest.mark.parametrize("count", [1, 99, 250])
def test_a_gap_of_many_batches_is_filled_from_the_stream(p1: Process, start: Start, valkey: RedisServer, count):
    p2 = start("p2").open()
    p1.say("first")
    wait_until(lambda: settled(p1, p2))
    with valkey.client() as client:  # one that does not yield
        deafen_one(p2, valkey)
        entries = [(f"{number + 2}-0", number + 2, parcel.lines_of([said(str(number))])) for number in range(count)]
        for entry, first, lines in entries:
            client.execute_command("XADD", STREAM, entry, first, lines)
        client.hset(META, "offset", count + 1)

    wait_until(lambda: p2.last == count + 1, 5)
    assert p2.texts == ["first", *texts(count)]
    assert p2.offsets == list(range(1, count + 2))


def test_who_has_missed_more_than_the_stream_has_is_told(start: Start, valkey: RedisServer):
    p1, p2 = (start(name, recent=10).open() for name in ("p1", "p2"))
    p2.lease.is_valid = False
    talk(p1, 500)
    p2.lease.is_valid = True

    wait_until(lambda: settled(p1, p2))
    [place] = p2.heard.places
    assert place.epoch == p2.place.epoch
    assert p2.offsets == list(range(place.offset + 1, 501))


def test_or_has_it_from_the_archive(start: Start, clock, valkey: RedisServer):
    archive = MemoryArchive(clock)
    p1, p2 = (start(name, archive, recent=10).open() for name in ("p1", "p2"))
    p2.lease.is_valid = False
    for number in range(5):
        p1.say(*texts(100, 100 * number))
        wait_until(lambda: p1.look()[1] == p1.look()[2])
    p2.lease.is_valid = True

    wait_until(lambda: settled(p1, p2))
    assert p2.texts == texts(500)
    assert p2.heard.places == []


def test_but_does_not_wait_for_an_archive_that_is_away(start: Start, clock):
    archive = GatedArchive()
    p1, p2 = (start(name, archive, recent=10).open() for name in ("p1", "p2"))
    p2.lease.is_valid = False
    for number in range(5):
        p1.say(*texts(100, 100 * number))
        wait_until(lambda: p1.look()[1] == p1.look()[2])
    archive.fault = BrokerUnavailable()
    p2.lease.is_valid = True

    wait_until(lambda: settled(p1, p2))
    assert len(p2.heard.places) == 1


def test_a_process_that_may_be_taken_for_dead_tells_nothing_and_later_all(p1: Process, p2: Process):
    p2.lease.is_valid = False
    p1.say("one", "two")
    p1.broker.publish(LOBBY.key, [Joined(User("ada"), DATE)])
    p1.say("three")
    with pytest.raises(BrokerUnavailable):
        p2.say("four")
    assert p2.heard.events == []
    p2.lease.is_valid = True

    wait_until(lambda: len(p2.heard.events) == 4)
    assert p2.offsets == [1, 2, 3]


def test_when_too_much_waits_what_is_logged_is_heard_all_the_same(start: Start):
    p1, p2 = (start(name, held=3).open() for name in ("p1", "p2"))
    p2.lease.is_valid = False
    for count in range(5):
        p1.say(*texts(1, count))
    wait_until(lambda: settled(p1))
    p2.lease.is_valid = True

    wait_until(lambda: settled(p1, p2))
    assert p2.texts == texts(5)


def test_so_it_is_when_too_much_comes_after_the_log_was_looked_at(start: Start):
    """While the archive is read, more comes than can wait, and then nothing."""
    archive = GatedArchive()
    p1, p2 = (start(name, archive, recent=1, held=3).open() for name in ("p1", "p2"))
    p2.lease.is_valid = False
    for number in range(300):
        p1.say(str(number))
    wait_until(lambda: p1.look()[1] == p1.look()[2])
    archive.read_gate.clear()
    p2.lease.is_valid = True
    archive.is_waiting.wait(timeout=2)
    for number in range(300, 310):
        p1.say(str(number))
    wait_until(lambda: settled(p1))
    archive.read_gate.set()

    wait_until(lambda: settled(p1, p2))
    assert p2.texts == texts(310)


def test_what_comes_from_an_epoch_that_has_ended_is_ignored(p1: Process, p2: Process, valkey: RedisServer):
    """Somebody's connection leads to a server that was the master, say."""
    stale = b"e0 1 1 p9\n" + parcel.lines_of([said("stale")])
    valkey.ask("PUBLISH", TOPIC.decode(), stale.decode())
    talk(p1, 50)

    wait_until(lambda: settled(p1, p2))
    assert p1.texts == p2.texts == texts(50)
    assert valkey.ask("INFO", "commandstats")["cmdstat_xrange"]["calls"] < 10, "it is looked for over and over"


def test_what_comes_ahead_of_what_the_log_has_is_ignored(p1: Process, p2: Process, valkey: RedisServer):
    p1.say("one")
    wait_until(lambda: settled(p1, p2))
    valkey.ask("PUBLISH", TOPIC.decode(), f"{p1.epoch} 3 1 p9\n{parcel.lines_of([said('stale')]).decode()}")
    wait_until(lambda: settled(p1, p2))
    p1.say("two")

    wait_until(lambda: settled(p1, p2))
    assert p1.texts == p2.texts == ["one", "two"]
    assert p1.heard.places == p2.heard.places == []


def test_something_in_the_stream_that_cannot_be_read_holds_nobody_up_once_it_is_gone(
    p1: Process, p2: Process, valkey: RedisServer, caplog
):
    p1.say("one")
    wait_until(lambda: settled(p1, p2))
    valkey.ask("XADD", STREAM.decode(), "2-0", "2", "what?\n")
    valkey.ask("HSET", META.decode(), "offset", "2")
    saying = attempt(p1.say, "two")  # which finds a hole
    wait_until(lambda: caplog.text.count("cannot go on") == 2)
    valkey.ask("XDEL", STREAM.decode(), "2-0")

    assert saying.get(timeout=3) == [3]
    wait_until(lambda: settled(p1, p2), 5)
    assert p1.texts == p2.texts == ["one", "two"]
    assert [place.offset for place in p1.heard.places] == [2]


class SlowToOpen(MemoryArchive):
    """Whoever opens a log waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = gevent.event.Event()
        self.go = gevent.event.Event()

    def last(self, log: str) -> int:
        self.waits.set()
        self.go.wait()
        return super().last(log)


def test_a_connection_that_breaks_while_the_log_is_opened_costs_nothing(p1: Process, start: Start, valkey: RedisServer):
    p1.say("one")
    archive = SlowToOpen()
    p2 = start("p2", archive)
    opening = gevent.spawn(p2.open)
    archive.waits.wait()
    deafen_one(p2, valkey)
    p1.say("two")
    wait_until(lambda: p1.bus.is_up and p2.bus.is_up)
    archive.go.set()
    opening.get(timeout=2)
    p1.say("three")

    wait_until(lambda: settled(p1, p2))
    assert p2.heard.places == []
    assert p2.offsets == list(range(p2.place.offset + 1, 4))


def test_who_was_away_when_it_ended_is_told_what_was_said_before_and_then_that(p1: Process, p2: Process, valkey):
    deafen_one(p2, valkey)
    with valkey.client() as client:  # one that does not yield
        client.execute_command("XADD", STREAM, "1-0", "1", parcel.lines_of([said("one")]))
        client.hset(META, mapping={"offset": 1, "closed": 1})

    wait_until(lambda: p2.heard.orders)
    assert p2.heard.orders == [End()]
    assert p2.texts == ["one"]
    with pytest.raises(ChannelClosed):
        p2.say("two")


def test_a_server_that_hangs_for_a_while_costs_nothing(p1: Process, p2: Process, valkey: RedisServer):
    p1.say("one")
    valkey.pause()
    saying = [attempt(process.say, process.name) for process in (p1, p2)]
    gevent.idle()
    valkey.resume()

    assert sorted(offset for one in saying for offset in one.get(timeout=3)) == [2, 3]
    wait_until(lambda: settled(p1, p2))
    assert p1.heard.events == p2.heard.events
    assert len(p1.texts) == 3
