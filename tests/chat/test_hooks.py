"""What an application's controller can do, and what it cannot break."""

from collections.abc import Callable
from datetime import UTC

import gevent
import pytest
from gevent.event import Event as Flag

from chat import ChatChannel, PipeConn, RestrictedChatChannel
from chat.broker import MemoryBroker
from chat.channel import HOOK_ROOM
from chat.errors import BrokerUnavailable, ChannelBusy, ChannelClosed, UserAlreadyConnected
from chat.event import Ack, Joined, Left, Message, Refusal, User, Whisper
from chat.member import Resume
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive
from tests.chat.steps import enter, enter_directly, hear, hear_until, leave, never_yields, wait_until


class Encoder:
    """Renders with the function it is given, and notes what it was called with."""

    def __init__(self, render: Callable[[str], object] = str.upper) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.channels: list[object] = []
        self.dates = []
        self._render = render

    def encode(self, channel, date, msg, sender, to):
        self.calls.append((msg, sender, to))
        self.channels.append(channel)
        self.dates.append(date)
        return self._render(msg)


class Greeter:
    """Has the hook for who comes; calls `does` in it."""

    def __init__(self, does: Callable[[ChatChannel, str], object]) -> None:
        self.does = does
        self.calls: list[str] = []

    def on_connect(self, channel, username):
        self.calls.append(username)
        self.does(channel, username)


class Waver:
    """Has the hook for who goes."""

    def __init__(self, does: Callable[[RestrictedChatChannel, str], object]) -> None:
        self.does = does
        self.calls: list[str] = []
        self.channels: list[RestrictedChatChannel] = []

    def on_disconnect(self, channel, username):
        self.calls.append(username)
        self.channels.append(channel)
        self.does(channel, username)


class Deadlines:
    """What a careless hook starts and never cancels."""

    def __init__(self) -> None:
        self._left: list[gevent.Timeout] = []

    def leave(self) -> None:
        self._left.append(gevent.Timeout.start_new(0.001))

    def wait_passed(self) -> None:
        wait_until(lambda: self._left and not any(deadline.pending for deadline in self._left))


def nothing(*_: object) -> None:
    pass


def fail(*_: object) -> None:
    raise RuntimeError("on purpose")


@pytest.fixture
def make_lobby(make_server):
    def make(controller: object, **conf: object) -> ChatChannel:
        return make_server(controller=controller, **conf).create_channel("lobby")

    return make


