"""Tokens, channels by name, and the end of everything."""

import logging
import re

import gevent
import pytest
from gevent.event import Event as Flag

from chat import ChatServer, PipeConn, ServerConf
from chat.broker import MemoryBroker, Place
from chat.closing import SERVER_CLOSED, restart
from chat.errors import (
    BrokerUnavailable,
    ChannelClosed,
    ConnEOF,
    DuplicatedChannel,
    ExpiredToken,
    InvalidChannel,
    InvalidToken,
    InvalidUser,
    ServerClosed,
    UserAlreadyConnected,
)
from chat.event import Message
from chat.presence import MemoryPresence
from chat.registry import ChannelRecord, MemoryRegistry
from chat.server import PUT_BACK_WAIT
from chat.testing import chat_greenlets
from chat.tokens import Grant, MemoryTokens
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive, HangingRegistry, ThreeMethods
from tests.chat.steps import enter, enter_directly, hear, hear_until, wait_until

BAD_NAMES = ["", " lobby", "a\nb", "x" * 65, "a\u200bb", None, 5]


class Hesitating(ThreeMethods):
    """Takes its time to send."""

    def __init__(self) -> None:
        super().__init__()
        self.is_sending, self.may_send = Flag(), Flag()

    def send_str(self, msg: str) -> None:
        self.is_sending.set()
        self.may_send.wait()
        super().send_str(msg)


class TestTokens:
    def test_a_token_lets_its_user_in(self, server, lobby):
        conn = PipeConn()
        server.connect(server.request_token("ada", "lobby"), conn)

        assert lobby.get_users() == ["ada"]
        assert hear(conn.client) == ["ada entered lobby!"]

    def test_it_is_64_hexadecimal_digits(self, server):
        assert re.fullmatch("[0-9a-f]{64}", server.request_token("ada", "lobby"))

    def test_it_can_be_had_before_there_is_a_channel(self, server):
        token = server.request_token("ada", "lobby")
        lobby = server.create_channel("lobby")
        server.connect(token, PipeConn())

        assert lobby.get_users() == ["ada"]

    def test_it_is_good_once(self, server, lobby):
        token = server.request_token("ada", "lobby")
        server.connect(token, PipeConn())
        conn = PipeConn()

        with pytest.raises(InvalidToken):
            server.connect(token, conn)
        conn.send_str("still open")
        assert conn.client.recv(1) == "still open"

    @pytest.mark.parametrize("token", ["", "nonsense", "0" * 64])
    def test_one_that_was_never_issued_is_refused(self, server, lobby, token):
        with pytest.raises(InvalidToken):
            server.connect(token, PipeConn())

    def test_it_is_spent_though_the_connect_fails(self, server, lobby):
        enter(lobby, "ada")
        token = server.request_token("ada", "lobby")
        with pytest.raises(UserAlreadyConnected):
            server.connect(token, PipeConn())
        lobby.remove_user("ada")

        with pytest.raises(InvalidToken):
            server.connect(token, PipeConn())

    def test_it_is_spent_though_there_is_no_channel(self, server):
        token = server.request_token("ada", "lobby")
        with pytest.raises(InvalidChannel):
            server.connect(token, PipeConn())
        server.create_channel("lobby")

        with pytest.raises(InvalidToken):
            server.connect(token, PipeConn())

    @pytest.mark.parametrize("conn", [None, object(), PipeConn])
    def test_what_is_no_conn_is_a_type_error_and_spends_nothing(self, server, lobby, conn):
        token = server.request_token("ada", "lobby")
        for connect in (server.connect, server.connect_and_wait):
            with pytest.raises(TypeError):
                connect(token, conn)

        server.connect(token, PipeConn())

    def test_it_is_good_up_to_the_deadline_and_not_longer(self, make_server, clock):
        server = make_server(token_deadline=5.0)
        server.create_channel("lobby")
        tokens = [server.request_token(user, "lobby") for user in ("ada", "bob")]
        clock.advance(5.0)
        server.connect(tokens[0], PipeConn())
        clock.advance(0.1)

        with pytest.raises(ExpiredToken):
            server.connect(tokens[1], PipeConn())

    def test_late_ones_are_swept_now_and_then(self, make_server, clock):
        swept = []

        class Watched(MemoryTokens):
            def sweep(self) -> int:
                swept.append(super().sweep())
                return swept[-1]

        server = make_server(backends={"tokens": Watched(deadline=30.0, clock=clock)}, token_cleanup_delay=100.0)
        for _ in range(5):
            server.request_token("ada", "lobby")
        for expected in ([5], [5, 0], [5, 0, 0]):
            clock.advance(100.0)
            wait_until(lambda expected=expected: swept == expected)

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_names_are_checked_when_it_is_asked_for(self, server, name):
        with pytest.raises(InvalidUser):
            server.request_token(name, "lobby")
        with pytest.raises(InvalidChannel):
            server.request_token("ada", name)

    def test_names_are_kept_in_nfc(self, server):
        grant = server.redeem(server.request_token("e\u0301lan", "cafe\u0301"))

        assert (grant.username, grant.channel) == ("\u00e9lan", "caf\u00e9")

    @pytest.mark.parametrize("name", ["", " Ada", "A\nda", "x" * 65, None, 7])
    def test_a_display_name_that_nobody_can_have_is_refused(self, server, name):
        with pytest.raises(InvalidUser, match="display name"):
            server.request_token("ada", "lobby", data={"name": name})

    def test_a_display_name_is_kept_in_nfc_and_what_was_given_is_left_alone(self, server):
        data = {"name": "E\u0301lan", "color": "red"}
        grant = server.redeem(server.request_token("elan", "lobby", data=data))

        assert grant.data == {"name": "\u00c9lan", "color": "red"}
        assert data["name"] == "E\u0301lan"

    def test_session_and_data_ride_to_the_member(self, server, lobby):
        token = server.request_token("ada", "lobby", session="s1", data={"color": "red"})
        member = server.reserve(server.redeem(token))

        assert member.grant == Grant("ada", "lobby", "s1", {"color": "red"})
        member.cancel()

    def test_waiting_ends_with_the_connection(self, server, lobby):
        conn = PipeConn()
        waiting = gevent.spawn(server.connect_and_wait, server.request_token("ada", "lobby"), conn)
        hear(conn.client)
        assert not waiting.ready()
        conn.client.close()

        waiting.get(timeout=2)
        lobby.flush()
        assert lobby.get_users() == []

    def test_waiting_ends_when_the_last_word_is_sent(self, server, lobby):
        conn = Hesitating()
        waiting = gevent.spawn(server.connect_and_wait, server.request_token("ada", "lobby"), conn)
        wait_until(conn.is_sending.is_set)
        lobby.close()
        wait_until(lambda: lobby.get_users() == [])

        gevent.idle()
        assert not waiting.ready()
        conn.may_send.set()
        waiting.get(timeout=2)
        assert "ada entered lobby!" in conn.sent[0]

    def test_no_token_is_ever_logged(self, make_server, caplog):
        caplog.set_level(logging.DEBUG)
        server = make_server(debug_log=True)
        lobby = server.create_channel("lobby")
        tokens = [server.request_token(user, "lobby") for user in ("ada", "ada", "bob")]
        server.connect(tokens[0], PipeConn())
        for token in tokens[:2]:
            with pytest.raises((InvalidToken, UserAlreadyConnected)) as caught:
                server.connect(token, PipeConn())
            assert token not in f"{caught.value} {caught.value!r}"
        lobby.remove_user("ada")

        assert "ada" in caplog.text
        assert not any(token in caplog.text for token in tokens)


