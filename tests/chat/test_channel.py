"""Speaking, joining, leaving and closing, as users and applications see it."""

import gevent
import pytest

from chat import ChatChannel, ChatServer, Conn, PipeConn
from chat.broker import MemoryBroker, Subscriber
from chat.closing import CHANNEL_CLOSED, KICKED, REPLACED
from chat.conn import as_direct
from chat.errors import (
    BadText,
    BrokerUnavailable,
    ChannelClosed,
    ConnEOF,
    InvalidUser,
    MessageTooBig,
    TestTimeout,
    UserAlreadyConnected,
    UserNotHere,
)
from chat.event import Joined, Left, Message, User, Welcome, Whisper
from chat.member import Resume
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, GatedArchive, Jammed, ThreeMethods
from tests.chat.steps import enter, enter_directly, hear, hear_until, leave, never_yields, wait_until

BAD_NAMES = ["", " ada", "a\nb", "x" * 65, "a\u202eb", None, 5]
BAD_TEXTS = ["a\0b", chr(0xD800), None, b"bytes"]


def come_back(lobby: ChatChannel, archive: GatedArchive, conn: Conn | None = None) -> tuple[Conn, gevent.Greenlet]:
    """Have ada come back, who has to wait to be listed: what she has missed is being read, and the archive holds it."""
    for text in ("one", "two"):
        lobby.new_system_broadcast(text)
    lobby.flush()
    archive.read_gate.clear()
    conn = conn or PipeConn()
    member = lobby.reserve(Grant("ada", "lobby"))
    joining = gevent.spawn(member.join, as_direct(conn, 1 << 20), wait=True, resume=Resume(lobby.epoch, 0, 10))
    assert archive.is_waiting.wait(2)
    return conn, joining


