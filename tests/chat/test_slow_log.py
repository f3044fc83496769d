"""A log that takes its time: whoever says something waits for it, and nothing else does."""

from collections.abc import Iterator
from contextlib import suppress

import gevent
import pytest

from chat import ChatChannel
from chat.broker import MemoryBroker
from chat.closing import restart
from chat.errors import BrokerUnavailable, ChannelBusy, IdleChannel
from chat.event import Ack, IsTyping, Joined, Left, Message, Refusal, Welcome, Whisper
from chat.floor import SHARE
from chat.member import Resume
from chat.requests import Edit, Typing
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive
from tests.chat.steps import enter, enter_directly, hear_until, never_yields, wait_until


@pytest.fixture
def archive() -> Iterator[GatedArchive]:
    archive = GatedArchive()
    yield archive
    archive.gate.set()


@pytest.fixture
def slow(make_server, archive):
    return make_server(backends={"archive": archive})


@pytest.fixture
def lobby(slow) -> ChatChannel:
    return slow.create_channel("lobby")


@pytest.fixture
def ada(lobby) -> DirectFake:
    conn = enter_directly(lobby, "ada")
    lobby.flush()
    return conn


def hold(archive: GatedArchive, channel: ChatChannel, text: str = "held") -> None:
    """Have the log busy with a message."""
    archive.gate.clear()
    archive.is_waiting.clear()
    channel.new_system_broadcast(text)
    assert archive.is_waiting.wait(2)


def come_back(channel: ChatChannel, offset: int) -> DirectFake:
    conn = DirectFake()
    channel.reserve(Grant("back", channel.name)).join(conn, wait=True, resume=Resume(channel.epoch, offset, 1000))
    return conn


def texts(conn: DirectFake) -> list[str]:
    return [event.text for event in conn.events if isinstance(event, Message)]


class TestWhatGoesOn:
    def test_who_comes_is_listed_and_welcomed_and_hears_then_what_was_held(self, lobby, archive, ada):
        lobby.new_system_broadcast("before")
        lobby.flush()
        hold(archive, lobby)
        bob = enter_directly(lobby, "bob")

        (welcome,) = bob.wait_for(Welcome)
        assert (welcome.offset, welcome.count) == (1, 2)
        assert lobby.get_users() == ["ada", "bob"]
        assert texts(bob) == []

        archive.gate.set()
        assert [event.offset for event in bob.wait_for(Message)] == [2]
        assert [event.user.username for event in ada.wait_for(Joined, 2)] == ["ada", "bob"]

    def test_who_comes_can_speak(self, lobby, archive):
        hold(archive, lobby)
        bob = enter_directly(lobby, "bob")
        bob.wait_for(Welcome)
        bob.say("me too", id="b-1")
        archive.gate.set()

        assert bob.wait_for(Ack) == [Ack("b-1", 2)]

    def test_that_somebody_types_is_told(self, lobby, archive, ada):
        bob = enter_directly(lobby, "bob")
        lobby.flush()
        hold(archive, lobby)
        bob.ask(Typing())

        assert [event.user.username for event in ada.wait_for(IsTyping)] == ["bob"]

    def test_a_leave_frees_the_name(self, lobby, archive, ada):
        hold(archive, lobby)
        ada.hang_up()
        enter_directly(lobby, "ada").wait_for(Welcome)

        assert lobby.get_users() == ["ada"]

    def test_a_user_can_be_removed(self, lobby, archive, ada):
        hold(archive, lobby)
        with gevent.Timeout(2):
            lobby.remove_user("ada")

        assert lobby.get_users() == []

    def test_members_are_probed(self, lobby, archive, ada, clock, slow):
        hold(archive, lobby)
        clock.advance(slow.conf.channel_idle_timeout)
        wait_until(lambda: ada.probes == 1)

    def test_who_comes_back_gets_what_is_at_hand(self, lobby, archive, ada):
        lobby.new_system_broadcast("one")
        lobby.flush()
        hold(archive, lobby)
        back = come_back(lobby, 0)

        assert back.wait_for(Welcome)[0].recovered
        assert texts(back) == ["one"]
        archive.gate.set()
        assert [event.offset for event in back.wait_for(Message, 2)] == [1, 2]

    def test_what_cannot_be_said_is_refused_at_once(self, lobby, archive, ada):
        hold(archive, lobby)
        ada.say("psst", id="a-1", to="nobody")

        assert [event.code for event in ada.wait_for(Refusal)] == ["not_here"]

    def test_other_channels_go_on_with_a_log_and_without_one(self, slow, make_server, lobby, archive):
        class Partly(GatedArchive):
            """Holds what is written to one log."""

            def append(self, log, events):
                if any(event.text == "held" for event in events if isinstance(event, Message)):
                    super().append(log, events)
                else:
                    super(GatedArchive, self).append(log, events)

        partly = Partly()
        server = make_server(backends={"archive": partly})
        held, attic = server.create_channel("held"), server.create_channel("attic")
        bob = enter_directly(attic, "bob")
        hold(partly, held)
        bob.say("hello", id="b-1")
        volatile = enter(make_server().create_channel("lobby"), "cy")
        volatile.send("hello")

        assert bob.wait_for(Ack) == [Ack("b-1", 1)]
        hear_until(volatile, "cy: hello")
        partly.gate.set()

    def test_publishing_never_yields_for_who_speaks(self, lobby, archive):
        archive.gate.clear()
        with never_yields():
            lobby.new_system_broadcast("one")


