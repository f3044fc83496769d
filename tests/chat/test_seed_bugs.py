"""What go-chat-i-guess gets wrong, by the numbers of docs/parity.md: each test would have caught one of them.

Of number 14 only what concerns the core is here: no token for an empty name.  The rest of it is about that project's demo
server, and is tested in tests/examples and tests/web.
"""

import logging
from datetime import UTC, datetime

import gevent
import pytest

from chat import PipeConn, ServerConf
from chat.broker import MemoryBroker
from chat.errors import (
    BadText,
    ChannelClosed,
    ExpiredToken,
    InvalidChannel,
    InvalidToken,
    InvalidUser,
    ServerClosed,
    UserAlreadyConnected,
    UserNotHere,
)
from chat.event import Ack, Message, Refusal, Welcome
from chat.member import Resume
from chat.registry import ChannelRecord
from chat.tokens import Grant
from tests.chat.contracts.hearing import Heard
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive, Jammed
from tests.chat.steps import enter, enter_directly, hear, hear_until, wait_until


@pytest.fixture(autouse=True)
def deadline():
    """None of these may hang."""
    with gevent.Timeout(4):
        yield


class Test01WhisperToNobody:
    def test_the_application_is_told_and_all_goes_on(self, lobby):
        ada = enter(lobby, "ada")
        with pytest.raises(UserNotHere):
            lobby.new_whisper("psst", "ada", "ghost")
        with pytest.raises(UserNotHere):
            lobby.new_system_whisper("psst", "ghost")
        lobby.new_system_broadcast("still alive")

        hear_until(ada, "still alive")

    def test_a_member_is_told_and_all_goes_on(self, lobby):
        ada = enter_directly(lobby, "ada")
        ada.say("psst", to="ghost", id="a-1")
        ada.say("still alive", id="a-2")

        assert ada.wait_for(Ack) == [Ack("a-2", 1)]
        assert ada.wait_for(Refusal)[0].code == "not_here"


class Test02IdleCheck:
    def test_a_channel_that_closes_itself_does_not_wait_for_itself(self, server, lobby, clock):
        clock.advance(300.0)

        wait_until(lambda: server.channels() == [])
        assert lobby.is_closed
        server.create_channel("lobby")

    def test_a_check_that_finds_all_members_dead_does_not_either(self, server, lobby, clock):
        class Dead(PipeConn):
            def send_str(self, msg: str) -> None:
                if not msg:
                    raise OSError

        for number in range(10):
            lobby.connect_user(f"user {number}", Dead())
        lobby.flush()
        clock.advance(300.0)
        wait_until(lambda: lobby.get_users() == [])
        clock.advance(300.0)

        wait_until(lambda: server.channels() == [])


class Test03ManyAtOnce:
    @pytest.mark.parametrize("many", [8, 9, 10, 300])
    def test_a_channel_with_many_members_can_be_closed(self, lobby, many):
        conns = [enter_directly(lobby, f"user {number}") for number in range(many)]
        lobby.close()

        assert all(conn.closing is not None for conn in conns)

    @pytest.mark.parametrize("many", [8, 9, 10, 300])
    def test_many_can_drop_at_once(self, lobby, many):
        conns = [enter_directly(lobby, f"user {number}") for number in range(many)]
        for conn in conns:
            conn.hang_up()

        wait_until(lambda: lobby.get_users() == [])

    def test_a_hook_can_speak_into_a_full_queue(self, make_server):
        class Chatty:
            def on_disconnect(self, channel, username):
                for number in range(15):
                    channel.new_system_broadcast(f"{username} {number}")

        lobby = make_server(controller=Chatty(), inbox=2).create_channel("lobby")
        witness, leaver = enter_directly(lobby, "witness"), enter_directly(lobby, "leaver")
        leaver.hang_up()

        assert len(witness.wait_for(Message, 15)) == 15


class Test04SlowClient:
    def test_one_that_reads_nothing_delays_nobody_and_is_dropped(self, make_server):
        lobby = make_server(write_buf=4096).create_channel("lobby")
        ada, jammed = enter(lobby, "ada"), Jammed()
        lobby.connect_user("jammed", jammed)
        for number in range(200):
            lobby.new_broadcast(f"{number}", "bob")
            hear_until(ada, f"bob: {number}")

        assert lobby.get_users() == ["ada"]
        jammed.jam.set()


