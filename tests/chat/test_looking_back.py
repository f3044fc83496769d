"""Pages of the history, marks of what was read, and who types."""

import gevent
import pytest

from chat.archive import MemoryArchive
from chat.crowd import LARGE
from chat.errors import BrokerUnavailable, ChannelClosed, InvalidUser
from chat.event import IsTyping, Message, Page, Refusal, Welcome
from chat.member import EVERYBODY
from chat.requests import History, Read, Typing
from chat.tokens import Grant
from chat.typists import PERIOD
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive
from tests.chat.steps import enter_directly, never_yields, wait_until


@pytest.fixture
def archive() -> GatedArchive:
    return GatedArchive()


@pytest.fixture
def lobby(make_server, archive):
    """With ten messages, of which two are kept at hand."""
    server = make_server(recent_events=2, backends={"archive": archive})
    lobby = server.create_channel("lobby")
    for number in range(10):
        lobby.new_broadcast(str(number), "bob")
    lobby.flush()
    return lobby


def come(channel, user: str, rights: frozenset[str] = EVERYBODY) -> DirectFake:
    conn = DirectFake()
    channel.reserve(Grant(user, channel.name), rights).join(conn, wait=True)
    conn.wait_for(Welcome)
    return conn


class TestPages:
    @pytest.mark.parametrize(
        ("request_", "texts", "more"),
        [
            (History("h"), "0123456789", False),
            (History("h", limit=3), "789", True),
            (History("h", limit=2), "89", True),
            (History("h", before=4, limit=2), "12", True),
            (History("h", before=3), "01", False),
            (History("h", after=0, limit=3), "012", True),
            (History("h", after=8), "89", False),
            (History("h", after=10), "", False),
            (History("h", before=1), "", False),
            (History("h", after=2**53 - 1), "", False),
        ],
    )
    def test_one_is_answered_with_what_was_asked_for(self, lobby, request_, texts, more):
        ada = come(lobby, "ada")
        ada.ask(request_)
        (page,) = ada.wait_for(Page)

        assert page.id == "h"
        assert "".join(past.text for past in page.events) == texts
        assert page.more is more

    def test_only_who_asked_gets_it(self, lobby):
        ada, bob = come(lobby, "ada"), come(lobby, "bob")
        ada.ask(History("h"))
        ada.wait_for(Page)
        lobby.flush()

        assert not any(isinstance(event, Page) for event in bob.events)

    def test_without_the_right_it_is_forbidden(self, lobby):
        ada = come(lobby, "ada", EVERYBODY - {"history"})
        ada.ask(History("h"))

        (refusal,) = ada.wait_for(Refusal)
        assert (refusal.id, refusal.code) == ("h", "forbidden")

    def test_while_one_is_read_all_else_goes_on_but_a_second_one(self, lobby, archive):
        ada, bob = come(lobby, "ada"), come(lobby, "bob")
        archive.read_gate.clear()
        with never_yields():
            ada.ask(History("h-1"))
        assert archive.is_waiting.wait(2)
        ada.ask(History("h-2"))
        ada.say("hello")

        (refusal,) = ada.wait_for(Refusal)
        assert (refusal.id, refusal.code, refusal.retry) == ("h-2", "rate_limited", True)
        bob.wait_for(Message)
        bob.ask(History("h", limit=1))
        bob.wait_for(Page)  # what is at hand
        archive.read_gate.set()
        assert [page.id for page in ada.wait_for(Page)] == ["h-1"]
        ada.ask(History("h-3"))
        assert [page.id for page in ada.wait_for(Page, 2)] == ["h-1", "h-3"]

    @pytest.mark.logs_errors
    def test_one_that_cannot_be_read_is_refused_to_be_tried_again(self, lobby, archive):
        ada = come(lobby, "ada")
        archive.fault = BrokerUnavailable()
        ada.ask(History("h-1"))
        (refusal,) = ada.wait_for(Refusal)
        archive.fault = RuntimeError("on purpose")
        ada.ask(History("h-2"))
        (_, other) = ada.wait_for(Refusal, 2)
        archive.fault = None
        ada.ask(History("h-3"))

        assert (refusal.id, refusal.code, refusal.retry) == ("h-1", "broker_unavailable", True)
        assert (other.id, other.code) == ("h-2", "broker_unavailable")
        assert "on purpose" not in other.message
        assert ada.wait_for(Page)[0].id == "h-3"

    def test_who_has_gone_meanwhile_gets_none(self, lobby, archive):
        ada = come(lobby, "ada")
        archive.read_gate.clear()
        ada.ask(History("h"))
        assert archive.is_waiting.wait(2)
        ada.hang_up()
        archive.read_gate.set()
        lobby.flush()

        assert not any(isinstance(event, Page) for event in ada.events)
        assert lobby.get_users() == []

    def test_one_that_hangs_does_not_hold_up_the_channels_end(self, lobby, archive):
        ada = come(lobby, "ada")
        archive.read_gate.clear()
        ada.ask(History("h"))
        assert archive.is_waiting.wait(2)
        with gevent.Timeout(2):
            lobby.close()

        assert ada.closing is not None

    def test_the_archive_is_not_asked_by_everybody_at_once(self, lobby, archive):
        members = [come(lobby, f"user {number}") for number in range(20)]
        archive.read_gate.clear()
        for member in members:
            member.ask(History("h"))
        gevent.idle()
        archive.read_gate.set()
        for member in members:
            member.wait_for(Page)

        assert archive.most_reading <= 4

    def test_applications_can_ask_too(self, lobby):
        found, more = lobby.history(before=5, limit=2)

        assert [past.offset for past in found] == [3, 4]
        assert more is True
        assert len(lobby.history()[0]) == 10