class TestEncode:
    def test_what_it_returns_is_what_everybody_gets(self, make_lobby):
        lobby = make_lobby(Encoder(lambda msg: f"<{msg}>"))
        ada, bob = enter(lobby, "ada"), enter_directly(lobby, "bob")
        lobby.new_broadcast("hello", "bob")

        (message,) = bob.wait_for(Message)
        assert (message.text, message.rendered) == ("<hello>", True)
        lines = [ada.recv(2) for _ in range(3)]
        assert lines[-1] == "<hello>"

    def test_it_is_told_all_about_a_message(self, make_lobby, clock):
        encoder = Encoder()
        lobby = make_lobby(encoder)
        enter(lobby, "ada")
        enter(lobby, "bob")
        encoder.calls.clear()
        lobby.new_broadcast("one", "ada")
        lobby.new_system_broadcast("two")
        lobby.new_whisper("three", "ada", "bob")
        lobby.new_system_whisper("four", "bob")
        lobby.flush()

        assert encoder.calls == [("one", "ada", ""), ("two", "", ""), ("three", "ada", "bob"), ("four", "", "bob")]
        assert set(encoder.channels) == {lobby}
        assert encoder.dates[-1] == clock.now()
        assert encoder.dates[-1].tzinfo is UTC

    def test_it_renders_the_notices_too(self, make_lobby):
        lobby = make_lobby(Encoder())
        ada, bob = enter(lobby, "ada"), enter(lobby, "bob")
        leave(bob)

        assert [ada.recv(2) for _ in range(3)] == ["ADA ENTERED LOBBY!", "BOB ENTERED LOBBY!", "BOB EXITED LOBBY..."]

    def test_it_is_called_once_a_message_however_many_members_there_are(self, make_lobby):
        encoder = Encoder()
        lobby = make_lobby(encoder)
        conns = [enter_directly(lobby, f"user {number}") for number in range(20)]
        encoder.calls.clear()
        lobby.new_system_broadcast("hello")
        for conn in conns:
            conn.wait_for(Message)

        assert encoder.calls == [("hello", "", "")]

    def test_an_empty_text_drops_the_message(self, make_lobby):
        lobby = make_lobby(Encoder(lambda msg: "" if "secret" in msg else msg))
        ada = enter(lobby, "ada")
        lobby.new_broadcast("a secret", "bob")
        lobby.new_whisper("secret too", "bob", "ada")
        lobby.new_broadcast("over", "bob")

        assert [ada.recv(2) for _ in range(2)] == ["ada entered lobby!", "over"]
        assert lobby.offset == 1

    def test_a_dropped_notice_is_not_seen_by_plain_clients_alone(self, make_lobby):
        lobby = make_lobby(Encoder(lambda msg: "" if "entered" in msg else msg))
        ada, bob = enter(lobby, "ada"), enter_directly(lobby, "bob")
        lobby.new_system_broadcast("over")

        assert ada.recv(2) == "over"
        assert bob.wait_for(Joined)[0].user.username == "bob"

    def test_what_is_rendered_is_not_indented(self, make_lobby):
        lobby = make_lobby(Encoder(lambda msg: "two\nlines"))
        ada = enter(lobby, "ada")

        assert ada.recv(2) == "two\nlines"

    def test_it_may_make_a_text_longer_than_anybody_may_say(self, make_lobby):
        lobby = make_lobby(Encoder(lambda msg: msg * 100), max_message=50)
        ada = enter_directly(lobby, "ada")
        lobby.new_broadcast("x" * 50, "bob")

        assert ada.wait_for(Message)[0].text == "x" * 5000

    @pytest.mark.logs_errors
    @pytest.mark.parametrize("result", [None, b"bytes", 5, "a\0b", chr(0xD800)])
    def test_what_cannot_be_sent_costs_that_message_only(self, make_lobby, result):
        lobby = make_lobby(Encoder(lambda msg: result if msg == "bad" else msg))
        ada = enter_directly(lobby, "ada")
        ada.say("bad", id="a-1")
        ada.say("good", id="a-2")

        assert ada.wait_for(Ack) == [Ack("a-2", 1)]
        assert [(event.id, event.code, event.retry) for event in ada.wait_for(Refusal)] == [("a-1", "hook_failed", False)]

    @pytest.mark.logs_errors
    @pytest.mark.parametrize("fault", [RuntimeError, ChannelClosed, lambda: gevent.Timeout(1.0)])
    def test_one_that_raises_costs_that_message_only(self, make_lobby, caplog, fault):
        def render(msg: str) -> str:
            if msg == "bad":
                raise fault()
            return msg

        lobby = make_lobby(Encoder(render))
        ada, bob = enter_directly(lobby, "ada"), enter(lobby, "bob")
        ada.say("bad", id="a-1")
        ada.say("good", id="a-2")

        assert ada.wait_for(Ack) == [Ack("a-2", 1)]
        assert [(event.id, event.code, event.retry) for event in ada.wait_for(Refusal)] == [("a-1", "hook_failed", False)]
        assert "encode failed" in caplog.text
        while (line := bob.recv(2)) != "good":
            assert "bad" not in line

    @pytest.mark.logs_errors
    def test_one_that_fails_at_a_notice_lets_the_user_in(self, make_lobby):
        lobby = make_lobby(Encoder(fail))
        ada = enter_directly(lobby, "ada")

        assert ada.wait_for(Joined)[0].text == ""
        assert lobby.get_users() == ["ada"]

    @pytest.mark.logs_errors
    @pytest.mark.parametrize("refuses", [False, True])
    def test_a_deadline_that_one_leaves_behind_does_not_part_a_message_from_its_fate(self, make_lobby, refuses):
        archive, left = GatedArchive(), Deadlines()
        encoder = Encoder(lambda text: left.leave() or text if text == "arm" else text)
        lobby = make_lobby(encoder, backends={"archive": archive})
        ada, bob = enter_directly(lobby, "ada"), enter_directly(lobby, "bob")
        ada.wait_for(Joined, 2)
        archive.gate.clear()
        ada.say("arm", id="a1")
        bob.hang_up()  # its leave is in the same batch
        left.wait_passed()
        archive.fault = BrokerUnavailable() if refuses else None
        archive.gate.set()
        (answer,) = ada.wait_for(Refusal if refuses else Ack)
        archive.fault = None
        ada.say("after", id="a2")

        assert isinstance(answer, Refusal) or answer == Ack("a1", 1)
        assert ada.wait_for(Ack, 1 if refuses else 2)[-1] == Ack("a2", 1 if refuses else 2)
        assert [event.username for event in ada.wait_for(Left)] == ["bob"]
        logged = [(event.offset, event.text) for event in archive.read(lobby.log, 0, 10)]
        assert logged == ([(1, "after")] if refuses else [(1, "arm"), (2, "after")])
        assert [(event.offset, event.text) for event in ada.wait_for(Message)] == logged

    def test_one_that_blocks_delays_what_is_said_and_nothing_that_is_heard(self, make_lobby):
        may_go_on = Flag()

        def render(msg: str) -> str:
            if msg == "slow":
                may_go_on.wait()
            return msg

        lobby = make_lobby(Encoder(render))
        ada = enter_directly(lobby, "ada")
        lobby.new_broadcast("before", "bob")
        lobby.flush()
        lobby.new_broadcast("slow", "bob")
        gevent.idle()
        assert [event.text for event in ada.wait_for(Message)] == ["before"]

        may_go_on.set()
        assert [event.text for event in ada.wait_for(Message, 2)] == ["before", "slow"]

    def test_what_it_says_itself_comes_behind_and_does_not_wait(self, make_lobby):
        def render(msg: str) -> str:
            if msg == "ping":
                lobby.new_system_broadcast("pong")
            return msg

        lobby = make_lobby(Encoder(render))
        ada = enter(lobby, "ada")
        lobby.new_broadcast("ping", "bob")

        assert [ada.recv(2) for _ in range(3)] == ["ada entered lobby!", "ping", "pong"]

    def test_a_refused_text_does_not_reach_it(self, make_lobby):
        encoder = Encoder()
        lobby = make_lobby(encoder)
        ada = enter_directly(lobby, "ada")
        ada.say("psst", to="ghost", id="a-1")
        ada.wait_for(Refusal)

        assert ("psst", "ada", "ghost") not in encoder.calls