class Test05ClosedChannel:
    def test_whatever_is_asked_of_it_is_refused_at_once(self, lobby):
        enter(lobby, "ada")
        lobby.close()
        for _ in range(2000):  # more than any queue of it could hold
            with pytest.raises(ChannelClosed):
                lobby.new_system_broadcast("x")
        with pytest.raises(ChannelClosed):
            lobby.new_whisper("x", "ada", "ada")

    def test_it_cannot_be_joined(self, server, lobby):
        member = server.reserve(Grant("ada", "lobby"))
        lobby.close()

        with pytest.raises(ChannelClosed):
            lobby.connect_user("bob", PipeConn())
        with pytest.raises(ChannelClosed):
            member.join(DirectFake())
        with pytest.raises(InvalidChannel):
            server.connect(server.request_token("ada", "lobby"), PipeConn())


class Test06Tokens:
    def test_a_late_one_is_refused_before_any_sweep(self, make_server, clock):
        server = make_server(token_deadline=10.0, token_cleanup_delay=100_000.0)
        lobby = server.create_channel("lobby")
        token = server.request_token("ada", "lobby")
        clock.advance(10.1)

        with pytest.raises(ExpiredToken):
            server.connect(token, PipeConn())
        assert lobby.get_users() == []

    def test_none_is_logged(self, make_server, caplog, clock):
        caplog.set_level(logging.DEBUG)
        server = make_server(debug_log=True)
        lobby = server.create_channel("lobby")
        used, late = server.request_token("ada", "lobby"), server.request_token("bob", "lobby")
        server.connect(used, PipeConn())
        clock.advance(31.0)
        for token in (used, late):
            with pytest.raises(InvalidToken):
                server.connect(token, PipeConn())
        lobby.close()

        assert caplog.text
        assert used not in caplog.text
        assert late not in caplog.text


class Test07DroppedUser:
    def test_who_drops_is_not_listed_though_nobody_says_anything(self, lobby):
        ada = enter(lobby, "ada")
        ada.close()

        wait_until(lambda: lobby.get_users() == [])

    def test_a_quick_reconnect_is_let_in(self, lobby):
        for _ in range(10):
            enter_directly(lobby, "ada").hang_up()

        enter(lobby, "ada")
        assert lobby.get_users() == ["ada"]

    def test_the_hook_is_called_without_waiting_for_a_message(self, make_server):
        gone = []

        class Waver:
            def on_disconnect(self, channel, username):
                gone.append(username)

        lobby = make_server(controller=Waver()).create_channel("lobby")
        enter(lobby, "ada").close()

        wait_until(lambda: gone == ["ada"])


class Test08RejectedDuplicate:
    def test_it_cannot_speak_as_that_user(self, server, lobby):
        ada, impostors = enter(lobby, "ada"), [DirectFake(), DirectFake()]
        with pytest.raises(UserAlreadyConnected):
            lobby.connect_user("ada", impostors[0])
        with pytest.raises(UserAlreadyConnected):
            server.connect(server.request_token("ada", "lobby"), impostors[1])
        for impostor in impostors:
            impostor.say("I am ada")
        lobby.new_system_broadcast("over")

        assert hear_until(ada, "over") == ["ada entered lobby!", "over"]
        assert [impostor.writes for impostor in impostors] == [[], []]

    def test_neither_can_a_plain_conn(self, lobby):
        ada, impostor = enter(lobby, "ada"), PipeConn()
        impostor.client.send("I am ada")
        with pytest.raises(UserAlreadyConnected):
            lobby.connect_user("ada", impostor)
        lobby.new_system_broadcast("over")

        assert hear_until(ada, "over") == ["ada entered lobby!", "over"]


class Test09ForgedLines:
    def test_nobody_can_have_the_systems_empty_name(self, server, lobby):
        for call in (
            lambda: lobby.connect_user("", PipeConn()),
            lambda: server.request_token("", "lobby"),
            lambda: lobby.new_broadcast("I am the system", ""),
            lambda: lobby.new_whisper("I am the system", "", "ada"),
        ):
            with pytest.raises(InvalidUser):
                call()

    def test_a_whisper_to_the_empty_name_is_not_a_broadcast(self, lobby):
        ada, bob = enter_directly(lobby, "ada"), enter(lobby, "bob")
        for whisper in (lambda: lobby.new_whisper("psst", "ada", ""), lambda: lobby.new_system_whisper("psst", "")):
            with pytest.raises(InvalidUser):
                whisper()
        ada.say("psst", to="", id="a-1")
        assert ada.wait_for(Refusal)[0].code == "invalid_user"
        lobby.new_system_broadcast("over")

        assert hear_until(bob, "over") == ["bob entered lobby!", "over"]

    @pytest.mark.parametrize("line_break", ["\n", "\r", "\x85", "\u2028", "\u2029", "\v", "\f"])
    def test_no_name_holds_a_line_break(self, server, lobby, line_break):
        name = f"ada{line_break}bob"
        for call in (lambda: lobby.connect_user(name, PipeConn()), lambda: server.request_token(name, "lobby")):
            with pytest.raises(InvalidUser):
                call()
        with pytest.raises(InvalidChannel):
            server.create_channel(name)

    @pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029", "\v", "\f"])
    def test_a_line_break_in_a_text_begins_no_line_that_looks_like_another(self, lobby, line_break):
        ada = enter(lobby, "ada")
        ada.recv(1)
        ada.send(f"hi{line_break}2026-01-02 - 15:04:05 (+0000) > bob: I quit")

        first, *others = ada.recv(1).splitlines()
        assert first.endswith("> ada: hi")
        assert others
        assert all(line.startswith("    ") for line in others)

    def test_no_text_holds_what_ends_a_line_inside(self, lobby):
        with pytest.raises(BadText):
            lobby.new_broadcast("a\0b", "ada")


