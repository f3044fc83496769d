"""What members ask over a wire that can answer: acks, refusals, floods."""

from collections import Counter
from time import monotonic

import gevent
import pytest

from chat.errors import BrokerUnavailable, ChannelBusy
from chat.event import Ack, Joined, Left, Message, Refusal, Whisper
from chat.floor import SHARE
from chat.member import EVERYBODY
from chat.outgoing import REMINDER
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive
from tests.chat.steps import enter, enter_directly, hear, hear_until, never_yields, text_of, wait_until


@pytest.fixture
def archive() -> GatedArchive:
    return GatedArchive()


@pytest.fixture
def logged(make_server, archive):
    return make_server(backends={"archive": archive}).create_channel("lobby")


def answers(conn: DirectFake) -> list[Ack | Refusal]:
    return [event for event in conn.events if isinstance(event, Ack | Refusal)]


class TestAcks:
    def test_a_message_is_acked_with_its_offset(self, lobby):
        ada = enter_directly(lobby, "ada")
        lobby.new_system_broadcast("first")
        ada.say("hello", id="a-1")

        assert ada.wait_for(Ack) == [Ack("a-1", 2)]
        assert ada.wait_for(Message, 2)[1].id == "a-1"

    def test_each_of_a_burst_is_acked_with_its_own(self, lobby):
        ada = enter_directly(lobby, "ada")
        for number in range(20):
            ada.say(str(number), id=f"a-{number}")

        assert ada.wait_for(Ack, 20) == [Ack(f"a-{number}", number + 1) for number in range(20)]

    def test_only_who_asked_gets_the_ack(self, lobby):
        ada, bob = enter_directly(lobby, "ada"), enter_directly(lobby, "bob")
        ada.say("hello", id="a-1")
        ada.wait_for(Ack)
        lobby.new_system_broadcast("over")
        bob.wait_for(Message, 2)

        assert answers(bob) == []
        assert [event.id for event in bob.wait_for(Message)] == ["a-1", ""]

    def test_without_an_id_there_is_no_ack(self, lobby):
        ada = enter_directly(lobby, "ada")
        ada.say("hello")
        lobby.new_system_broadcast("over")
        ada.wait_for(Message, 2)

        assert answers(ada) == []

    def test_a_whisper_is_acked_without_an_offset(self, lobby):
        ada = enter_directly(lobby, "ada")
        enter(lobby, "bob")
        ada.say("psst", id="a-1", to="bob")

        assert ada.wait_for(Ack) == [Ack("a-1", None)]
        assert ada.wait_for(Whisper)[0].id == "a-1"

    def test_what_the_encoder_cancelled_is_acked_without_an_offset(self, make_server):
        class Silence:
            def encode(self, channel, date, msg, sender, to):
                return ""

        lobby = make_server(controller=Silence()).create_channel("lobby")
        ada = enter_directly(lobby, "ada")
        ada.say("hello", id="a-1")

        assert ada.wait_for(Ack) == [Ack("a-1", None)]
        assert lobby.offset == 0

    def test_nothing_is_acked_before_it_is_logged(self, logged, archive):
        ada = enter_directly(logged, "ada")
        logged.flush()
        archive.gate.clear()
        ada.say("hello", id="a-1")
        assert archive.is_waiting.wait(2)
        gevent.idle()
        assert answers(ada) == []
        assert not any(isinstance(event, Message) for event in ada.events)

        archive.gate.set()

        assert ada.wait_for(Ack) == [Ack("a-1", 1)]