class TestSpeaking:
    def test_everybody_hears_it_the_sender_included(self, lobby):
        ada, bob = enter(lobby, "ada"), enter(lobby, "bob")
        ada.send("hello")

        assert hear_until(bob, "ada: hello") == ["bob entered lobby!", "ada: hello"]
        assert hear_until(ada, "ada: hello") == ["ada entered lobby!", "bob entered lobby!", "ada: hello"]

    def test_a_plain_line_has_the_date_of_the_servers_clock(self, lobby, clock):
        ada = enter(lobby, "ada")
        assert ada.recv(2) == "2026-01-02 - 15:04:05 (+0000) > ada entered lobby!"

        clock.advance(61)
        ada.send("hello")
        assert ada.recv(2) == "2026-01-02 - 15:05:06 (+0000) > ada: hello"

    def test_all_hear_one_order(self, lobby):
        clients = {user: enter(lobby, user) for user in ("ada", "bob", "cy")}
        for number in range(20):
            for user, client in clients.items():
                client.send(f"{user}-{number}")
        gevent.idle()
        lobby.new_system_broadcast("over")

        heard = [hear_until(client, "over") for client in clients.values()]

        spoken = [[line for line in lines if "-" in line] for lines in heard]
        assert spoken[0] == spoken[1] == spoken[2]
        assert len(spoken[0]) == 60
        for user in clients:
            assert [line for line in spoken[0] if line.startswith(user)] == [f"{user}: {user}-{n}" for n in range(20)]

    def test_the_application_can_speak_for_somebody_who_is_not_here(self, lobby):
        ada = enter(lobby, "ada")
        lobby.new_broadcast("hello", "ghost")

        hear_until(ada, "ghost: hello")

    def test_the_system_has_no_name(self, lobby):
        ada = enter(lobby, "ada")
        lobby.new_system_broadcast("hello")

        hear_until(ada, "hello")

    def test_a_channel_without_members_can_be_spoken_in(self, lobby):
        lobby.new_system_broadcast("hello?")
        lobby.flush()

        assert lobby.offset == 1

    def test_what_was_said_before_a_join_is_not_for_its_ears(self, lobby):
        lobby.new_system_broadcast("secret")
        ada = enter(lobby, "ada")
        lobby.new_system_broadcast("over")

        assert hear_until(ada, "over") == ["ada entered lobby!", "over"]

    def test_only_messages_are_numbered_and_without_holes(self, lobby):
        ada = enter_directly(lobby, "ada")
        lobby.new_system_broadcast("one")
        lobby.new_system_whisper("psst", "ada")
        enter(lobby, "bob")
        lobby.new_broadcast("two", "bob")

        messages = ada.wait_for(Message, 2)

        assert [(event.offset, event.text) for event in messages] == [(1, "one"), (2, "two")]
        assert lobby.offset == 2

    def test_names_are_spoken_in_nfc(self, lobby):
        ada = enter(lobby, "ada")
        lobby.new_broadcast("hi", "e\u0301lan")

        hear_until(ada, "\u00e9lan: hi")

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_nobody_can_speak_under_a_name_that_no_user_can_have(self, lobby, name):
        enter(lobby, "ada")
        for speak in (
            lambda: lobby.new_broadcast("hi", name),
            lambda: lobby.new_whisper("hi", name, "ada"),
            lambda: lobby.new_whisper("hi", "ada", name),
            lambda: lobby.new_system_whisper("hi", name),
        ):
            with pytest.raises(InvalidUser):
                speak()

        assert lobby.offset == 0

    @pytest.mark.parametrize("text", BAD_TEXTS)
    def test_a_text_that_cannot_be_sent_is_refused_wherever_it_comes_from(self, lobby, text):
        enter(lobby, "ada")
        for speak in (
            lambda: lobby.new_broadcast(text, "ada"),
            lambda: lobby.new_system_broadcast(text),
            lambda: lobby.new_whisper(text, "ada", "ada"),
            lambda: lobby.new_system_whisper(text, "ada"),
        ):
            with pytest.raises(BadText):
                speak()

    def test_the_longest_text_is_said_and_one_byte_more_is_not(self, lobby):
        ada = enter_directly(lobby, "ada")
        lobby.new_broadcast("é" * 2048, "ada")
        with pytest.raises(MessageTooBig) as caught:
            lobby.new_broadcast("é" * 2048 + "x", "ada")

        assert (caught.value.size, caught.value.limit) == (4097, 4096)
        assert len(ada.wait_for(Message)) == 1

    def test_the_limit_is_that_of_the_settings(self, make_server):
        channel = make_server(max_message=3).create_channel("lobby")
        channel.new_system_broadcast("abc")

        with pytest.raises(MessageTooBig):
            channel.new_system_broadcast("abcd")

    def test_an_empty_text_can_be_said(self, lobby):
        ada = enter(lobby, "ada")
        lobby.new_broadcast("", "bob")

        hear_until(ada, "bob: ")

    def test_a_forged_line_is_indented(self, lobby):
        ada = enter(lobby, "ada")
        ada.send("hi\n2026-01-02 - 15:04:05 (+0000) > bob: I quit")

        assert hear(ada, 2)[1] == "ada: hi\n    2026-01-02 - 15:04:05 (+0000) > bob: I quit"

    def test_speaking_never_yields_while_there_is_room(self, lobby):
        with never_yields():
            lobby.new_system_broadcast("hello")

    def test_a_burst_becomes_few_writes_with_nothing_lost(self, lobby):
        ada = enter_directly(lobby, "ada")
        ada.wait_for(Joined)
        before = len(ada.writes)
        for number in range(200):
            lobby.new_broadcast(str(number), "bob")

        messages = ada.wait_for(Message, 200)

        assert [event.text for event in messages] == [str(number) for number in range(200)]
        assert [event.offset for event in messages] == list(range(1, 201))
        assert len(ada.writes) - before == 1

    def test_a_burst_larger_than_a_batch_loses_nothing(self, lobby):
        ada = enter_directly(lobby, "ada")
        for number in range(1000):
            lobby.new_broadcast(str(number), "bob")

        assert [event.text for event in ada.wait_for(Message, 1000)] == [str(number) for number in range(1000)]