class TestOnConnect:
    def test_it_replaces_the_notice_for_plain_clients(self, make_lobby):
        lobby = make_lobby(Greeter(lambda channel, user: channel.new_system_broadcast(f"hi, {user}")))

        assert hear(enter(lobby, "ada")) == ["hi, ada"]

    def test_it_does_not_replace_what_programs_are_told(self, make_lobby):
        ada = enter_directly(make_lobby(Greeter(nothing)), "ada")

        assert (ada.wait_for(Joined)[0].user, ada.wait_for(Joined)[0].text) == (User("ada"), "")

    def test_it_gets_the_channel_with_the_user_listed(self, make_lobby):
        seen = []
        lobby = make_lobby(Greeter(lambda channel, user: seen.append((channel, channel.get_users()))))
        enter(lobby, "ada")
        wait_until(lambda: seen)

        assert seen == [(lobby, ["ada"])]

    def test_it_does_not_replace_the_notice_of_who_goes(self, make_lobby):
        lobby = make_lobby(Greeter(nothing))
        ada, bob = enter(lobby, "ada"), enter(lobby, "bob")
        leave(bob)

        assert hear(ada) == ["bob exited lobby..."]

    def test_the_user_itself_hears_what_is_said_there(self, make_lobby):
        lobby = make_lobby(Greeter(lambda channel, user: channel.new_system_whisper("welcome", user)))

        assert hear(enter(lobby, "ada")) == ["welcome"]

    @pytest.mark.logs_errors
    @pytest.mark.parametrize("fault", [RuntimeError, KeyError, lambda: gevent.Timeout(1.0)])
    def test_one_that_raises_is_logged_and_the_user_is_in(self, make_lobby, caplog, fault):
        def does(channel, user):
            raise fault()

        lobby = make_lobby(Greeter(does))
        ada = enter(lobby, "ada")
        lobby.new_system_broadcast("on we go")

        assert hear(ada) == ["on we go"]
        assert "on_connect failed" in caplog.text

    @pytest.mark.logs_errors
    def test_a_deadline_that_one_leaves_behind_does_not_end_the_channel(self, make_lobby, caplog):
        lobby = make_lobby(Greeter(lambda channel, user: gevent.Timeout.start_new(0.001)))
        ada = enter(lobby, "ada")
        wait_until(lambda: "could not do" in caplog.text)
        lobby.new_system_broadcast("on we go")

        assert hear(ada) == ["on we go"]

    @pytest.mark.logs_errors
    def test_a_deadline_that_one_leaves_behind_cuts_no_join_short(self, make_lobby):
        archive, left = GatedArchive(), Deadlines()
        broker = MemoryBroker(archive, recent=1)
        lobby = make_lobby(Greeter(lambda channel, user: user == "bob" and left.leave()), backends={"broker": broker})
        ada = enter_directly(lobby, "ada")
        lobby.new_system_broadcast("one")
        lobby.new_system_broadcast("two")
        lobby.flush()
        archive.gate.clear()
        enter_directly(lobby, "bob")
        back = DirectFake(EventFormat())
        member = lobby.reserve(Grant("cy", "lobby"))
        joining = gevent.spawn(member.join, back, wait=True, resume=Resume(lobby.epoch, 0, 100))
        left.wait_passed()
        archive.gate.set()

        joining.get(timeout=2)
        assert [event.text for event in back.wait_for(Message, 2)] == ["one", "two"]
        assert [event.user.username for event in ada.wait_for(Joined, 3)] == ["ada", "bob", "cy"]

    def test_while_one_blocks_everything_said_before_is_heard(self, make_lobby):
        may_go_on = Flag()
        greeter = Greeter(lambda channel, user: may_go_on.wait() if user == "bob" else None)
        lobby = make_lobby(greeter)
        ada = enter(lobby, "ada")
        lobby.new_system_broadcast("before")
        lobby.flush()
        enter(lobby, "bob")
        wait_until(lambda: greeter.calls == ["ada", "bob"])

        assert hear(ada) == ["before"]
        may_go_on.set()

    def test_while_one_blocks_nobody_else_waits(self, make_lobby):
        may_go_on = Flag()
        greeter = Greeter(lambda channel, user: may_go_on.wait() if user == "ada" else None)
        lobby = make_lobby(greeter)
        witness = enter(lobby, "witness")
        enter(lobby, "ada")
        wait_until(lambda: greeter.calls == ["witness", "ada"])
        with gevent.Timeout(2):
            lobby.new_system_broadcast("meanwhile")
            lobby.connect_user("bob", PipeConn())
            lobby.remove_user("ada")
        may_go_on.set()

        wait_until(lambda: lobby.get_users() == ["bob", "witness"])
        hear_until(witness, "meanwhile")

    @pytest.mark.parametrize(
        "does",
        [
            pytest.param(lambda channel, user: channel.new_system_broadcast("done"), id="broadcast"),
            pytest.param(lambda channel, user: channel.new_broadcast("done", user), id="broadcast as the user"),
            pytest.param(lambda channel, user: channel.new_whisper("done", "bot", user), id="whisper"),
            pytest.param(lambda channel, user: channel.get_users(), id="get_users"),
            pytest.param(lambda channel, user: channel.remove_user("ada"), id="remove_user"),
            pytest.param(lambda channel, user: channel.close(), id="close"),
            pytest.param(lambda channel, user: channel.connect_user("bot", PipeConn()), id="connect_user"),
            pytest.param(
                lambda channel, user: channel.connect_user_and_wait("bot", PipeConn()), id="connect_user_and_wait"
            ),
        ],
    )
    def test_it_can_call_anything_without_waiting_for_itself(self, make_lobby, does):
        done = []

        def hook(channel, user):
            if user == "ada":
                with gevent.Timeout(1):
                    does(channel, user)
                done.append(user)

        enter(make_lobby(Greeter(hook)), "ada")

        wait_until(lambda: done == ["ada"])

    @pytest.mark.parametrize("method", ["connect_user", "close", "remove_user", "new_system_broadcast"])
    def test_what_it_spawns_and_waits_for_does_not_wait_either(self, make_lobby, method):
        arguments = {"connect_user": ("bot", PipeConn()), "close": (), "remove_user": ("ada",)}.get(method, ("hello",))
        done = []

        def hook(channel, user):
            if user == "ada":
                gevent.spawn(getattr(channel, method), *arguments).get(timeout=1)
                done.append(user)

        enter(make_lobby(Greeter(hook)), "ada")

        wait_until(lambda: done == ["ada"])

    def test_it_can_remove_who_comes(self, make_lobby):
        lobby = make_lobby(Greeter(lambda channel, user: channel.remove_user(user) if user == "troll" else None))
        ada, troll = enter_directly(lobby, "ada"), enter_directly(lobby, "troll")

        assert troll.wait_for_end().code == 4503
        ada.wait_for(Left)
        assert lobby.get_users() == ["ada"]

    def test_it_can_close_the_channel(self, make_lobby):
        lobby = make_lobby(Greeter(lambda channel, user: channel.close() if user == "last" else None))
        ada, last = enter_directly(lobby, "ada"), enter_directly(lobby, "last")

        ada.wait_for_end()
        last.wait_for_end()
        assert lobby.is_closed

    def test_it_can_bring_a_bot_along(self, make_lobby):
        bot = PipeConn()
        lobby = make_lobby(Greeter(lambda channel, user: channel.connect_user("bot", bot) if user == "ada" else None))
        ada = enter(lobby, "ada")
        wait_until(lambda: lobby.get_users() == ["ada", "bot"])
        bot.client.send("I am with her")

        hear_until(ada, "bot: I am with her")

    def test_it_is_refused_a_name_that_is_taken(self, make_lobby):
        refused = []

        def hook(channel, user):
            with pytest.raises(UserAlreadyConnected):
                channel.connect_user("ada", PipeConn())
            refused.append(user)

        enter(make_lobby(Greeter(hook)), "ada")

        wait_until(lambda: refused == ["ada"])

    def test_it_can_say_far_more_than_the_inbox_holds_but_not_without_end(self, make_lobby):
        said = []

        def hook(channel, user):
            if user != "ada":
                return
            for _ in range(HOOK_ROOM * 4 - 1):  # that ada has come is on its way too
                channel.new_system_broadcast(f"{len(said)}")
                said.append(user)
            with pytest.raises(ChannelBusy), never_yields():
                channel.new_system_broadcast("one too many")

        lobby = make_lobby(Greeter(hook), inbox=4)
        ada = enter_directly(lobby, "ada")

        assert len(ada.wait_for(Message, HOOK_ROOM * 4 - 1)) == HOOK_ROOM * 4 - 1
        assert len(said) == HOOK_ROOM * 4 - 1

    def test_shared_connections_are_one_user(self, make_lobby):
        greeter = Greeter(nothing)
        lobby = make_lobby(greeter, duplicate_user="share")
        for _ in range(3):
            enter(lobby, "ada")
        lobby.flush()

        assert greeter.calls == ["ada"]