class TestTwoSteps:
    """Reserve before there is a connection, so that a taken name can be refused as plain HTTP."""

    def test_a_reserved_name_is_taken_though_nobody_is_listed(self, server, lobby):
        member = server.reserve(server.redeem(server.request_token("ada", "lobby")))

        assert lobby.get_users() == []
        with pytest.raises(UserAlreadyConnected):
            lobby.connect_user("ada", PipeConn())
        member.cancel()
        lobby.connect_user("ada", PipeConn())

    def test_the_connection_can_come_later(self, server, lobby):
        member = server.reserve(server.redeem(server.request_token("ada", "lobby")))
        conn = DirectFake(EventFormat())
        member.join(conn, wait=True)

        assert lobby.get_users() == ["ada"]
        assert conn.closing is None

    def test_without_waiting_it_is_let_in_soon(self, server, lobby):
        member = server.reserve(server.redeem(server.request_token("ada", "lobby")))
        member.join(DirectFake())

        wait_until(lambda: lobby.get_users() == ["ada"])

    def test_a_cancelled_one_leaves_nothing_behind(self, server, lobby, clock):
        server.reserve(server.redeem(server.request_token("ada", "lobby"))).cancel()
        clock.advance(301)

        wait_until(lambda: lobby.is_closed)

    def test_a_reservation_keeps_the_channel_from_idling(self, server, lobby, clock):
        member = server.reserve(server.redeem(server.request_token("ada", "lobby")))
        for _ in range(5):
            clock.advance(301)
            gevent.idle()
        member.join(DirectFake(), wait=True)

        assert lobby.get_users() == ["ada"]

    def test_presence_that_fails_leaves_nothing_behind(self, make_server, clock):
        class Failing(MemoryPresence):
            def reserve(self, *args):
                raise RuntimeError("on purpose")

        server = make_server(backends={"presence": Failing()})
        lobby = server.create_channel("lobby")
        with pytest.raises(RuntimeError):
            lobby.connect_user("ada", PipeConn())
        clock.advance(301)

        wait_until(lambda: lobby.is_closed)