class TestWhispers:
    def test_both_ends_hear_it_and_nobody_else(self, lobby):
        conns = {user: enter_directly(lobby, user) for user in ("ada", "bob", "cy")}
        lobby.new_whisper("psst", "ada", "bob")
        lobby.new_system_broadcast("over")
        for conn in conns.values():
            conn.wait_for(Message)

        heard = {user: [event.text for event in conn.events if isinstance(event, Whisper)] for user, conn in conns.items()}
        assert heard == {"ada": ["psst"], "bob": ["psst"], "cy": []}

    def test_all_connections_of_both_ends_hear_it(self, make_server):
        lobby = make_server(duplicate_user="share").create_channel("lobby")
        conns = [enter_directly(lobby, user) for user in ("ada", "ada", "bob", "bob", "cy")]
        lobby.new_whisper("psst", "ada", "bob")
        lobby.new_system_broadcast("over")
        for conn in conns:
            conn.wait_for(Message)

        assert [sum(isinstance(event, Whisper) for event in conn.events) for conn in conns] == [1, 1, 1, 1, 0]

    def test_the_systems_is_heard_by_the_addressee_alone(self, lobby):
        ada, bob = enter(lobby, "ada"), enter(lobby, "bob")
        lobby.new_system_whisper("psst", "bob")
        lobby.new_system_broadcast("over")

        assert hear_until(bob, "over") == ["bob entered lobby!", "psst", "over"]
        assert "psst" not in hear_until(ada, "over")

    def test_to_oneself_it_is_heard_once(self, lobby):
        ada = enter(lobby, "ada")
        lobby.new_whisper("note", "ada", "ada")
        lobby.new_system_broadcast("over")

        assert hear_until(ada, "over") == ["ada entered lobby!", "ada: note", "over"]

    def test_somebody_who_is_not_here_can_whisper(self, lobby):
        ada = enter(lobby, "ada")
        lobby.new_whisper("boo", "ghost", "ada")

        hear_until(ada, "ghost: boo")

    def test_to_nobody_here_it_is_refused(self, lobby):
        enter(lobby, "ada")
        for whisper in (
            lambda: lobby.new_whisper("psst", "ada", "bob"),
            lambda: lobby.new_system_whisper("psst", "bob"),
        ):
            with pytest.raises(UserNotHere) as caught:
                whisper()
            assert caught.value.username == "bob"

    def test_names_are_compared_in_nfc(self, lobby):
        elan = enter(lobby, "\u00e9lan")
        lobby.new_system_whisper("psst", "e\u0301lan")

        hear_until(elan, "psst")

    def test_they_keep_their_place_among_the_messages(self, lobby):
        conns = [enter_directly(lobby, user) for user in ("ada", "bob")]
        for number in range(10):
            lobby.new_broadcast(f"m{number}", "ada")
            lobby.new_whisper(f"w{number}", "ada", "bob")
            lobby.new_system_whisper(f"s{number}", "bob")
        lobby.new_system_broadcast("over")
        for conn in conns:
            conn.wait_for(Message, 11)

        said = [[event.text for event in conn.events if isinstance(event, Message | Whisper)] for conn in conns]
        assert said[0] == [text for n in range(10) for text in (f"m{n}", f"w{n}")] + ["over"]
        assert said[1] == [text for n in range(10) for text in (f"m{n}", f"w{n}", f"s{n}")] + ["over"]

    def test_one_that_crosses_the_addressees_leaving_hurts_nobody(self, lobby):
        ada, bob = enter(lobby, "ada"), enter_directly(lobby, "bob")
        bob.hang_up()
        lobby.new_whisper("psst", "ada", "bob")  # still listed: the channel has not got round to it
        lobby.new_system_broadcast("over")

        assert hear_until(ada, "over")[-2:] == ["bob exited lobby...", "over"]


