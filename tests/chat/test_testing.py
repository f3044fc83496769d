"""The kit: people and faulty conns in real channels, and what a test is told when something is wrong."""

import gc
import subprocess
import sys

import gevent
import pytest
from gevent.event import Event as Flag

from chat import PipeConn, UserAlreadyConnected
from chat.closing import KICKED, REPLACED, CloseCode
from chat.conn import GreenletConn
from chat.event import Ack, Message, Refusal, Whisper
from chat.format import LINES
from chat.member import Resume
from chat.testing import (
    DirectFake,
    DroppingConn,
    DuplicatingConn,
    HalfOpenConn,
    SlowConn,
    ThreeMethods,
    enter,
    no_greenlet_left,
    wait_until,
)
from chat.tokens import Grant


def texts(conn: DirectFake) -> list[str]:
    """What has been said, as far as it has arrived."""
    return [event.text for event in conn.events if isinstance(event, Message)]


class TestPeople:
    def test_what_one_says_everybody_hears(self, lobby):
        ann, bob = enter(lobby, "ann"), enter(lobby, "bob")

        id = ann.say("hello")

        message = bob.hears("ann: hello")
        assert isinstance(message, Message)
        assert (message.sender, message.id, message.offset) == ("ann", id, 1)
        assert ann.heard() == ["ann entered lobby!", "bob entered lobby!", "ann: hello"]

    def test_what_the_server_makes_one_wait_with_is_heard_too(self, make_chat_server):
        class Slow:
            def encode(self, channel, date, msg, sender, to):
                gevent.sleep(0)
                return f"{sender}: {msg}" if sender else msg

        ann = enter(make_chat_server(inbox=1, controller=Slow()).create_channel("lobby"), "ann")

        for number in range(20):
            ann.say(str(number))

        assert ann.conn.unread
        assert ann.heard() == ["ann entered lobby!", *(f"ann: {number}" for number in range(20))]

    def test_a_hook_that_does_not_return_is_not_waited_for_longer_than_asked(self, make_chat_server):
        class Stuck:
            def encode(self, channel, date, msg, sender, to):
                may_end.wait()
                return msg

        may_end = Flag()
        ann = enter(make_chat_server(controller=Stuck()).create_channel("lobby"), "ann")

        with pytest.raises(AssertionError, match="ann does not come to the end"):
            ann.heard(timeout=0.01)
        may_end.set()

    def test_who_reads_nothing_is_not_waited_for(self, lobby):
        ann, bob = enter(lobby, "ann"), enter(lobby, "bob")
        before = bob.heard()
        bob.conn.stall()

        ann.say("hello")

        assert bob.heard() == before
        bob.conn.catch_up()
        assert bob.heard() == [*before, "ann: hello"]

    def test_a_whisper_is_told_from_what_is_said_aloud(self, lobby):
        ann, bob, eve = (enter(lobby, name) for name in ("ann", "bob", "eve"))

        ann.whisper("psst", "bob")

        bob.hears("ann: psst", kind=Whisper)
        assert "ann: psst" not in eve.heard()
        with pytest.raises(AssertionError, match="psst"):
            bob.hears("ann: psst", kind=Message, timeout=0.01)

    def test_what_is_refused_is_heard_by_who_said_it(self, lobby):
        ann, bob = enter(lobby, "ann"), enter(lobby, "bob")

        id = ann.whisper("psst", "nobody")

        refusal = ann.hears("Not sent: user 'nobody' is not here")
        assert isinstance(refusal, Refusal)
        assert (refusal.id, refusal.code) == (id, "not_here")
        assert bob.heard() == ["bob entered lobby!"]

    def test_lines_are_those_of_the_applications_encoder(self, make_chat_server):
        class Shouting:
            def encode(self, channel, date, msg, sender, to):
                return f"{sender} > {msg.upper()}"

        ann = enter(make_chat_server(controller=Shouting()).create_channel("lobby"), "ann")

        ann.say("hello")

        ann.hears("ann > HELLO")

    def test_each_line_is_waited_for_behind_the_one_before(self, lobby):
        ann = enter(lobby, "ann")
        ann.say("one")
        ann.say("two")
        ann.hears("ann: two")

        with pytest.raises(AssertionError, match=r"ann has not heard 'ann: one', but \[.*'ann: one', 'ann: two'\]"):
            ann.hears("ann: one", timeout=0.01)

    def test_who_leaves_is_gone(self, lobby):
        ann, bob = enter(lobby, "ann"), enter(lobby, "bob")

        bob.leave()

        ann.hears("bob exited lobby...")
        assert lobby.get_users() == ["ann"]

    def test_who_is_removed_is_told_why(self, lobby):
        ann = enter(lobby, "ann")
        lobby.remove_user("ann")

        assert ann.wait_for_end() == KICKED

    def test_who_cannot_enter_is_nobody(self, lobby):
        enter(lobby, "ann")

        with pytest.raises(UserAlreadyConnected):
            enter(lobby, "ann")

    def test_a_conn_without_events_is_refused_by_name(self, lobby):
        with pytest.raises(TypeError, match="EventFormat is wanted, not Lines"):
            enter(lobby, "ann", DirectFake(LINES))

        assert lobby.get_users() == []

    def test_what_never_happens_is_not_waited_for_longer_than_asked(self, lobby):
        ann = enter(lobby, "ann")

        with pytest.raises(AssertionError, match="was not closed"):
            ann.wait_for_end(timeout=0.01)
        with pytest.raises(AssertionError, match="never came to be so"):
            wait_until(lambda: lobby.is_closed, timeout=0.01)


