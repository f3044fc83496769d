"""Coming back where one stopped: no gap, no duplicate, and the truth about it."""

import gevent
import pytest

from chat import ChatChannel
from chat.broker import MemoryBroker
from chat.errors import BrokerUnavailable
from chat.event import Ack, Joined, Left, Message, Welcome, Whisper
from chat.member import Resume
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive
from tests.chat.steps import enter, enter_directly, wait_until


def say(channel: ChatChannel, *texts: str) -> None:
    for text in texts:
        channel.new_broadcast(text, "bob")
    channel.flush()


def come_back(channel: ChatChannel, offset: int, *, epoch: str | None = None, limit: int = 1000) -> DirectFake:
    conn = DirectFake(EventFormat())
    resume = Resume(channel.epoch if epoch is None else epoch, offset, limit)
    channel.reserve(Grant("ada", channel.name)).join(conn, wait=True, resume=resume)
    channel.flush()
    return conn


def missed(conn: DirectFake) -> list[str]:
    return [event.text for event in conn.events if isinstance(event, Message)]


def welcome(conn: DirectFake) -> Welcome:
    assert isinstance(conn.events[0], Welcome)
    return conn.events[0]


def test_what_was_said_meanwhile_follows_the_welcome(lobby):
    say(lobby, "one", "two", "three")
    ada = come_back(lobby, 1)

    assert welcome(ada).recovered is True
    assert welcome(ada).offset == 3
    assert [type(event) for event in ada.events] == [Welcome, Message, Message, Joined]
    assert [(event.offset, event.text) for event in ada.events[1:3]] == [(2, "two"), (3, "three")]


def test_what_is_said_afterwards_follows_without_gap_or_duplicate(lobby):
    say(lobby, "one", "two")
    ada = come_back(lobby, 1)
    say(lobby, "three")

    assert [(event.offset, event.text) for event in ada.wait_for(Message, 2)] == [(2, "two"), (3, "three")]


def test_who_missed_nothing_has_recovered(lobby):
    say(lobby, "one")
    ada = come_back(lobby, 1)

    assert welcome(ada).recovered is True
    assert missed(ada) == []


def test_who_dropped_before_anything_was_said_has_recovered(lobby):
    ada = come_back(lobby, 0)

    assert welcome(ada).recovered is True
    assert missed(ada) == []


def test_who_dropped_before_anything_was_said_gets_all_of_it(lobby):
    say(lobby, "one", "two")

    assert missed(come_back(lobby, 0)) == ["one", "two"]


def test_whoever_does_not_come_back_has_not_recovered(lobby):
    say(lobby, "one")
    ada = enter_directly(lobby, "ada")
    lobby.flush()

    assert welcome(ada).recovered is False
    assert missed(ada) == []


@pytest.mark.parametrize("offset", [3, 4, 1 << 62])
def test_an_offset_beyond_the_end_is_not_recovered(lobby, offset):
    say(lobby, "one", "two")
    ada = come_back(lobby, offset)

    assert welcome(ada).recovered is False
    assert welcome(ada).offset == 2
    assert missed(ada) == []


@pytest.mark.parametrize("epoch", ["", "nonsense", "0" * 16])
def test_another_epoch_is_not_recovered(lobby, epoch):
    say(lobby, "one", "two")
    ada = come_back(lobby, 1, epoch=epoch)

    assert welcome(ada).recovered is False
    assert welcome(ada).epoch == lobby.epoch
    assert missed(ada) == []


def test_a_channel_that_was_closed_and_made_again_is_another_one(server, lobby):
    say(lobby, "one")
    epoch = lobby.epoch
    lobby.close()
    again = server.create_channel("lobby")
    say(again, "something else")

    assert welcome(come_back(again, 0, epoch=epoch)).recovered is False