class TestRefusals:
    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ({"text": "a\0b"}, "bad_text"),
            ({"text": chr(0xD800)}, "bad_text"),
            ({"text": "x" * 4097}, "message_too_big"),
            ({"text": "psst", "to": "ghost"}, "not_here"),
            ({"text": "psst", "to": ""}, "invalid_user"),
            ({"text": "psst", "to": "a\nb"}, "invalid_user"),
        ],
    )
    def test_it_has_a_code_and_the_id_and_nothing_is_said(self, lobby, said, code, clock):
        ada, bob = enter_directly(lobby, "ada"), enter(lobby, "bob")
        ada.say(id="a-1", **said)

        (refusal,) = ada.wait_for(Refusal)

        assert (refusal.id, refusal.code, refusal.retry, refusal.date) == ("a-1", code, False, clock.now())
        assert refusal.message
        lobby.new_system_broadcast("over")
        assert hear_until(bob, "over") == ["bob entered lobby!", "over"]

    def test_without_an_id_it_is_told_too(self, lobby):
        ada = enter_directly(lobby, "ada")
        ada.say("a\0b")

        assert ada.wait_for(Refusal)[0].id == ""

    def test_after_one_the_next_request_is_served(self, lobby):
        ada = enter_directly(lobby, "ada")
        ada.say("a\0b", id="a-1")
        ada.say("fine", id="a-2")

        assert ada.wait_for(Ack) == [Ack("a-2", 1)]

    @pytest.mark.parametrize(
        ("right", "said"), [("publish", {"text": "hello"}), ("whisper", {"text": "psst", "to": "bob"})]
    )
    def test_what_a_member_may_not_do_is_forbidden(self, lobby, right, said):
        enter(lobby, "bob")
        conn = DirectFake(EventFormat())
        lobby.reserve(Grant("ada", "lobby"), EVERYBODY - {right}).join(conn, wait=True)
        conn.say(id="a-1", **said)

        assert conn.wait_for(Refusal)[0].code == "forbidden"
        assert lobby.offset == 0

    def test_one_right_does_without_the_other(self, lobby):
        enter(lobby, "bob")
        conn = DirectFake(EventFormat())
        lobby.reserve(Grant("ada", "lobby"), frozenset({"whisper"})).join(conn, wait=True)
        conn.say("psst", id="a-1", to="bob")

        assert conn.wait_for(Ack) == [Ack("a-1", None)]

    def test_a_plain_client_is_told_in_words(self, lobby):
        ada = enter(lobby, "ada")
        hear(ada)
        ada.send("x" * 4097)

        assert text_of(ada.recv(2)) == "Not sent: the message has 4097 bytes, at most 4096 are allowed"

    def test_it_comes_to_who_asked_alone(self, lobby):
        ada, bob = enter_directly(lobby, "ada"), enter_directly(lobby, "bob")
        ada.say("a\0b", id="a-1")
        ada.wait_for(Refusal)
        lobby.new_system_broadcast("over")
        bob.wait_for(Message)

        assert answers(bob) == []

    def test_refusing_never_yields(self, lobby):
        ada = enter_directly(lobby, "ada")
        wait_until(lambda: ada.started)

        with never_yields():
            ada.say("a\0b", id="a-1")


@pytest.mark.logs_errors
class TestALogThatCannotBeWritten:
    def test_all_who_asked_are_told_to_try_again_and_nobody_hears_it(self, logged, archive):
        ada, bob = enter_directly(logged, "ada"), enter_directly(logged, "bob")
        wait_until(lambda: bob.started)
        archive.fault = BrokerUnavailable()
        ada.say("one", id="a-1")
        bob.say("two", id="b-1")

        for conn, id in ((ada, "a-1"), (bob, "b-1")):
            (refusal,) = conn.wait_for(Refusal)
            assert (refusal.id, refusal.code, refusal.retry) == (id, "broker_unavailable", True)
        assert not any(isinstance(event, Message) for event in ada.events + bob.events)

    def test_it_is_logged_once_in_a_while_however_often_it_is_tried(self, logged, archive, clock, caplog):
        ada = enter_directly(logged, "ada")
        archive.fault = BrokerUnavailable()
        for number in range(3):
            ada.say("one", id=f"a-{number}")
            wait_until(lambda number=number: sum(isinstance(event, Refusal) for event in ada.events) == number + 1)
        assert len(caplog.messages) == 1

        clock.advance(REMINDER + 1)
        ada.say("one", id="a-3")
        wait_until(lambda: len(caplog.messages) == 2)

    def test_when_it_can_be_written_again_all_goes_on_without_a_hole(self, logged, archive):
        ada = enter_directly(logged, "ada")
        archive.fault = BrokerUnavailable()
        ada.say("lost", id="a-1")
        ada.wait_for(Refusal)
        archive.fault = None
        ada.say("kept", id="a-2")

        assert ada.wait_for(Ack) == [Ack("a-2", 1)]
        assert [event.text for event in ada.wait_for(Message)] == ["kept"]

    def test_an_unforeseen_fault_is_told_too(self, logged, archive):
        ada = enter_directly(logged, "ada")
        archive.fault = RuntimeError("on purpose")
        ada.say("lost", id="a-1")

        (refusal,) = ada.wait_for(Refusal)
        assert refusal.id == "a-1"
        assert "on purpose" not in refusal.message

    def test_it_costs_nobody_a_join(self, logged, archive):
        archive.fault = BrokerUnavailable()
        logged.new_system_broadcast("lost")
        ada = enter(logged, "ada")  # in the same batch, behind it

        assert hear(ada) == ["ada entered lobby!"]

    def test_it_takes_no_join_and_no_leave_with_it(self, logged, archive):
        ada, bob = enter_directly(logged, "ada"), enter_directly(logged, "bob")
        logged.flush()
        archive.fault = BrokerUnavailable()
        ada.say("lost")
        ada.hang_up()  # in the same batch
        enter(logged, "cy")

        assert [event.username for event in bob.wait_for(Left)] == ["ada"]
        assert [event.user.username for event in bob.wait_for(Joined, 2)] == ["bob", "cy"]

    def test_it_holds_up_nobody_who_waits(self, logged, archive):
        enter(logged, "ada")
        archive.fault = BrokerUnavailable()
        with gevent.Timeout(2):
            logged.new_system_broadcast("lost")
            logged.remove_user("ada")
            logged.new_system_broadcast("lost too")
            logged.flush()

        assert logged.get_users() == []

    def test_the_channel_can_still_be_closed(self, logged, archive):
        ada = enter_directly(logged, "ada")
        archive.fault = BrokerUnavailable()
        logged.new_system_broadcast("lost")
        with gevent.Timeout(2):
            logged.close()

        assert ada.closing is not None