class TestWhatWaits:
    def test_when_it_is_let_go_all_is_heard_in_order_and_acked(self, lobby, archive, ada):
        bob = enter_directly(lobby, "bob")
        lobby.flush()
        hold(archive, lobby)
        for number in range(5):
            ada.say(f"a{number}", id=f"a-{number}")
            bob.say(f"b{number}", id=f"b-{number}")
            gevent.idle()
        archive.gate.set()

        said = [f"{who}{number}" for number in range(5) for who in "ab"]
        assert [event.text for event in ada.wait_for(Message, 11)][1:] == said
        assert ada.wait_for(Ack, 5) == [Ack(f"a-{number}", 2 * number + 2) for number in range(5)]
        assert bob.wait_for(Ack, 5) == [Ack(f"b-{number}", 2 * number + 3) for number in range(5)]

    def test_what_gathers_meanwhile_is_one_batch(self, lobby, archive, ada):
        hold(archive, lobby)
        for number in range(20):
            ada.say(str(number))
            gevent.idle()
        archive.gate.set()
        ada.wait_for(Message, 21)

        assert archive.batches == [1, 20]

    def test_whispers_and_who_comes_and_goes_keep_their_place_behind_it(self, lobby, archive, ada):
        bob = enter_directly(lobby, "bob")
        lobby.flush()
        hold(archive, lobby)
        bob.say("psst", to="ada")
        bob.say("bye")
        gevent.idle()
        bob.hang_up()
        gevent.idle()
        enter_directly(lobby, "cy")
        before = len(ada.events)
        gevent.idle()
        assert ada.events[before:] == []
        archive.gate.set()
        ada.wait_for(Joined, 3)

        assert [type(event) for event in ada.events[before:]] == [Message, Whisper, Message, Left, Joined]

    def test_nothing_is_acked_and_nothing_heard_before(self, lobby, archive, ada):
        hold(archive, lobby)
        ada.say("hello", id="a-1")
        gevent.idle()

        assert not any(isinstance(event, Ack | Message) for event in ada.events)
        archive.gate.set()
        ada.wait_for(Ack)

    def test_flush_waits_for_it(self, lobby, archive, ada):
        hold(archive, lobby)
        flushing = gevent.spawn(lobby.flush)
        gevent.idle()
        assert not flushing.ready()

        archive.gate.set()
        flushing.get(timeout=2)
        assert texts(ada) == ["held"]

    def test_flush_does_not_wait_for_what_is_said_behind_it(self, lobby, archive):
        hold(archive, lobby)
        flushing = gevent.spawn(lobby.flush)
        gevent.idle()
        archive.gate.set()
        while not flushing.ready():  # there is always something under way
            lobby.new_system_broadcast("more")
            gevent.sleep(0)
            assert lobby.offset < 100

    def test_a_channel_with_something_under_way_is_not_idle(self, lobby, archive, clock, slow):
        hold(archive, lobby)
        clock.advance(2 * slow.conf.channel_idle_timeout)
        gevent.idle()
        assert not lobby.is_closed

        archive.gate.set()
        lobby.flush()
        clock.advance(2 * slow.conf.channel_idle_timeout)
        wait_until(lambda: lobby.is_closed)
        with pytest.raises(IdleChannel):
            lobby.new_system_broadcast("too late")