class Test10ServerClose:
    def test_it_closes_every_channel_and_afterwards_none_can_be_made(self, server):
        channels = [server.create_channel(f"room {number}") for number in range(10)]
        clients = [enter_directly(channel, "ada") for channel in channels]
        server.close()

        assert all(channel.is_closed for channel in channels)
        assert all(client.closing is not None for client in clients)
        with pytest.raises(ServerClosed):
            server.create_channel("one more")


class Test11ClosedName:
    def test_it_is_free_at_once_and_not_handed_out(self, server, lobby):
        lobby.close()

        assert server.channels() == []
        with pytest.raises(InvalidChannel):
            server.get_channel("lobby")
        assert server.create_channel("lobby") is not lobby

    def test_it_is_free_before_the_closing_has_ended(self, make_server):
        class Closer:
            again = None

            def on_disconnect(self, channel, username):
                if self.again is None:
                    self.again = server.create_channel("lobby")

        closer = Closer()
        server = make_server(controller=closer)
        lobby = server.create_channel("lobby")
        enter(lobby, "ada")
        lobby.close()

        assert server.get_channel("lobby") is closer.again
        assert not closer.again.is_closed


class Test12Log:
    def test_the_recent_log_is_bounded(self):
        broker = MemoryBroker(recent=100)
        record = ChannelRecord("lobby", "e1", "l1")
        broker.open(record, Heard())
        date = datetime(2026, 1, 2, tzinfo=UTC)
        for number in range(10_000):
            broker.publish(record.key, [Message("ada", str(number), date)])

        assert len(broker.read(record.key, 9_900, 1_000_000)) == 100
        assert broker.read(record.key, 9_899, 1_000_000) is None

    def test_it_can_be_read_by_who_comes_back(self, lobby):
        for number in range(1100):
            lobby.new_broadcast(str(number), "bob")
        lobby.flush()
        heard = []
        for user, offset in (("near", 1090), ("far", 0)):
            conn = DirectFake(EventFormat())
            lobby.reserve(Grant(user, "lobby")).join(conn, wait=True, resume=Resume(lobby.epoch, offset, 1000))
            (welcome,) = conn.wait_for(Welcome)
            lobby.flush()
            heard.append((welcome.recovered, [event.text for event in conn.events if isinstance(event, Message)]))

        assert heard == [(True, [str(number) for number in range(1090, 1100)]), (False, [])]

    def test_the_whole_of_it_is_in_the_archive(self, make_server):
        archive = GatedArchive()
        lobby = make_server(backends={"archive": archive}).create_channel("lobby")
        for number in range(1100):
            lobby.new_broadcast(str(number), "bob")
        lobby.flush()

        assert [event.text for event in archive.read(lobby.log, 0, 10_000)] == [str(n) for n in range(1100)]


class Test13ZeroDurations:
    @pytest.mark.parametrize(
        "field", ["token_deadline", "token_cleanup_delay", "channel_idle_timeout", "channel_cleanup_delay"]
    )
    @pytest.mark.parametrize("seconds", [0, 0.0, -1.0])
    def test_they_are_refused_where_they_are_set_by_name(self, field, seconds):
        with pytest.raises(ValueError, match=field):
            ServerConf(**{field: seconds})


class Test14EmptyNames:
    def test_no_token_is_minted_for_them(self, server, lobby):
        with pytest.raises(InvalidUser):
            server.request_token("", "lobby")
        with pytest.raises(InvalidChannel):
            server.request_token("ada", "")
        with pytest.raises(InvalidChannel):
            server.create_channel("")

        assert server.channels() == ["lobby"]

    def test_markup_is_text_like_any_other_here_and_goes_out_as_it_came(self, lobby):
        """To escape it is the page's task, which knows that it writes HTML."""
        ada = enter(lobby, "ada")
        ada.send("<script>alert(1)</script>")

        assert hear(ada, 2)[1] == "ada: <script>alert(1)</script>"