class TestSlow:
    def test_one_that_reads_slowly_hears_everything_in_order_and_holds_up_nobody(self, lobby):
        ann = enter(lobby, "ann")
        bob = enter(lobby, "bob", SlowConn(1))

        for number in range(50):
            ann.say(str(number))
        ann.hears("ann: 49")

        assert len(texts(bob.conn)) < 50
        bob.hears("ann: 49")
        assert texts(bob.conn) == [str(number) for number in range(50)]

    def test_what_waits_for_one_that_reads_slowly_counts_as_heard(self, lobby):
        ann, bob = enter(lobby, "ann"), enter(lobby, "bob", SlowConn(1))

        for number in range(50):
            ann.say(str(number))

        assert bob.heard() == ["bob entered lobby!", *(f"ann: {number}" for number in range(50))]

    def test_one_that_falls_behind_is_closed_as_slow_and_nobody_else_is(self, lobby):
        ann = enter(lobby, "ann")
        bob = enter(lobby, "bob", SlowConn(1, write_buf=20))

        with gevent.Timeout(2):
            while bob.conn.closing is None:
                ann.say("more")
                gevent.sleep(0)

        assert bob.wait_for_end().code == CloseCode.SLOW
        ann.hears("bob exited lobby...")
        assert ann.conn.closing is None

    def test_what_was_said_before_the_end_is_read_before_the_connection_counts_as_closed(self, lobby):
        conn = SlowConn(1)
        waiting = gevent.spawn(lobby.connect_user_and_wait, "bob", conn)
        wait_until(lambda: lobby.get_users() == ["bob"])
        for number in range(10):
            lobby.new_system_broadcast(str(number))
        lobby.close()

        waiting.get(timeout=2)

        assert texts(conn) == [str(number) for number in range(10)]


class TestDropping:
    @pytest.mark.parametrize("after", [0, 1, 2, 3])
    def test_whenever_it_drops_nobody_else_misses_anything_and_who_comes_back_hears_the_rest(self, lobby, after):
        ann = enter(lobby, "ann")
        dropping = DroppingConn(after)
        lobby.connect_user("bob", dropping)
        for batch in range(4):  # four writes at most
            for number in range(batch * 10, batch * 10 + 10):
                ann.say(str(number))
            lobby.flush()

        dropping.wait_for_end()
        ann.hears("bob exited lobby...")
        offsets = [event.offset for event in dropping.events if isinstance(event, Message)]
        member = lobby.reserve(Grant("bob", "lobby"))
        again = DirectFake()
        member.join(again, wait=True, resume=Resume(lobby.epoch, max(offsets, default=0), 100))
        ann.say("at last")
        ann.hears("ann: at last")

        heard = texts(dropping) + texts(again)
        assert heard == [*(str(number) for number in range(40)), "at last"]
        assert texts(ann.conn) == heard

    def test_half_a_batch_arrives_of_the_write_in_which_it_drops(self, lobby):
        ann = enter(lobby, "ann")
        bob = enter(lobby, "bob", DroppingConn())
        bob.hears("bob entered lobby!")

        bob.conn.break_off()
        for number in range(10):
            ann.say(str(number))
        ann.hears("bob exited lobby...")

        assert 0 < len(texts(bob.conn)) < 10
        assert bob.heard()[:3] == ["bob entered lobby!", "ann: 0", "ann: 1"]

    def test_a_connection_that_drops_in_its_welcome_was_here_and_has_gone(self, lobby):
        ann = enter(lobby, "ann")

        enter(lobby, "bob", DroppingConn(0))

        ann.hears("bob entered lobby!")
        ann.hears("bob exited lobby...")
        assert lobby.get_users() == ["ann"]