class TestOnDisconnect:
    def test_it_replaces_the_notice_for_plain_clients_alone(self, make_lobby):
        lobby = make_lobby(Waver(lambda channel, user: channel.new_system_broadcast(f"bye, {user}")))
        ada, cy, bob = enter(lobby, "ada"), enter_directly(lobby, "cy"), enter(lobby, "bob")
        leave(bob)

        assert hear_until(ada, "bye, bob")[-2:] == ["bob entered lobby!", "bye, bob"]
        assert [(event.username, event.text) for event in cy.wait_for(Left)] == [("bob", "")]

    def test_it_can_speak_and_nothing_else(self, make_lobby):
        waver = Waver(nothing)
        lobby = make_lobby(waver)
        leave(enter(lobby, "ada"))
        wait_until(lambda: waver.channels)

        (channel,) = waver.channels
        assert isinstance(channel, RestrictedChatChannel)
        assert {name for name in dir(channel) if not name.startswith("_")} == {
            "name",
            "is_closed",
            "new_broadcast",
            "new_system_broadcast",
            "new_whisper",
            "new_system_whisper",
        }
        assert (channel.name, channel.is_closed) == ("lobby", False)

    def test_each_way_of_speaking_works(self, make_lobby):
        def does(channel, user):
            channel.new_broadcast("one", "ghost")
            channel.new_system_broadcast("two")
            channel.new_whisper("three", "ghost", "ada")
            channel.new_system_whisper("four", "ada")

        lobby = make_lobby(Waver(does))
        ada, bob = enter(lobby, "ada"), enter(lobby, "bob")
        leave(bob)

        assert hear_until(ada, "four")[2:] == ["ghost: one", "two", "ghost: three", "four"]

    def test_the_user_is_not_listed_any_more(self, make_lobby):
        seen = []
        lobby = make_lobby(Waver(lambda channel, user: seen.append(lobby.get_users())))
        enter(lobby, "ada")
        leave(enter(lobby, "bob"))

        wait_until(lambda: seen == [["ada"]])

    @pytest.mark.parametrize("how", ["hang up", "remove", "close"])
    def test_it_is_called_once_however_the_user_goes(self, make_lobby, how):
        waver = Waver(nothing)
        lobby = make_lobby(waver)
        enter(lobby, "bob")
        ada = enter_directly(lobby, "ada")
        if how == "hang up":
            ada.hang_up()
        elif how == "remove":
            lobby.remove_user("ada")
        lobby.close()

        assert sorted(waver.calls) == ["ada", "bob"]

    def test_it_comes_before_the_channels_end_returns(self, make_lobby):
        waver = Waver(nothing)
        lobby = make_lobby(waver)
        for number in range(20):
            enter(lobby, f"user {number}")
        lobby.close()

        assert len(waver.calls) == 20
        assert all(channel.is_closed for channel in waver.channels)

    def test_what_it_says_in_a_channel_that_ends_is_refused_without_noise(self, make_lobby):
        """The autouse fixtures see to "without noise"."""
        waver = Waver(lambda channel, user: channel.new_system_broadcast("bye"))
        lobby = make_lobby(waver)
        ada = enter_directly(lobby, "ada")
        enter(lobby, "bob")
        lobby.close()

        assert len(waver.calls) == 2
        assert not any(isinstance(event, Message) for event in ada.events)

    @pytest.mark.logs_errors
    def test_one_that_raises_is_logged_and_the_others_are_called_too(self, make_lobby, caplog):
        waver = Waver(fail)
        lobby = make_lobby(waver)
        for user in ("ada", "bob"):
            enter(lobby, user)
        lobby.close()

        assert sorted(waver.calls) == ["ada", "bob"]
        assert "on_disconnect failed" in caplog.text

    def test_who_was_never_in_is_not_waved_to(self, make_server):
        waver = Waver(nothing)
        server = make_server(controller=waver)
        lobby = server.create_channel("lobby")
        server.reserve(server.redeem(server.request_token("ada", "lobby"))).cancel()
        lobby.flush()

        assert waver.calls == []

    def test_shared_connections_are_one_user(self, make_lobby):
        waver = Waver(nothing)
        lobby = make_lobby(waver, duplicate_user="share")
        tabs = [enter(lobby, "ada") for _ in range(3)]
        for tab in tabs[:2]:
            leave(tab)
        lobby.flush()
        assert waver.calls == []

        leave(tabs[2])
        wait_until(lambda: waver.calls == ["ada"])

    def test_comings_and_goings_are_called_in_order(self, make_lobby):
        calls = []

        class Both:
            def on_connect(self, channel, username):
                calls.append(f"+{username}")

            def on_disconnect(self, channel, username):
                calls.append(f"-{username}")

        lobby = make_lobby(Both())
        for _ in range(5):
            enter_directly(lobby, "ada").hang_up()
        lobby.flush()

        assert calls == ["+ada", "-ada"] * 5