class TestMarks:
    def unread(self, archive, lobby, user: str = "ada") -> int:
        log = lobby._record.log
        return archive.unread(user, [log])[log].unread

    def test_what_a_member_has_read_is_kept(self, lobby, archive):
        come(lobby, "ada", frozenset({"join"})).ask(Read(7))

        assert self.unread(archive, lobby) == 3

    def test_no_mark_is_beyond_the_end(self, lobby, archive):
        come(lobby, "ada").ask(Read(2**53 - 1))
        lobby.new_broadcast("news", "bob")
        lobby.flush()

        assert self.unread(archive, lobby) == 1

    def test_it_is_not_answered_and_never_yields(self, lobby):
        ada = come(lobby, "ada")
        lobby.flush()
        before = len(ada.events)
        with never_yields():
            ada.ask(Read(3))
        lobby.flush()

        assert len(ada.events) == before

    def test_applications_can_set_them(self, lobby, archive):
        lobby.mark_read("ada", 4)

        assert self.unread(archive, lobby) == 6
        with pytest.raises(InvalidUser):
            lobby.mark_read("", 4)
        lobby.close()
        with pytest.raises(ChannelClosed):
            lobby.mark_read("ada", 5)

    def test_without_an_archive_there_are_none_and_nobody_minds(self, server):
        lobby = server.create_channel("lobby")
        come(lobby, "ada").ask(Read(0))
        lobby.mark_read("ada", 0)

        assert server.unread("ada", ["lobby"]) == {}


@pytest.fixture(params=["volatile", "archived"])
def room(request, make_server):
    backends = {"archive": MemoryArchive()} if request.param == "archived" else None
    return make_server(duplicate_user="share", backends=backends).create_channel("lobby")


class TestTyping:
    def heard(self, *conns: DirectFake) -> list[list[str]]:
        return [[event.user.username for event in conn.events if isinstance(event, IsTyping)] for conn in conns]

    def test_the_others_are_told_and_no_connection_of_ones_own(self, room):
        form = EventFormat()
        ada, tab, bob = (enter_directly(room, user, form) for user in ("ada", "ada", "bob"))
        cy = enter_directly(room, "cy")
        room.flush()
        with never_yields():
            ada.ask(Typing())
        bob.wait_for(IsTyping)
        cy.wait_for(IsTyping)

        assert self.heard(ada, tab, bob, cy) == [[], [], ["ada"], ["ada"]]

    def test_of_two_who_type_each_is_told_of_the_other(self, room):
        form = EventFormat()
        ada, bob, cy = (enter_directly(room, user, form) for user in ("ada", "bob", "cy"))
        room.flush()
        ada.ask(Typing())
        bob.ask(Typing())
        ada.say("so much")
        for conn in (ada, bob, cy):
            conn.wait_for(Message)

        assert self.heard(ada, bob, cy) == [["bob"], ["ada"], ["ada", "bob"]]

    def test_ones_message_comes_behind_it(self, room):
        ada, bob = enter_directly(room, "ada"), enter_directly(room, "bob")
        room.flush()
        ada.ask(Typing())
        ada.say("hello")
        bob.wait_for(Message)

        assert [type(event) for event in bob.events[-2:]] == [IsTyping, Message]

    def test_it_is_told_again_after_a_while(self, room, clock):
        ada, bob = enter_directly(room, "ada"), enter_directly(room, "bob")
        room.flush()
        for _ in range(10):
            ada.ask(Typing())
        bob.wait_for(IsTyping)
        clock.advance(PERIOD)
        ada.ask(Typing())
        bob.wait_for(IsTyping, 2)

        assert self.heard(bob) == [["ada", "ada"]]

    def test_who_may_not_speak_may_not_type_either(self, room):
        bob = enter_directly(room, "bob")
        ada = come(room, "ada", EVERYBODY - {"publish"})
        ada.ask(Typing())
        room.new_system_broadcast("over")
        bob.wait_for(Message)

        assert self.heard(bob) == [[]]
        assert not any(isinstance(event, Refusal) for event in ada.events)

    def test_large_rooms_are_not_told(self, room):
        conns = [enter_directly(room, f"user {number}") for number in range(LARGE + 1)]
        wait_until(lambda: conns[-1].started)
        conns[0].ask(Typing())
        room.flush()
        assert self.heard(conns[1]) == [[]]

        conns[-1].hang_up()
        conns[0].ask(Typing())
        conns[1].wait_for(IsTyping)

    def test_it_is_not_in_the_log(self, room):
        ada, bob = enter_directly(room, "ada"), enter_directly(room, "bob")
        room.flush()
        ada.ask(Typing())
        bob.wait_for(IsTyping)

        assert room.offset == 0