class TestHalfOpen:
    def test_who_vanishes_stays_listed_and_takes_what_is_said_for_nobody(self, lobby):
        ann = enter(lobby, "ann")
        bob = enter(lobby, "bob", HalfOpenConn())
        bob.hears("bob entered lobby!")
        bob.conn.vanish()

        bob.say("nobody hears this")
        bob.leave()
        ann.say("are you there?")

        assert ann.heard()[-1] == "ann: are you there?"
        assert bob.heard() == ["bob entered lobby!"]
        assert bob.conn.lost
        assert lobby.get_users() == ["ann", "bob"]

    def test_it_can_be_removed(self, lobby):
        ann = enter(lobby, "ann")
        bob = enter(lobby, "bob", HalfOpenConn())
        bob.conn.vanish()

        lobby.remove_user("bob")

        ann.hears("bob exited lobby...")
        assert lobby.get_users() == ["ann"]

    def test_it_is_replaced_where_the_second_connection_counts(self, make_chat_server):
        lobby = make_chat_server(duplicate_user="replace").create_channel("lobby")
        gone = HalfOpenConn()
        enter(lobby, "bob", gone)
        gone.vanish()

        bob = enter(lobby, "bob")

        assert gone.wait_for_end() == REPLACED
        bob.say("back")
        bob.hears("bob: back")

    def test_an_idle_channel_asks_it_for_a_sign_of_life_and_ends_without_one(self, make_chat_server, chat_clock):
        lobby = make_chat_server(channel_idle_timeout=60.0).create_channel("lobby")
        bob = enter(lobby, "bob", HalfOpenConn())
        bob.conn.vanish()

        chat_clock.advance(61)

        wait_until(lambda: bob.conn.probes == 1)
        lobby.close()
        assert bob.wait_for_end().code == CloseCode.NORMAL


class TestDuplicating:
    @pytest.mark.parametrize("many", [1, 40])
    def test_what_is_said_twice_with_one_id_is_heard_once_and_answered_twice(self, lobby, many):
        ann = enter(lobby, "ann")
        bob = enter(lobby, "bob", DuplicatingConn())

        ids = [bob.say(str(number)) for number in range(many)]
        acks = bob.conn.wait_for(Ack, 2 * many)

        assert acks == [Ack(id, offset) for offset, id in enumerate(ids, 1) for _ in range(2)]
        ann.hears(f"bob: {many - 1}")
        assert texts(ann.conn) == texts(bob.conn) == [str(number) for number in range(many)]

    def test_what_is_said_twice_without_an_id_was_said_twice(self, lobby):
        conn = DuplicatingConn()
        ann = enter(lobby, "ann")
        enter(lobby, "bob", conn)

        conn.say("hello")

        assert ann.heard()[-2:] == ["bob: hello", "bob: hello"]


class TestWhatIsLeft:
    def test_a_greenlet_that_does_not_end_is_found_named_and_ended(self, chat_clock):
        theirs = ThreeMethods()

        with pytest.raises(AssertionError, match=r"still running: .*GreenletConn\._read"), no_greenlet_left(0.01):
            GreenletConn(theirs, 100).start(lambda request: None, lambda closing: None)

    def test_one_that_is_about_to_end_is_waited_for(self, lobby):
        conn = PipeConn()
        with no_greenlet_left():
            lobby.connect_user("ann", conn)
            conn.client.close()

    def test_the_applications_own_greenlets_are_its_own_affair(self):
        flag = Flag()
        with no_greenlet_left():
            waiting = gevent.spawn(flag.wait)
            gevent.idle()
        flag.set()

        assert waiting.get(timeout=2)

    def test_one_inside_another_does_not_bring_up_what_ran_before_both(self):
        theirs = ThreeMethods()
        GreenletConn(theirs, 100).start(lambda request: None, lambda closing: None)

        with no_greenlet_left(0.01), no_greenlet_left(0.01):
            pass

        theirs.close()

    def test_what_the_application_has_frozen_stays_so(self):
        frozen = gc.get_freeze_count()
        assert frozen  # by the fixture that looks for what this test leaves behind

        with no_greenlet_left():
            pass

        assert gc.get_freeze_count() > frozen / 2  # some of it may have died

    def test_what_fails_inside_is_what_is_told(self):
        with pytest.raises(ZeroDivisionError), no_greenlet_left():
            1 / 0  # noqa: B018


def test_the_kit_needs_no_pytest_and_starts_nothing():
    program = (
        "import sys, chat.testing\n"
        "from gevent._hub_local import get_hub_if_exists\n"
        "assert get_hub_if_exists() is None\n"
        "assert not {'pytest', '_pytest'} & set(sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", program], timeout=20, check=True)