class TestChannels:
    def test_a_channel_that_was_made_can_be_got(self, server):
        lobby = server.create_channel("lobby")

        assert server.get_channel("lobby") is lobby
        assert server.channels() == ["lobby"]

    def test_they_are_told_sorted(self, server):
        for name in ("zoo", "attic", "Barn"):
            server.create_channel(name)

        assert server.channels() == ["Barn", "attic", "zoo"]

    def test_a_name_is_taken_once(self, server, lobby):
        with pytest.raises(DuplicatedChannel) as caught:
            server.create_channel("lobby")

        assert caught.value.channel == "lobby"
        assert server.get_channel("lobby") is lobby

    def test_names_are_compared_in_nfc(self, server):
        cafe = server.create_channel("cafe\u0301")

        assert cafe.name == "caf\u00e9"
        assert server.get_channel("caf\u00e9") is cafe
        with pytest.raises(DuplicatedChannel):
            server.create_channel("caf\u00e9")

    @pytest.mark.parametrize("name", [*BAD_NAMES, "a/b"])
    def test_a_name_that_no_channel_can_have_is_refused(self, server, name):
        for call in (server.create_channel, server.get_channel):
            with pytest.raises(InvalidChannel):
                call(name)

    def test_one_that_was_never_made_does_not_exist(self, server):
        with pytest.raises(InvalidChannel) as caught:
            server.get_channel("lobby")

        assert caught.value.channel == "lobby"

    def test_a_closed_one_is_not_handed_out_and_its_name_is_free_at_once(self, server, lobby):
        lobby.close()

        assert server.channels() == []
        with pytest.raises(InvalidChannel):
            server.get_channel("lobby")
        again = server.create_channel("lobby")
        assert again is not lobby
        assert again.epoch != lobby.epoch

    def test_the_name_is_free_while_the_old_one_still_ends(self, make_server):
        may_go_on, waving = Flag(), Flag()

        class Slow:
            def on_disconnect(self, channel, username):
                waving.set()
                may_go_on.wait()

        server = make_server(controller=Slow())
        old = server.create_channel("lobby")
        enter(old, "ada")
        gevent.spawn(old.close)
        assert waving.wait(2)

        new = server.create_channel("lobby")
        ada = enter(new, "ada")
        new.new_system_broadcast("over here")
        hear_until(ada, "over here")
        may_go_on.set()
        old.close()
        assert new.get_users() == ["ada"]
        assert server.get_channel("lobby") is new

    def test_how_many_are_where_can_be_asked(self, server, lobby):
        enter(lobby, "ada")

        assert server.counts(["lobby", "attic"]) == {"lobby": 1, "attic": 0}

    def test_flush_returns_when_all_that_was_said_anywhere_is_written(self, server, lobby):
        ada = enter_directly(lobby, "ada")
        bob = enter_directly(server.create_channel("attic"), "bob")
        for channel in (lobby, server.get_channel("attic")):
            channel.new_system_broadcast("hello")
        server.flush()

        assert [type(conn.events[-1]) for conn in (ada, bob)] == [Message, Message]

    @pytest.mark.logs_errors
    def test_a_registry_that_cannot_close_leaves_no_half_closed_channel(self, make_server):
        class Failing(MemoryRegistry):
            def close(self, name: str, *, log: str | None = None, idle: bool = False) -> None:
                if not idle:
                    raise OSError("on purpose")
                super().close(name, idle=idle)

        lobby = make_server(backends={"registry": Failing()}).create_channel("lobby")
        ada = enter_directly(lobby, "ada")
        with pytest.raises(OSError, match="on purpose"):
            lobby.close()

        ada.wait_for_end()
        assert lobby.is_closed

    def test_a_broker_that_cannot_open_leaves_no_greenlet_and_no_name_behind(self, make_server):
        class Failing(MemoryBroker):
            is_away = True

            def open(self, record, subscriber) -> Place:
                if self.is_away:
                    raise BrokerUnavailable
                return super().open(record, subscriber)

        broker = Failing()
        server = make_server(backends={"broker": broker})
        with pytest.raises(BrokerUnavailable):
            server.create_channel("lobby")
        assert chat_greenlets() == []
        broker.is_away = False

        assert server.create_channel("lobby").get_users() == []