class TestJoining:
    def test_it_returns_once_the_user_is_listed(self, lobby):
        lobby.connect_user("bob", PipeConn())
        lobby.connect_user("ada", PipeConn())

        assert lobby.get_users() == ["ada", "bob"]
        assert lobby.count() == 2

    def test_the_welcome_comes_first_and_says_how_things_are(self, lobby):
        enter(lobby, "bob")
        lobby.new_system_broadcast("one")
        ada = enter_directly(lobby, "ada")
        ada.wait_for(Joined)

        assert ada.events == [
            Welcome(User("ada"), (User("ada"), User("bob")), 2, lobby.epoch, 1, recovered=False),
            Joined(User("ada"), ada.events[1].date, "ada entered lobby!"),
        ]

    def test_the_first_event_after_the_welcome_has_the_next_offset(self, lobby):
        for number in range(5):
            lobby.new_system_broadcast(str(number))
        ada = enter_directly(lobby, "ada")
        lobby.new_system_broadcast("next")

        assert [event.offset for event in ada.wait_for(Message)] == [6]
        assert ada.wait_for(Welcome)[0].offset == 5

    def test_a_taken_name_is_refused_and_the_conn_left_open(self, lobby):
        first, second = enter(lobby, "ada"), PipeConn()

        with pytest.raises(UserAlreadyConnected) as caught:
            lobby.connect_user("ada", second)

        assert caught.value.username == "ada"
        second.send_str("still open")
        assert second.client.recv(1) == "still open"
        first.send("me too")
        hear_until(first, "ada: me too")

    def test_a_refused_duplicate_is_not_listened_to(self, lobby):
        ada, second = enter(lobby, "ada"), DirectFake()
        with pytest.raises(UserAlreadyConnected):
            lobby.connect_user("ada", second)
        second.say("I am ada too")
        lobby.new_system_broadcast("over")

        assert hear_until(ada, "over") == ["ada entered lobby!", "over"]
        assert not second.started

    def test_of_many_who_take_a_name_at_once_one_gets_it(self, lobby):
        def join() -> bool:
            try:
                lobby.connect_user("ada", PipeConn())
            except UserAlreadyConnected:
                return False
            return True

        attempts = [gevent.spawn(join) for _ in range(10)]
        gevent.joinall(attempts, timeout=2)

        assert [attempt.value for attempt in attempts].count(True) == 1
        assert lobby.get_users() == ["ada"]

    def test_names_that_look_alike_after_nfc_are_one(self, lobby):
        enter(lobby, "\u00e9lan")

        with pytest.raises(UserAlreadyConnected):
            lobby.connect_user("e\u0301lan", PipeConn())

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_a_name_that_no_user_can_have_is_refused(self, lobby, name):
        with pytest.raises(InvalidUser):
            lobby.connect_user(name, PipeConn())

        assert lobby.get_users() == []

    @pytest.mark.parametrize("conn", [None, object(), PipeConn])
    def test_what_is_no_conn_is_a_type_error_and_takes_no_name(self, lobby, conn):
        for join in (lobby.connect_user, lobby.connect_user_and_wait):
            with pytest.raises(TypeError):
                join("ada", conn)

        enter(lobby, "ada")

    def test_somebody_elses_transport_of_three_methods_will_do(self, lobby):
        conn = ThreeMethods()
        lobby.connect_user("ada", conn)
        lobby.new_system_broadcast("hello")

        wait_until(lambda: len(conn.sent) == 2)
        assert [line.partition(" > ")[2] for line in conn.sent] == ["ada entered lobby!", "hello"]

    def test_replace_ends_the_first_connection_and_says_why(self, make_server):
        lobby = make_server(duplicate_user="replace").create_channel("lobby")
        bob = enter_directly(lobby, "bob")
        first = enter_directly(lobby, "ada")
        second = enter_directly(lobby, "ada")

        assert first.wait_for_end() == REPLACED
        assert lobby.get_users() == ["ada", "bob"]
        lobby.new_broadcast("over", "bob")
        second.wait_for(Message)
        bob.wait_for(Message)
        notices = [type(event) for event in bob.events if isinstance(event, Joined | Left)]
        assert notices == [Joined, Joined, Left, Joined]

    def test_who_was_replaced_is_not_heard(self, make_server):
        lobby = make_server(duplicate_user="replace").create_channel("lobby")
        first = enter_directly(lobby, "ada")
        second = enter_directly(lobby, "ada")
        first.say("it was me")
        lobby.new_system_broadcast("over")

        assert [event.text for event in second.wait_for(Message)] == ["over"]

    def test_share_announces_the_first_and_the_last_connection(self, make_server):
        lobby = make_server(duplicate_user="share").create_channel("lobby")
        bob = enter(lobby, "bob")
        tabs = [enter(lobby, "ada") for _ in range(3)]
        assert lobby.get_users() == ["ada", "bob"]
        for tab in tabs:
            leave(tab)
        lobby.new_system_broadcast("over")

        assert hear_until(bob, "over") == ["bob entered lobby!", "ada entered lobby!", "ada exited lobby...", "over"]
        assert lobby.get_users() == ["bob"]

    def test_every_tab_hears_and_speaks(self, make_server):
        lobby = make_server(duplicate_user="share").create_channel("lobby")
        first, second = enter(lobby, "ada"), enter(lobby, "ada")
        second.send("from the second")

        hear_until(first, "ada: from the second")
        hear_until(second, "ada: from the second")

    def test_waiting_ends_with_the_connection(self, lobby):
        conn = PipeConn()
        waiting = gevent.spawn(lobby.connect_user_and_wait, "ada", conn)
        hear_until(conn.client, "ada entered lobby!")
        assert not waiting.ready()

        conn.client.close()

        waiting.get(timeout=2)
        lobby.connect_user("ada", PipeConn())  # the name is free already

    def test_many_can_join_at_once(self, lobby):
        joining = [gevent.spawn(enter, lobby, f"user {number}") for number in range(50)]
        gevent.joinall(joining, timeout=2, raise_error=True)

        assert lobby.count() == 50
        assert lobby.get_users() == sorted(f"user {number}" for number in range(50))

    def test_who_gives_up_waiting_to_be_listed_is_not_let_in_later(self, make_server):
        archive = GatedArchive()
        lobby = make_server(backends={"broker": MemoryBroker(archive, recent=1)}).create_channel("lobby")
        conn, joining = come_back(lobby, archive)
        joining.kill()
        archive.read_gate.set()
        lobby.flush()

        assert lobby.get_users() == []
        conn.send_str("still open")
        assert conn.client.recv(1) == "still open"
        lobby.connect_user("ada", PipeConn())

    def test_who_hangs_up_before_being_listed_is_not_announced(self, make_server):
        archive = GatedArchive()
        broker = MemoryBroker(archive, recent=1)
        lobby = make_server(backends={"broker": broker}, duplicate_user="replace").create_channel("lobby")
        bob = enter_directly(lobby, "bob")
        first, joining = come_back(lobby, archive, DirectFake())
        enter(lobby, "ada")  # takes the name away from it
        archive.read_gate.set()
        joining.get(timeout=2)

        assert [event.user.username for event in bob.wait_for(Joined, 2)] == ["bob", "ada"]
        assert not any(isinstance(event, Left) for event in bob.events)
        assert not first.started
        assert first.closing == REPLACED


