"""Coming back where one stopped: no gap, no duplicate, and the truth about it."""

import gevent
import pytest

from chat import ChatChannel
from chat.broker import MemoryBroker
from chat.errors import BrokerUnavailable
from chat.event import Ack, Deleted, Edited, Joined, Left, Message, Welcome, Whisper
from chat.member import Resume
from chat.reader import AT_ONCE
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


def logged(conn: DirectFake) -> list[tuple[str, int]]:
    return [(type(event).__name__, event.offset) for event in conn.events if isinstance(event, Message | Edited | Deleted)]


def test_edits_and_deletes_follow_with_the_messages(lobby):
    say(lobby, "one", "two", "three")
    lobby.edit_message(1, "uno")
    lobby.delete_message(2)
    ada = come_back(lobby, 1)

    assert logged(ada) == [("Message", 2), ("Message", 3), ("Edited", 4), ("Deleted", 5)]
    assert missed(ada) == ["", "three"]
    assert welcome(ada).offset == 5


class TestFromTheArchive:
    """The gap is larger than the recent log: it is read beside, by a greenlet of its own."""

    @pytest.fixture
    def archive(self) -> GatedArchive:
        return GatedArchive()

    @pytest.fixture
    def lobby(self, make_server, archive):
        lobby = make_server(recent_events=3, backends={"archive": archive}).create_channel("lobby")
        say(lobby, *map(str, range(1, 9)))
        return lobby

    def reading(self, lobby, archive, user: str = "ada", *, limit: int = 1000) -> DirectFake:
        """Come back to the beginning, and be held in the middle of reading."""
        archive.read_gate.clear()
        archive.is_waiting.clear()
        conn = DirectFake()
        lobby.reserve(Grant(user, "lobby")).join(conn, resume=Resume(lobby.epoch, 0, limit))
        assert archive.is_waiting.wait(2)
        return conn

    def test_edits_and_deletes_come_from_there_too(self, lobby):
        lobby.edit_message(1, "uno")
        lobby.delete_message(2)
        say(lobby, "nine", "ten", "eleven")
        ada = come_back(lobby, 0)

        assert logged(ada)[8:10] == [("Edited", 9), ("Deleted", 10)]
        assert missed(ada)[:3] == ["1", "", "3"]
        assert [offset for _, offset in logged(ada)] == list(range(1, 14))

    def test_nobody_else_waits_for_it(self, lobby, archive):
        ada = self.reading(lobby, archive)
        bob = enter_directly(lobby, "bob")
        bob.say("hello", id="b-1")
        near = DirectFake()
        lobby.reserve(Grant("near", "lobby")).join(near, wait=True, resume=Resume(lobby.epoch, 7, 1000))

        assert bob.wait_for(Ack) == [Ack("b-1", 9)]
        assert welcome(near).recovered
        assert ada.events == []
        assert lobby.get_users() == ["bob", "near"]
        archive.read_gate.set()
        assert [event.offset for event in ada.wait_for(Message, 9)] == list(range(1, 10))

    def test_what_is_said_meanwhile_is_taken_from_the_recent_log(self, lobby, archive):
        ada = self.reading(lobby, archive)
        say(lobby, "nine", "ten")
        archive.read_gate.set()
        say(lobby, "eleven")

        assert [event.offset for event in ada.wait_for(Message, 11)] == list(range(1, 12))
        assert welcome(ada).recovered

    def test_when_more_is_said_meanwhile_than_is_recent_it_is_read_again(self, lobby, archive):
        ada = self.reading(lobby, archive)
        say(lobby, *map(str, range(9, 29)))
        archive.read_gate.set()

        assert [event.offset for event in ada.wait_for(Message, 28)] == list(range(1, 29))
        assert welcome(ada).recovered

    def test_when_it_happens_again_the_truth_is_told(self, lobby, archive):
        ada = self.reading(lobby, archive)
        for first in (9, 29):
            say(lobby, *map(str, range(first, first + 20)))
            archive.is_waiting.clear()
            archive.read_gate.set()
            archive.read_gate.clear()  # who has waited goes on, and is held when reading again
            if first == 9:
                assert archive.is_waiting.wait(2)
        ada.wait_for(Welcome)

        assert not welcome(ada).recovered
        assert missed(ada) == []
        assert welcome(ada).offset == 48

    def test_when_the_gap_grows_over_the_limit_meanwhile_it_is_not_recovered(self, lobby, archive):
        ada = self.reading(lobby, archive, limit=10)
        say(lobby, "nine", "ten", "eleven")
        archive.read_gate.set()
        ada.wait_for(Welcome)

        assert not welcome(ada).recovered
        assert missed(ada) == []

    @pytest.mark.parametrize(("offset", "limit"), [(0, 7), (9, 1000), (2**53 - 1, 1000)])
    def test_a_gap_over_the_limit_and_one_beyond_the_end_are_not_recovered(self, lobby, offset, limit):
        ada = come_back(lobby, offset, limit=limit)

        assert not welcome(ada).recovered
        assert missed(ada) == []

    @pytest.mark.logs_errors
    @pytest.mark.parametrize("fault", [BrokerUnavailable(), RuntimeError("on purpose")])
    def test_when_it_cannot_be_read_that_costs_no_join(self, lobby, archive, fault):
        archive.fault = fault
        ada = come_back(lobby, 0)

        assert not welcome(ada).recovered
        assert lobby.get_users() == ["ada"]
        archive.fault = None

    def test_who_hangs_up_meanwhile_has_come_and_gone(self, lobby, archive):
        bob = enter_directly(lobby, "bob")
        ada = self.reading(lobby, archive)
        ada.hang_up()
        archive.read_gate.set()

        assert [event.username for event in bob.wait_for(Left)] == ["ada"]
        assert [event.user.username for event in bob.wait_for(Joined)] == ["bob", "ada"]
        assert lobby.get_users() == ["bob"]

    def test_a_channel_that_ends_meanwhile_lets_go_of_who_waits(self, lobby, archive):
        archive.read_gate.clear()
        conn = DirectFake()
        member = lobby.reserve(Grant("ada", "lobby"))
        joining = gevent.spawn(member.join, conn, wait=True, resume=Resume(lobby.epoch, 0, 1000))
        assert archive.is_waiting.wait(2)
        with gevent.Timeout(2):
            lobby.close()

        joining.get(timeout=2)
        assert conn.closing is not None
        assert lobby.get_users() == []

    def test_of_many_who_come_back_at_once_only_some_are_read_for_at_a_time(self, lobby, archive):
        archive.read_gate.clear()
        conns = [DirectFake() for _ in range(30)]
        for number, conn in enumerate(conns):
            lobby.reserve(Grant(f"user {number}", "lobby")).join(conn, resume=Resume(lobby.epoch, 0, 1000))
        gevent.idle()
        archive.read_gate.set()

        for conn in conns:
            assert [event.offset for event in conn.wait_for(Message, 8)] == list(range(1, 9))
        assert archive.most_reading == AT_ONCE
