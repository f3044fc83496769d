"""What the scripts leave in the Redis, and what they say of odd batches and large numbers."""

from datetime import timedelta

import pytest

from chat.errors import BrokerUnavailable
from chat.event import LOGGED, IsTyping, Joined, Left, Message, Published, User, Whisper
from chat.orders import End
from chat.registry import ChannelRecord
from chat.testing import TurnedClock
from tests.chat.broker.processes import LEAP, META, STREAM, Process, Start, archived, attempt, said, settled, unanswered
from tests.chat.contracts.hearing import DATE, LOBBY, say
from tests.chat.contracts.troubled import Troubled
from tests.chat.steps import wait_until
from tests.valkey import RedisServer

ADA = User("ada")


def test_of_a_batch_only_what_is_new_is_logged_and_heard_and_in_its_order(p1: Process, p2: Process):
    p1.say("k1", "k2")
    events: list[Published] = [
        Joined(ADA, DATE),
        said("k2"),
        Whisper("ada", "bob", "psst", DATE),
        said("k3"),
        *say("one"),
        said("k1"),
        said("k3"),
        IsTyping(ADA),
        *say("two"),
        Left("ada", DATE),
        said("k1", "bob"),
    ]

    fates = list(p1.broker.publish(LOBBY.key, events))

    assert fates == [0, 2, 0, 3, 4, 1, 3, 0, 5, 0, 6]
    wait_until(lambda: settled(p1, p2))
    heard = p2.heard.events[2:]
    assert [type(event) for event in heard] == [Joined, Whisper, Message, Message, IsTyping, Message, Left, Message]
    assert [event.text for event in heard if isinstance(event, LOGGED)] == ["k3", "one", "two", "k1"]
    assert [event.offset for event in heard if isinstance(event, LOGGED)] == [3, 4, 5, 6]


def test_what_is_not_logged_is_told_beside_what_was_said_before(p1: Process):
    p1.say("k1")

    assert list(p1.broker.publish(LOBBY.key, [Joined(ADA, DATE), said("k1"), Left("ada", DATE)])) == [0, 1, 0]
    wait_until(lambda: len(p1.heard.events) == 3)
    assert p1.look()[1] == 1


def test_a_batch_of_which_everything_was_said_before_changes_nothing(p1: Process, p2: Process):
    p1.say("one", "two")

    assert p2.say("two", "one", "two") == [2, 1, 2]
    assert p2.say("three") == [3]
    assert p2.texts == ["one", "two", "three"]


@pytest.mark.parametrize("size", [1000, 1001, 2500])
def test_a_batch_may_be_of_any_size(p1: Process, p2: Process, size):
    texts = [f"{number}\n\u2028\u0085\r“{'x' * (number % 100)}" for number in range(size)]

    assert p1.say(*texts) == list(range(1, size + 1))
    wait_until(lambda: p2.last == size)
    assert p2.texts == texts
    assert p2.say(*reversed(texts)) == list(range(size, 0, -1))
    assert p2.last == size


@pytest.mark.parametrize("offset", [(1 << 31) - 2, 1 << 40, (1 << 52) + 1])
def test_offsets_are_exact_however_large(start: Start, offset):
    record = ChannelRecord("lobby", "e1", "l1", offset)
    p1 = start("p1").open(record)
    base = offset + LEAP

    assert p1.place.offset == base
    assert p1.say("one", "two") == [base + 1, base + 2]
    assert p1.say("two", "three") == [base + 2, base + 3]
    assert p1.broker.said(LOBBY.key, "ada", "three") == base + 3
    p2 = start("p2").open(record)
    assert p2.place.offset == base + 3
    assert [event.offset for event in p2.broker.recent(LOBBY.key, base, 10)] == [base + 1, base + 2, base + 3]