class TestLeaving:
    def test_who_hangs_up_is_announced(self, lobby):
        ada, bob = enter(lobby, "ada"), enter(lobby, "bob")
        leave(ada)

        assert hear(bob, 2) == ["bob entered lobby!", "ada exited lobby..."]
        assert lobby.get_users() == ["bob"]

    def test_the_name_is_free_at_once(self, lobby):
        ada = enter_directly(lobby, "ada")
        ada.hang_up()

        lobby.connect_user("ada", PipeConn())
        assert lobby.get_users() == ["ada"]

    def test_many_can_drop_at_once(self, lobby):
        witness = enter(lobby, "witness")
        conns = [enter_directly(lobby, f"user {number}") for number in range(50)]
        for conn in conns:
            conn.hang_up()
        lobby.new_system_broadcast("over")

        heard = hear_until(witness, "over")
        assert sum("exited" in line for line in heard) == 50
        assert lobby.get_users() == ["witness"]

    def test_a_removed_user_is_told_why_and_not_listed_when_it_returns(self, lobby):
        ada = enter_directly(lobby, "ada")
        lobby.remove_user("ada")

        assert lobby.get_users() == []
        assert ada.closing == KICKED

    def test_all_connections_of_a_removed_user_end(self, make_server):
        lobby = make_server(duplicate_user="share").create_channel("lobby")
        tabs = [enter_directly(lobby, "ada") for _ in range(3)]
        lobby.remove_user("ada")

        assert [tab.closing for tab in tabs] == [KICKED] * 3
        assert lobby.get_users() == []

    def test_a_removed_user_may_come_back(self, lobby):
        enter(lobby, "ada")
        lobby.remove_user("ada")
        enter(lobby, "ada")

        assert lobby.get_users() == ["ada"]

    def test_only_who_is_here_can_be_removed(self, lobby):
        enter(lobby, "ada")
        with pytest.raises(UserNotHere):
            lobby.remove_user("bob")
        with pytest.raises(InvalidUser):
            lobby.remove_user("")

        assert lobby.get_users() == ["ada"]

    def test_what_somebody_said_before_hanging_up_is_heard(self, lobby):
        bob, ada = enter(lobby, "bob"), enter_directly(lobby, "ada")
        ada.say("goodbye")
        ada.hang_up()

        assert hear_until(bob, "ada exited lobby...")[-2:] == ["ada: goodbye", "ada exited lobby..."]