def test_a_gap_as_large_as_the_limit_is_filled(lobby):
    say(lobby, "one", "two", "three")
    ada = come_back(lobby, 0, limit=3)

    assert welcome(ada).recovered is True
    assert missed(ada) == ["one", "two", "three"]


def test_a_gap_over_the_limit_is_not_filled_at_all(lobby):
    say(lobby, "one", "two", "three")
    ada = come_back(lobby, 0, limit=2)

    assert welcome(ada).recovered is False
    assert missed(ada) == []


def test_what_is_no_longer_recent_and_not_archived_is_not_recovered(make_server):
    lobby = make_server(backends={"broker": MemoryBroker(recent=5)}).create_channel("lobby")
    say(lobby, *map(str, range(10)))

    assert welcome(come_back(lobby, 4)).recovered is False
    lobby.remove_user("ada")
    assert missed(come_back(lobby, 5)) == ["5", "6", "7", "8", "9"]


def test_what_is_no_longer_recent_comes_from_the_archive(make_server):
    lobby = make_server(backends={"broker": MemoryBroker(GatedArchive(), recent=5)}).create_channel("lobby")
    say(lobby, *map(str, range(10)))
    ada = come_back(lobby, 2)

    assert welcome(ada).recovered is True
    assert missed(ada) == ["2", "3", "4", "5", "6", "7", "8", "9"]


def test_what_is_said_while_the_gap_is_read_comes_behind_it(make_server):
    archive = GatedArchive()
    lobby = make_server(backends={"broker": MemoryBroker(archive, recent=1)}).create_channel("lobby")
    say(lobby, "one", "two", "three")
    archive.gate.clear()
    coming = gevent.spawn(come_back, lobby, 0)
    assert archive.is_waiting.wait(2)
    lobby.new_broadcast("four", "bob")
    gevent.idle()
    archive.gate.set()
    ada = coming.get(timeout=2)

    assert [event.offset for event in ada.wait_for(Message, 4)] == [1, 2, 3, 4]


@pytest.mark.logs_errors
def test_a_gap_that_cannot_be_read_is_not_recovered_but_costs_no_join(make_server):
    archive = GatedArchive()
    lobby = make_server(backends={"broker": MemoryBroker(archive, recent=1)}).create_channel("lobby")
    say(lobby, "one", "two", "three")
    archive.fault = BrokerUnavailable()
    ada = come_back(lobby, 0)

    assert welcome(ada).recovered is False
    assert missed(ada) == []


def test_joins_leaves_and_whispers_are_not_said_again(lobby):
    enter(lobby, "cy")
    say(lobby, "one")
    lobby.new_whisper("psst", "bob", "cy")
    lobby.remove_user("cy")
    ada = come_back(lobby, 0)

    assert not any(isinstance(event, Whisper | Left) for event in ada.events)
    assert missed(ada) == ["one"]


def test_every_drop_in_a_lively_channel_is_healed(lobby):
    """A member comes and goes while others speak, and in the end has heard everything once."""
    heard: list[int] = []
    offset = 0
    speaker = enter_directly(lobby, "bob")
    for turn in range(30):
        for number in range(turn % 4):
            speaker.say(f"{turn}.{number}", id=f"b-{turn}-{number}")
        conn = DirectFake(EventFormat())
        lobby.reserve(Grant("ada", "lobby")).join(conn, wait=turn % 2 == 0, resume=Resume(lobby.epoch, offset, 1000))
        speaker.say(f"{turn}.live")
        (greeting,) = conn.wait_for(Welcome)
        assert greeting.recovered
        if turn % 3:
            lobby.flush()
        conn.hang_up()
        heard += [event.offset for event in conn.events if isinstance(event, Message)]
        offset = max(heard, default=0)
    lobby.flush()
    heard += [event.offset for event in come_back(lobby, offset).events if isinstance(event, Message)]

    assert heard == list(range(1, lobby.offset + 1))
    wait_until(lambda: len(speaker.wait_for(Ack)) == sum(turn % 4 for turn in range(30)))