class TestClosing:
    def test_it_waits_for_channels_that_are_closing_already(self, make_server):
        leave = Flag()
        gone: list[str] = []

        class Slow:
            def on_disconnect(self, channel, username):
                leave.wait()
                gone.append(username)

        server = make_server(controller=Slow())
        lobby = server.create_channel("lobby")
        enter(lobby, "ada")
        closing = gevent.spawn(lobby.close)
        wait_until(lambda: lobby.is_closed)
        ending = gevent.spawn(server.close)
        gevent.idle()
        assert not ending.ready()

        leave.set()
        gevent.joinall([closing, ending], timeout=2, raise_error=True)
        assert gone == ["ada"]

    def test_a_hook_may_end_the_server_and_does_not_wait_for_itself(self, make_server):
        class Ender:
            def on_connect(self, channel, username):
                server.close()
                done.set()

        done = Flag()
        server = make_server(controller=Ender())
        server.create_channel("lobby").connect_user("ada", PipeConn())

        assert done.wait(timeout=2)

    def test_what_was_said_is_delivered_and_everybody_disconnected(self, server, lobby):
        ada, bob = enter_directly(lobby, "ada"), enter(server.create_channel("attic"), "bob")
        lobby.new_system_broadcast("last words")
        server.get_channel("attic").new_system_broadcast("up here too")
        server.close()

        assert [event.text for event in ada.events if isinstance(event, Message)] == ["last words"]
        assert ada.closing == SERVER_CLOSED
        assert hear(bob, 2)[-1] == "up here too"
        with pytest.raises(ConnEOF):
            bob.recv(2)

    def test_all_channels_end(self, server):
        channels = [server.create_channel(f"room {number}") for number in range(20)]
        server.close()

        for channel in channels:
            assert channel.is_closed
            with pytest.raises(ServerClosed):
                channel.new_system_broadcast("x")

    def test_afterwards_everything_is_refused(self, server, lobby):
        token = server.request_token("ada", "lobby")
        server.close()

        for call in (
            lambda: server.request_token("ada", "lobby"),
            lambda: server.create_channel("attic"),
            lambda: server.get_channel("lobby"),
            lambda: server.channels(),
            lambda: server.connect(token, PipeConn()),
            lambda: server.connect_and_wait(token, PipeConn()),
            lambda: server.redeem(token),
            lambda: server.reserve(Grant("ada", "lobby")),
            lambda: lobby.connect_user("ada", PipeConn()),
        ):
            with pytest.raises(ServerClosed):
                call()
        assert server.conf == ServerConf()

    def test_it_is_idempotent_also_at_once(self, server, lobby):
        enter(lobby, "ada")
        closing = [gevent.spawn(server.close) for _ in range(5)]
        assert len(gevent.joinall(closing, timeout=2)) == 5

        server.close()

    def test_it_can_be_closed_while_a_channel_is(self, server, lobby):
        conns = [enter_directly(lobby, f"user {number}") for number in range(20)]
        closing = [gevent.spawn(lobby.close), gevent.spawn(server.close)]

        assert len(gevent.joinall(closing, timeout=2)) == 2
        assert all(conn.closing is not None for conn in conns)

    def test_a_join_in_the_middle_is_let_in_and_disconnected_or_refused(self, server, lobby):
        outcomes = []

        def join(number: int) -> None:
            conn = DirectFake()
            try:
                server.connect(server.request_token(f"user {number}", "lobby"), conn)
            except ChannelClosed:
                outcomes.append(conn.closing is None)
            else:
                outcomes.append(conn.wait_for_end() == SERVER_CLOSED)

        joining = [gevent.spawn(join, number) for number in range(10)]
        closing = gevent.spawn(server.close)
        joining += [gevent.spawn(join, number) for number in range(10, 20)]
        gevent.joinall([*joining, closing], timeout=2, raise_error=True)

        assert outcomes == [True] * 20

    def test_it_can_say_why(self, server, lobby):
        ada = enter_directly(lobby, "ada")
        server.stop(restart(1.25))

        assert (ada.closing.code, ada.closing.reason) == (1012, "retry=1.250")

    def test_as_a_context_manager_it_closes_at_the_end(self, clock):
        with ChatServer(clock=clock) as server:
            lobby = server.create_channel("lobby")
            ada = enter_directly(lobby, "ada")

        assert lobby.is_closed
        assert ada.closing == SERVER_CLOSED

    def test_as_a_context_manager_it_lets_exceptions_pass(self, clock):
        server = ChatServer(clock=clock)
        server.create_channel("lobby")
        with pytest.raises(LookupError), server:
            raise LookupError

        with pytest.raises(ServerClosed):
            server.channels()

    def test_timers_that_fall_due_afterwards_do_nothing(self, server, lobby, clock):
        server.close()
        clock.advance(10_000)
        gevent.idle()

        assert lobby.is_closed

    def test_what_is_on_its_way_to_the_log_is_waited_for(self, make_server):
        archive = GatedArchive()
        server = make_server(backends={"archive": archive})
        lobby = server.create_channel("lobby")
        archive.gate.clear()
        lobby.new_system_broadcast("last words")
        closing = gevent.spawn(server.close)
        assert archive.is_waiting.wait(2)
        gevent.idle()
        assert not closing.ready()
        archive.gate.set()

        closing.get(timeout=2)
        assert [event.text for event in archive.read(lobby.log, 0, 10)] == ["last words"]

    def test_a_registry_that_hangs_does_not_hold_it_up_for_long(self, make_server):
        class Holder:
            def on_connect(self, channel, username):
                go_on.wait()

        go_on, registry = Flag(), HangingRegistry()
        server = make_server(controller=Holder(), backends={"registry": registry})
        lobby = server.create_channel("lobby")
        lobby.connect_user("ada", PipeConn())
        registry.gate.clear()

        with gevent.Timeout(PUT_BACK_WAIT + 2):
            server.stop(SERVER_CLOSED, patience=0.01)
        assert registry.is_waiting.is_set()

        registry.gate.set()
        go_on.set()
        wait_until(lambda: not chat_greenlets())
        assert make_server(backends={"registry": registry}).get_channel("lobby").epoch == lobby.epoch

    def test_a_channel_that_the_registry_hands_out_afterwards_ends_and_is_put_back(self, make_server):
        registry = HangingRegistry()
        with make_server(backends={"registry": registry}) as server:
            epoch = server.create_channel("lobby").epoch
        server = make_server(backends={"registry": registry})
        registry.gate.clear()
        getting = gevent.spawn(server.get_channel, "lobby")
        assert registry.is_waiting.wait(2)

        with gevent.Timeout(2):
            server.stop(SERVER_CLOSED, patience=0.01)
        registry.gate.set()
        late = getting.get(timeout=2)
        late.wait_ended()

        with pytest.raises(ServerClosed):
            late.new_system_broadcast("x")
        assert make_server(backends={"registry": registry}).get_channel("lobby").epoch == epoch

    def test_plain_conns_are_closed_when_it_returns(self, server, lobby):
        conn = PipeConn()
        lobby.connect_user("ada", conn)
        server.close()

        with pytest.raises(ConnEOF):
            conn.send_str("x")