@pytest.mark.logs_errors
def test_what_was_said_but_not_answered_has_its_offset_when_it_is_said_again(p1: Process, p2: Process, valkey: RedisServer):
    p1.say("one")
    with unanswered(valkey, p1):
        saying = attempt(p1.say, "two", "three")
    assert isinstance(saying.get(timeout=2), BrokerUnavailable)
    wait_until(lambda: p1.bus.is_up)
    wait_until(lambda: p1.look()[1] == 3)

    assert p1.say("four", "three", "two") == [4, 3, 2]
    wait_until(lambda: settled(p1, p2))
    assert p1.texts == p2.texts == ["one", "two", "three", "four"]


def test_an_id_is_known_where_the_clock_is_some_seconds_ahead_or_behind(start: Start):
    """Whatever the time of day."""
    clocks = [TurnedClock(DATE + timedelta(seconds=difference)) for difference in (0, 5)]
    p1, p2 = (start(f"p{number}", clock=clock).open() for number, clock in enumerate(clocks, 1))

    for number in range(0, 640, 2):
        for process, other in ((p1, p2), (p2, p1)):
            text = f"{process.name} {number}"
            offsets = process.say(text)
            assert other.say(text) == offsets, f"{number} s later"
        for clock in clocks:
            clock.advance(2)


def test_the_ids_go_after_a_while(p1: Process, valkey: RedisServer):
    p1.say("one")

    [ids] = valkey.ask("KEYS", "*:ids:*")
    assert 600 < valkey.ask("TTL", ids) <= 660


def test_the_stream_keeps_about_as_much_as_a_process(start: Start, valkey: RedisServer):
    p1 = start("p1", recent=50).open()
    for number in range(500):
        p1.say(str(number))

    assert 50 <= valkey.ask("XLEN", STREAM.decode()) < 250


def test_it_keeps_all_that_is_not_archived(start: Start, valkey: RedisServer, clock):
    archive = Troubled(clock)
    archive.go.clear()
    p1 = start("p1", archive, recent=50).open()
    for number in range(500):
        p1.say(str(number))

    assert valkey.ask("XLEN", STREAM.decode()) == 500
    archive.go.set()
    wait_until(lambda: p1.look()[2] == 500)
    assert archived(archive) == [str(number) for number in range(500)]
    p1.say("one more")
    assert valkey.ask("XLEN", STREAM.decode()) < 250


def test_when_too_much_waits_for_the_archive_nothing_more_is_logged(start: Start, clock):
    archive = Troubled(clock)
    archive.go.clear()
    p1, p2 = (start(name, archive, unarchived=10).open() for name in ("p1", "p2"))
    p1.say(*map(str, range(9)))
    p2.say("9", "10")

    for process in (p1, p2):
        with pytest.raises(BrokerUnavailable):
            process.say("11")
    assert list(p1.broker.publish(LOBBY.key, [Whisper("ada", "bob", "psst", DATE)])) == [0]
    archive.go.set()
    wait_until(lambda: p1.look()[2] == 11)
    assert p2.say("11") == [12]


def ttls(server: RedisServer) -> list[int]:
    return [server.ask("TTL", key.decode()) for key in (META, STREAM)]


def test_of_a_channel_that_nobody_has_loaded_the_stream_goes_and_the_place_stays(p1: Process, p2: Process, valkey):
    p1.say("one")
    p1.close()
    p2.close()

    wait_until(lambda: 0 < ttls(valkey)[1] <= 3600)
    assert ttls(valkey)[0] == -1
    p2.open()
    assert ttls(valkey) == [-1, -1]


def test_whoever_says_something_keeps_the_stream(p1: Process, p2: Process, valkey):
    p1.say("one")
    p1.close()
    wait_until(lambda: ttls(valkey)[1] > 0)
    p2.say("two")

    assert ttls(valkey) == [-1, -1]


def test_of_a_channel_that_has_ended_all_goes_whoever_still_asks_for_it(p1: Process, start: Start, valkey: RedisServer):
    p1.say("one")
    p1.broker.tell(LOBBY.key, End())
    with pytest.raises(Exception, match="is closed"):
        start("p2").open()

    assert len(valkey.ask("KEYS", "*")) == 3
    assert all(0 < valkey.ask("TTL", key) <= 3600 for key in valkey.ask("KEYS", "*"))