class TestBounds:
    def test_edits_and_deletes_count_too(self, lobby, archive, ada):
        hold(archive, lobby)
        for _ in range(100):
            ada.ask(Edit(1, "x"))
            gevent.idle()

        assert ada.unread == 100 - SHARE
        archive.gate.set()
        wait_until(lambda: not ada.unread)

    def test_however_many_speak_what_is_gathered_has_a_bound(self, make_server, archive):
        lobby = make_server(backends={"archive": archive}, inbox=50).create_channel("lobby")
        members = [enter_directly(lobby, f"user {number}") for number in range(20)]
        lobby.flush()
        hold(archive, lobby)
        for _ in range(100):
            for member in members:
                member.say("flood")
            gevent.idle()

        assert sum(100 - member.unread for member in members) <= 50 + len(members)
        assert all(member.paused for member in members)

        archive.gate.set()
        members[0].wait_for(Message, 2001, timeout=10)
        assert max(archive.batches) <= 50 + len(members)

    def test_a_hook_may_go_past_it_and_not_without_end(self, make_server, archive):
        class Talker:
            said = 0

            def on_connect(self, channel, username):
                with suppress(ChannelBusy):
                    for _ in range(1000):
                        channel.new_system_broadcast("hello")
                        self.said += 1

        talker = Talker()
        lobby = make_server(backends={"archive": archive}, inbox=5, controller=talker).create_channel("lobby")
        hold(archive, lobby)
        enter_directly(lobby, "ada")
        wait_until(lambda: talker.said)

        assert 30 <= talker.said <= 50
        archive.gate.set()
        lobby.flush()

    def test_who_comes_and_goes_all_the_time_is_folded(self, lobby, archive, ada, clock):
        hold(archive, lobby)
        for _ in range(300):
            enter_directly(lobby, "bob").hang_up()
            gevent.idle()
        gathered = lobby._loop.inbox.load
        archive.gate.set()
        clock.advance(1)
        lobby.flush()

        assert gathered < 110
        assert lobby.get_users() == ["ada"]
        assert sum(isinstance(event, Joined | Left) for event in ada.events) < 110


@pytest.mark.logs_errors
class TestGivingUp:
    """A database that hangs while the server stops."""

    def test_what_is_not_in_the_log_is_refused_to_be_tried_again(self, slow, lobby, archive, ada):
        hold(archive, lobby)
        ada.say("one", id="a-1")
        gevent.idle()
        ada.say("two", id="a-2")
        slow.give_up()

        refusals = ada.wait_for(Refusal, 2)
        assert [(event.id, event.code, event.retry) for event in refusals] == [
            (id, "broker_unavailable", True) for id in ("a-1", "a-2")
        ]

    def test_so_is_what_is_said_afterwards(self, slow, lobby, archive, ada):
        slow.give_up()
        ada.say("one", id="a-1")

        assert [event.code for event in ada.wait_for(Refusal)] == ["broker_unavailable"]

    def test_what_the_log_takes_after_all_is_not_acked(self, slow, lobby, archive, ada):
        hold(archive, lobby)
        ada.say("one", id="a-1")
        gevent.idle()
        slow.give_up()
        archive.gate.set()
        lobby.flush()

        assert not any(isinstance(event, Ack) for event in ada.events)
        assert len(ada.wait_for(Refusal)) == 1

    def test_of_a_batch_under_way_nothing_more_goes_into_the_log(self, slow, lobby, archive, ada):
        archive.gate.clear()
        ada.say("one", id="a-1")
        ada.ask(Edit(1, "new", id="e-1"))  # which cannot be judged before the message is there
        gevent.idle()
        slow.give_up()
        archive.gate.set()
        wait_until(lambda: not lobby.may_grow)

        assert archive.batches == [1]

    def test_nobody_waits_for_it_any_longer(self, slow, lobby, archive, ada):
        hold(archive, lobby)
        flushing = gevent.spawn(lobby.flush)
        gevent.idle()
        slow.give_up()

        flushing.get(timeout=2)

    def test_a_stop_keeps_its_time_and_refuses_before_it_says_goodbye(self, slow, lobby, archive, ada):
        hold(archive, lobby)
        ada.say("one", id="a-1")
        with gevent.Timeout(2):
            slow.stop(restart(1), patience=0.1)

        assert [event.code for event in ada.events if isinstance(event, Refusal)] == ["broker_unavailable"]
        assert ada.closing is not None
        assert lobby.is_closed

    def test_an_edit_of_the_application_that_waits_is_told(self, slow, lobby, archive):
        lobby.new_system_broadcast("helo")
        lobby.flush()
        archive.gate.clear()
        editing = gevent.spawn(lobby.edit_message, 1, "hello")
        gevent.idle()
        slow.give_up()

        with pytest.raises(BrokerUnavailable):
            editing.get(timeout=2)