class TestSettings:
    def test_a_server_has_the_settings_it_was_given(self, clock):
        conf = ServerConf(inbox=5)
        with ChatServer(conf, clock=clock) as server:
            assert server.conf is conf

    def test_without_any_it_has_the_defaults(self, server):
        assert server.conf == ServerConf()

    def test_the_settings_cannot_be_replaced(self, server):
        with pytest.raises(AttributeError):
            server.conf = ServerConf()

    def test_backends_are_given_by_keyword(self):
        with pytest.raises(TypeError):
            ChatServer(ServerConf(), MemoryTokens())

    def test_joins_and_leaves_are_logged_when_asked_for(self, make_server, caplog):
        caplog.set_level(logging.DEBUG)
        logger = logging.getLogger("somebody")
        lobby = make_server(debug_log=True, logger=logger).create_channel("lobby")
        enter(lobby, "ada")
        lobby.remove_user("ada")

        assert {record.name for record in caplog.records} == {"somebody"}
        assert [record.levelno for record in caplog.records] == [logging.DEBUG] * 2
        assert all("ada" in record.getMessage() for record in caplog.records)

    def test_otherwise_they_are_not(self, lobby, caplog):
        caplog.set_level(logging.DEBUG)
        enter(lobby, "ada")
        lobby.remove_user("ada")

        assert caplog.records == []

    def test_a_backend_that_is_empty_is_not_taken_for_none(self, make_server):
        class Sized(MemoryRegistry):
            def __len__(self) -> int:
                return len(self.names())

        registry = Sized()
        make_server(backends={"registry": registry}).create_channel("lobby")

        assert registry.names() == ["lobby"]


def test_a_record_has_a_key_that_no_name_can_have():
    assert "/" in ChannelRecord("lobby", "e1", "l1").key