class TestFloods:
    def test_a_member_fills_its_own_share_and_then_has_to_wait(self, logged, archive):
        ada = enter_directly(logged, "ada")
        logged.flush()
        archive.gate.clear()
        ada.say("on its way to the log")
        assert archive.is_waiting.wait(2)
        for number in range(100):
            ada.say(str(number))

        assert ada.paused
        assert ada.unread == 101 - SHARE

        archive.gate.set()
        assert [event.text for event in ada.wait_for(Message, 101)][1:] == [str(number) for number in range(100)]
        wait_until(lambda: not ada.paused)

    def test_a_flood_of_one_leaves_room_for_the_others(self, logged, archive):
        ada, bob = enter_directly(logged, "ada"), enter_directly(logged, "bob")
        logged.flush()
        archive.gate.clear()
        logged.new_system_broadcast("on its way to the log")
        assert archive.is_waiting.wait(2)
        for number in range(1000):
            ada.say(str(number))
        bob.say("me too", id="b-1")
        archive.gate.set()

        assert bob.wait_for(Ack)[0].offset <= SHARE + 2

    def test_all_who_flood_are_heard_alike(self, make_server, archive):
        lobby = make_server(backends={"archive": archive}, inbox=64).create_channel("lobby")
        members = [enter_directly(lobby, f"user {number}") for number in range(20)]
        lobby.flush()
        archive.gate.clear()
        lobby.new_system_broadcast("on its way to the log")
        assert archive.is_waiting.wait(2)
        for member in members:
            for _ in range(200):
                member.say("flood")

        archive.gate.set()

        heard = Counter(event.sender for event in members[0].wait_for(Message, 2001)[1:2001])
        assert len(heard) == 20
        assert min(heard.values()) > max(heard.values()) / 2

    def test_however_many_flood_the_inbox_has_a_bound(self, make_server, archive):
        lobby = make_server(backends={"archive": archive}, inbox=50).create_channel("lobby")
        members = [enter_directly(lobby, f"user {number}") for number in range(20)]
        lobby.flush()
        archive.gate.clear()
        lobby.new_system_broadcast("on its way to the log")
        assert archive.is_waiting.wait(2)
        for _ in range(100):
            for member in members:
                member.say("flood")

        taken = sum(100 - member.unread for member in members)
        assert taken <= 50 + len(members)
        assert all(member.paused for member in members)

        archive.gate.set()
        assert len(members[0].wait_for(Message, 2001, timeout=10)) == 2001

    def test_who_is_paused_when_it_hangs_up_is_gone(self, logged, archive):
        ada, bob = enter_directly(logged, "ada"), enter(logged, "bob")
        logged.flush()
        archive.gate.clear()
        for number in range(100):
            ada.say(str(number))
        ada.hang_up()
        archive.gate.set()

        hear_until(bob, "ada exited lobby...")
        assert logged.get_users() == ["bob"]

    def test_a_plain_client_that_floods_is_heard_in_full(self, logged, archive):
        ada, bob = enter(logged, "ada"), enter_directly(logged, "bob")
        logged.flush()
        archive.gate.clear()
        for number in range(200):
            ada.send(str(number))
        gevent.idle()
        archive.gate.set()

        assert [event.text for event in bob.wait_for(Message, 200)] == [str(number) for number in range(200)]

    def test_applications_wait_for_room(self, make_server, archive):
        lobby = make_server(backends={"archive": archive}, inbox=2).create_channel("lobby")
        archive.gate.clear()
        lobby.new_system_broadcast("on its way to the log")
        assert archive.is_waiting.wait(2)
        speaking = [gevent.spawn(lobby.new_system_broadcast, str(number)) for number in range(10)]
        gevent.idle()
        assert [speaker.ready() for speaker in speaking].count(True) == 1

        archive.gate.set()

        gevent.joinall(speaking, timeout=2, raise_error=True)
        lobby.flush()
        assert lobby.offset == 11

    @pytest.mark.logs_errors
    def test_nobody_waits_longer_than_five_seconds(self, make_server, archive):
        """The one test that takes its time: two who wait for a log that hangs, side by side."""
        server = make_server(backends={"archive": archive}, inbox=2)
        full, closing = (server.create_channel(name) for name in ("full", "closing"))
        archive.gate.clear()
        for channel in (full, closing):
            channel.new_system_broadcast("on its way to the log")
            gevent.idle()
        full.new_system_broadcast("behind it")

        def speak() -> None:
            with pytest.raises(ChannelBusy):
                full.new_system_broadcast("no room")

        started = monotonic()
        waiting = [gevent.spawn(speak), gevent.spawn(closing.close)]
        gevent.joinall(waiting, timeout=7, raise_error=True)

        assert all(waiter.ready() for waiter in waiting)
        assert 4.5 < monotonic() - started < 6.5
        archive.gate.set()
        server.flush()
        assert full.offset == 2