@pytest.mark.logs_errors
def test_a_broker_that_forgets_a_channel_wedges_nobody(make_server, archive):
    broker = MemoryBroker(archive)
    lobby = make_server(backends={"archive": archive, "broker": broker}).create_channel("lobby")
    ada = enter_directly(lobby, "ada")
    lobby.flush()
    broker.close(f"lobby/{lobby.epoch}")
    for number in (1, 2):
        ada.ask(Edit(1, "new", id=f"e-{number}"))
    refused = ada.wait_for(Refusal, 2)

    assert [refusal.id for refusal in refused] == ["e-1", "e-2"]
    with gevent.Timeout(2):
        lobby.flush()


class Dear(DirectFake):
    """One to whom it takes some 5 ms to write, as to a large room."""

    def write(self, data: bytes) -> None:
        sum(range(400_000))
        super().write(data)


class OneTurn(GatedArchive):
    """Takes one turn of the hub for an append."""

    def append(self, log, events):
        gevent.sleep(0)
        super().append(log, events)


class OneOnly(GatedArchive):
    """Hangs after each append."""

    def append(self, log, events):
        super().append(log, events)
        self.gate.clear()


class TestLargeRooms:
    """What they write costs the same however much it is: see the comparison `archive` of the benchmark."""

    def fill(self, make_server, archive: GatedArchive) -> tuple[ChatChannel, DirectFake]:
        lobby = make_server(backends={"archive": archive}).create_channel("lobby")
        dear = Dear(EventFormat())
        lobby.connect_user("dear", dear)
        lobby.new_system_broadcast("first")
        lobby.flush()
        archive.gate.set()
        dear.writes.clear()
        return lobby, dear

    def say_two(self, lobby: ChatChannel, archive: GatedArchive) -> None:
        """The second is said while the first one is on its way to the log."""
        archive.gate.clear()
        lobby.new_system_broadcast("one")
        wait_until(archive.is_waiting.is_set)
        lobby.new_system_broadcast("two")
        gevent.idle()

    def test_what_is_on_its_way_to_the_log_is_written_with_what_is_in_it(self, make_server):
        archive = OneTurn()
        lobby, dear = self.fill(make_server, archive)
        self.say_two(lobby, archive)
        archive.gate.set()
        lobby.flush()

        assert archive.batches[-2:] == [1, 1]
        assert len(dear.writes) == 1
        assert [event.text for event in dear.wait_for(Message, 2)] == ["one", "two"]

    def test_and_waited_for_no_longer_than_that_is_worth(self, make_server):
        archive = OneOnly()
        lobby, dear = self.fill(make_server, archive)
        self.say_two(lobby, archive)
        archive.gate.set()

        assert [event.text for event in dear.wait_for(Message)] == ["one"]
        archive.gate.set()
        assert [event.text for event in dear.wait_for(Message, 2)] == ["one", "two"]