class TestClosing:
    def test_what_was_said_before_is_delivered_and_then_all_are_disconnected(self, lobby):
        ada = enter_directly(lobby, "ada")
        client = enter(lobby, "bob")
        lobby.new_system_broadcast("last words")
        lobby.close()

        assert [event.text for event in ada.events if isinstance(event, Message)] == ["last words"]
        assert ada.closing == CHANNEL_CLOSED
        assert hear(client, 2)[-1] == "last words"
        with pytest.raises(ConnEOF):
            client.recv(2)

    def test_nobody_is_told_that_the_others_leave(self, lobby):
        conns = [enter_directly(lobby, user) for user in ("ada", "bob")]
        lobby.close()

        assert not any(isinstance(event, Left) for conn in conns for event in conn.events)

    def test_afterwards_everything_is_refused(self, lobby):
        lobby.close()

        assert lobby.is_closed
        for call in (
            lambda: lobby.new_broadcast("x", "ada"),
            lambda: lobby.new_system_broadcast("x"),
            lambda: lobby.new_whisper("x", "ada", "bob"),
            lambda: lobby.new_system_whisper("x", "bob"),
            lambda: lobby.remove_user("ada"),
            lambda: lobby.connect_user("ada", PipeConn()),
            lambda: lobby.connect_user_and_wait("ada", PipeConn()),
        ):
            with pytest.raises(ChannelClosed) as caught:
                call()
            assert caught.value.channel == "lobby"

    def test_afterwards_nobody_is_here(self, lobby):
        enter(lobby, "ada")
        lobby.close()

        assert lobby.get_users() == []
        assert lobby.count() == 0

    def test_who_is_refused_keeps_the_conn(self, lobby):
        lobby.close()
        conn = DirectFake()
        with pytest.raises(ChannelClosed):
            lobby.connect_user("ada", conn)

        assert conn.closing is None

    def test_afterwards_there_is_nothing_to_flush(self, lobby):
        lobby.close()
        with gevent.Timeout(2):
            lobby.flush()

        assert lobby.is_closed

    @pytest.mark.logs_errors
    def test_a_broker_that_cannot_close_holds_up_nobody(self, make_server):
        class Failing(MemoryBroker):
            def close(self, key: str, subscriber: Subscriber | None = None) -> None:
                raise BrokerUnavailable

        server = make_server(backends={"broker": Failing()})
        lobby = server.create_channel("lobby")
        ada = enter_directly(lobby, "ada")
        with gevent.Timeout(2):
            lobby.close()

        assert ada.closing == CHANNEL_CLOSED
        server.create_channel("lobby")

    def test_it_is_idempotent(self, lobby):
        for _ in range(3):
            lobby.close()

        assert lobby.is_closed

    def test_many_can_close_it_at_once(self, lobby):
        enter(lobby, "ada")
        closing = [gevent.spawn(lobby.close) for _ in range(5)]

        assert len(gevent.joinall(closing, timeout=2)) == 5

    @pytest.mark.parametrize("many", [1, 9, 200])
    def test_it_ends_however_many_members_there_are(self, lobby, many):
        conns = [enter_directly(lobby, f"user {number}") for number in range(many)]
        with gevent.Timeout(4):
            lobby.close()

        assert all(conn.closing == CHANNEL_CLOSED for conn in conns)

    def test_who_waits_for_a_connection_is_told(self, lobby):
        waiting = [gevent.spawn(lobby.connect_user_and_wait, user, PipeConn()) for user in ("ada", "bob")]
        wait_until(lambda: lobby.count() == 2)
        lobby.close()

        assert len(gevent.joinall(waiting, timeout=2)) == 2

    def test_who_waits_for_room_meanwhile_is_refused_rather_than_not_heard(self, make_server):
        archive = GatedArchive()
        lobby = make_server(backends={"archive": archive}, inbox=2).create_channel("lobby")
        archive.gate.clear()
        lobby.new_system_broadcast("on its way to the log")
        assert archive.is_waiting.wait(2)
        lobby.new_system_broadcast("behind it")
        refused = []

        def speak() -> None:
            with pytest.raises(ChannelClosed):
                lobby.new_system_broadcast("no room")
            refused.append(True)

        speaking = gevent.spawn(speak)
        gevent.idle()
        closing = gevent.spawn(lobby.close)
        gevent.idle()
        archive.gate.set()
        gevent.joinall([speaking, closing], timeout=2)

        assert refused == [True]
        said = archive.read(lobby.log, 0, 10)
        assert [event.text for event in said] == ["on its way to the log", "behind it"]

    def test_joins_that_wait_are_let_in_and_then_disconnected(self, make_server):
        archive = GatedArchive()
        lobby = make_server(backends={"archive": archive}).create_channel("lobby")
        archive.gate.clear()
        lobby.new_system_broadcast("stuck")
        conns = [DirectFake() for _ in range(3)]
        joining = [gevent.spawn(lobby.connect_user, f"user {n}", conn) for n, conn in enumerate(conns)]
        gevent.idle()
        closing = gevent.spawn(lobby.close)
        gevent.idle()
        archive.gate.set()
        gevent.joinall([*joining, closing], timeout=2, raise_error=True)

        assert [conn.closing for conn in conns] == [CHANNEL_CLOSED] * 3
        assert lobby.get_users() == []

    def test_a_reservation_ends_with_the_channel(self, server, lobby):
        member = server.reserve(server.redeem(server.request_token("ada", "lobby")))
        lobby.close()
        conn = DirectFake()

        with pytest.raises(ChannelClosed):
            member.join(conn)
        assert conn.closing is None

    @pytest.mark.parametrize("late", ["said", "whispered"])
    def test_what_a_member_says_while_it_ends_is_quietly_dropped(self, lobby, late):
        """The autouse fixtures see to "quietly": nothing may be logged, no greenlet may crash."""
        ada = enter_directly(lobby, "ada")
        closing = gevent.spawn(lobby.close)
        wait_until(lambda: lobby.is_closed)
        ada.say("too late", to="ada" if late == "whispered" else None, id="a-1")
        closing.get(timeout=2)

        assert not any(isinstance(event, Message | Whisper) for event in ada.events)