class TestNoController:
    @pytest.mark.parametrize("controller", [None, object()])
    def test_without_hooks_everything_is_as_usual(self, make_lobby, controller):
        lobby = make_lobby(controller)
        ada = enter(lobby, "ada")
        ada.send("hello")

        assert hear(ada, 2) == ["ada entered lobby!", "ada: hello"]

    def test_a_whisper_is_not_rendered(self, make_lobby):
        ada = enter_directly(make_lobby(None), "ada", EventFormat())
        ada.say("note", to="ada", id="a-1")

        assert [(event.text, event.rendered) for event in ada.wait_for(Whisper)] == [("note", False)]


def test_a_hook_that_is_still_running_when_the_channel_is_closed_goes_first(make_lobby):
    may_go_on = Flag()
    greeter = Greeter(lambda channel, user: (may_go_on.wait(), channel.new_system_broadcast("last words")))
    lobby = make_lobby(greeter)
    ada = DirectFake(EventFormat())
    lobby.connect_user("ada", ada)
    wait_until(lambda: greeter.calls == ["ada"])
    lobby.close()  # returns at once, because a hook runs
    assert lobby.is_closed
    assert ada.closing is None

    may_go_on.set()

    ada.wait_for_end()
    assert not any(isinstance(event, Message) for event in ada.events)