class TestSlowMembers:
    def test_one_that_reads_nothing_holds_up_nobody_and_is_dropped(self, make_server):
        lobby = make_server(write_buf=2000).create_channel("lobby")
        ada, jammed = enter(lobby, "ada"), Jammed()
        lobby.connect_user("jammed", jammed)
        assert jammed.is_sending.wait(2)
        for number in range(100):
            lobby.new_broadcast(f"message {number}", "bob")
            assert hear_until(ada, f"bob: message {number}")

        assert lobby.get_users() == ["ada"]
        jammed.jam.set()

    def test_it_is_closed_as_slow(self, make_server):
        lobby = make_server().create_channel("lobby")
        slow = enter_directly(lobby, "slow", write_buf=5)
        slow.stall()
        for _ in range(100):
            lobby.new_broadcast("x", "bob")
            lobby.flush()

        assert slow.wait_for_end().code == 4008

    def test_one_whose_close_takes_long_holds_up_nobody(self, lobby):
        class NeverCloses(ThreeMethods):
            def close(self) -> None:
                self.wakes.wait()

        stuck = NeverCloses()
        ada = enter(lobby, "ada")
        lobby.connect_user("stuck", stuck)
        lobby.remove_user("stuck")
        lobby.new_system_broadcast("on we go")
        hear_until(ada, "on we go")
        with gevent.Timeout(2):
            lobby.close()
        stuck.wakes.set()

    @pytest.mark.parametrize("fault", [OSError, ConnEOF, RuntimeError, lambda: gevent.Timeout(1.0)])
    def test_one_whose_recv_fails_is_gone(self, lobby, fault):
        ada, broken = enter(lobby, "ada"), ThreeMethods()
        lobby.connect_user("broken", broken)
        broken.fail(fault())

        hear_until(ada, "broken exited lobby...")
        assert broken.closed.wait(2)

    def test_a_client_that_never_fetches_anything_can_still_speak(self, lobby):
        ada, mute = enter(lobby, "ada"), enter(lobby, "mute")
        for number in range(50):
            mute.send(str(number))

        hear_until(ada, "mute: 49")


def test_a_pipe_that_nothing_comes_through_times_out(lobby):
    ada = enter(lobby, "ada")
    hear(ada)

    with pytest.raises(TestTimeout):
        ada.recv(0.01)


def test_a_server_shows_the_same_channel(server: ChatServer, lobby):
    assert server.get_channel("lobby") is lobby
    assert lobby.name == "lobby"
    assert not lobby.is_closed
