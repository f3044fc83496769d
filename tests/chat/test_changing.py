"""Editing and deleting, as members and applications do it."""

import gevent
import pytest

from chat import ChatChannel
from chat.broker import MemoryBroker
from chat.errors import BadText, BrokerUnavailable, ChannelClosed, InvalidUser, MessageDeleted, MessageTooBig, NoSuchMessage
from chat.event import Ack, Deleted, Edited, Message, Refusal
from chat.member import EVERYBODY
from chat.requests import Delete, Edit, Publish, Request
from chat.tokens import Grant
from tests.chat.fakes import DirectFake, GatedArchive
from tests.chat.steps import enter, enter_directly, hear_until


@pytest.fixture
def archive() -> GatedArchive:
    return GatedArchive()


@pytest.fixture(params=["volatile", "archived", "only in the archive"])
def lobby(request, make_server, archive, clock) -> ChatChannel:
    if request.param == "volatile":
        return make_server(edit_window=60).create_channel("lobby")
    recent = 1 if request.param == "only in the archive" else 1000
    broker = MemoryBroker(archive, recent=recent, clock=clock)
    return make_server(edit_window=60, backends={"broker": broker, "archive": archive}).create_channel("lobby")


def come(channel: ChatChannel, user: str, rights: frozenset[str] = EVERYBODY) -> DirectFake:
    conn = DirectFake()
    channel.reserve(Grant(user, channel.name), rights).join(conn, wait=True)
    return conn


def ask(conn: DirectFake, channel: ChatChannel, request: Request) -> Ack | Refusal:
    """The answer to a request, whose id no other one has."""
    conn.ask(request)
    channel.flush()
    (answer,) = [event for event in conn.events if isinstance(event, Ack | Refusal) and event.id == request.id]
    return answer


def code(answer: Ack | Refusal) -> str:
    return answer.code if isinstance(answer, Refusal) else "done"


@pytest.fixture
def ada(lobby) -> DirectFake:
    """She has said two things, and bob one between."""
    conn = enter_directly(lobby, "ada")
    lobby.new_broadcast("helo", "ada")
    lobby.new_broadcast("hi", "bob")
    lobby.new_broadcast("well", "ada")
    lobby.flush()
    return conn


class TestMembers:
    def test_an_edit_is_acked_and_everybody_hears_it_and_the_message_is_as_it_says(self, lobby, ada):
        witness = enter_directly(lobby, "cy")
        assert ask(ada, lobby, Edit(1, "hello", id="a-1")) == Ack("a-1", 4)

        for conn in (ada, witness):
            (edit,) = conn.wait_for(Edited)
            assert (edit.target, edit.sender, edit.text, edit.id, edit.offset) == (1, "ada", "hello", "a-1", 4)
        assert [past.text for past in lobby.history()[0]] == ["hello", "hi", "well"]
        assert lobby.offset == 4

    def test_a_delete_too_and_the_text_is_gone(self, lobby, ada):
        assert ask(ada, lobby, Delete(1, id="a-1")) == Ack("a-1", 4)

        (delete,) = ada.wait_for(Deleted)
        assert (delete.target, delete.sender, delete.id, delete.offset) == (1, "ada", "a-1", 4)
        assert [past.text for past in lobby.history()[0]] == ["", "hi", "well"]

    @pytest.mark.parametrize(
        ("rights", "request_", "expected"),
        [
            (EVERYBODY, Edit(2, "mine", id="x"), "not_your_message"),
            (EVERYBODY, Delete(2, id="x"), "not_your_message"),
            (EVERYBODY | {"moderate"}, Edit(2, "ours", id="x"), "done"),
            (EVERYBODY | {"moderate"}, Delete(2, id="x"), "done"),
            (EVERYBODY - {"edit"}, Edit(1, "hello", id="x"), "forbidden"),
            (EVERYBODY - {"delete"}, Delete(1, id="x"), "forbidden"),
            (EVERYBODY, Edit(1, "a\0b", id="x"), "bad_text"),
            (EVERYBODY, Edit(1, "x" * 4097, id="x"), "message_too_big"),
            (EVERYBODY, Edit(99, "hello", id="x"), "no_such_message"),
            (EVERYBODY, Delete(2**53 - 1, id="x"), "no_such_message"),
        ],
    )
    def test_what_is_refused_has_a_code_and_changes_nothing(self, lobby, ada, rights, request_, expected):
        ada.hang_up()
        again = come(lobby, "ada", rights)

        assert code(ask(again, lobby, request_)) == expected
        assert lobby.offset == (4 if expected == "done" else 3)
        assert again.closing is None

    def test_an_edit_or_a_delete_is_no_message_to_change(self, lobby, ada):
        ask(ada, lobby, Edit(1, "hello", id="a-1"))
        ask(ada, lobby, Delete(3, id="a-2"))

        assert code(ask(ada, lobby, Edit(4, "x", id="a-3"))) == "no_such_message"
        assert code(ask(ada, lobby, Delete(5, id="a-4"))) == "no_such_message"

    def test_after_the_window_it_is_too_late_for_the_author_and_not_for_moderators(self, lobby, ada, clock):
        moderator = come(lobby, "mod", EVERYBODY | {"moderate"})
        clock.advance(61)

        assert code(ask(ada, lobby, Edit(1, "hello", id="a-1"))) == "too_late"
        assert code(ask(ada, lobby, Delete(1, id="a-2"))) == "too_late"
        assert code(ask(moderator, lobby, Delete(1, id="m-1"))) == "done"

    def test_nothing_can_be_done_to_what_was_deleted(self, lobby, ada):
        ask(ada, lobby, Delete(1, id="a-1"))

        assert code(ask(ada, lobby, Edit(1, "hello", id="a-2"))) == "message_deleted"
        assert code(ask(ada, lobby, Delete(1, id="a-3"))) == "message_deleted"
        assert lobby.offset == 4

    @pytest.mark.parametrize("request_", [Edit(1, "hello", id="a-1"), Delete(1, id="a-1")])
    def test_what_is_said_again_by_the_same_id_is_acked_as_before_and_done_once(self, lobby, ada, request_):
        first = ask(ada, lobby, request_)
        ada.ask(request_)
        lobby.flush()

        assert ada.wait_for(Ack) == [first, first]
        assert lobby.offset == 4

    def test_an_edit_said_again_after_the_message_was_deleted_is_acked_as_before(self, lobby, ada):
        first = ask(ada, lobby, Edit(1, "hello", id="a-1"))
        ask(ada, lobby, Delete(1, id="a-2"))
        ada.ask(Edit(1, "hello", id="a-1"))
        lobby.flush()

        assert ada.wait_for(Ack)[-1] == first
        assert [past.text for past in lobby.history()[0]] == ["", "hi", "well"]

    def test_without_an_id_it_is_done_and_not_acked(self, lobby, ada):
        ada.ask(Edit(1, "hello"))
        lobby.flush()

        assert len(ada.wait_for(Edited)) == 1
        assert not any(isinstance(event, Ack) for event in ada.events)

    def test_a_plain_client_hears_of_an_edit_in_words_and_nothing_of_a_delete(self, lobby, ada):
        plain = enter(lobby, "cy")
        ask(ada, lobby, Delete(3, id="a-1"))
        ask(ada, lobby, Edit(1, "hello", id="a-2"))

        assert hear_until(plain, "ada: (edited) hello") == ["cy entered lobby!", "ada: (edited) hello"]


class TestInOneBatch:
    """Requests that are judged one behind the other, though nothing of them is in the log yet."""

    def answers(self, conn: DirectFake, channel: ChatChannel, *requests: Request) -> list[str]:
        for request in requests:
            conn.ask(request)
        channel.flush()
        found = {event.id: code(event) for event in conn.events if isinstance(event, Ack | Refusal)}
        return [found[request.id] for request in requests]

    def test_an_edit_behind_its_own_message(self, lobby, ada):
        assert self.answers(ada, lobby, Publish("new", id="1"), Edit(4, "newer", id="2")) == ["done", "done"]
        assert [past.text for past in lobby.history(after=3)[0]] == ["newer"]

    def test_an_edit_ahead_of_its_message(self, lobby, ada):
        found = self.answers(ada, lobby, Edit(4, "newer", id="1"), Publish("new", id="2"))

        assert found == ["no_such_message", "done"]
        assert [past.text for past in lobby.history(after=3)[0]] == ["new"]

    def test_two_deletes_of_one_message(self, lobby, ada):
        assert self.answers(ada, lobby, Delete(1, id="1"), Delete(1, id="2")) == ["done", "message_deleted"]
        assert lobby.offset == 4

    def test_an_edit_behind_a_delete(self, lobby, ada):
        assert self.answers(ada, lobby, Delete(1, id="1"), Edit(1, "x", id="2")) == ["done", "message_deleted"]

    def test_a_delete_behind_an_edit(self, lobby, ada):
        assert self.answers(ada, lobby, Edit(1, "x", id="1"), Delete(1, id="2")) == ["done", "done"]
        assert [past.text for past in lobby.history()[0]] == ["", "hi", "well"]

    def test_two_edits_of_one_message(self, lobby, ada):
        assert self.answers(ada, lobby, Edit(1, "x", id="1"), Edit(1, "y", id="2")) == ["done", "done"]
        assert [past.text for past in lobby.history()[0]] == ["y", "hi", "well"]

    def test_one_that_is_refused_costs_the_others_nothing(self, lobby, ada):
        requests = (
            Publish("a", id="1"),
            Edit(2, "x", id="2"),
            Publish("b", id="3"),
            Delete(99, id="4"),
            Publish("c", id="5"),
        )
        found = self.answers(ada, lobby, *requests)

        assert found == ["done", "not_your_message", "done", "no_such_message", "done"]
        assert [past.text for past in lobby.history(after=3)[0]] == ["a", "b", "c"]
        assert [event.offset for event in ada.wait_for(Message, 6)] == [1, 2, 3, 4, 5, 6]


class TestEncoders:
    class Encoder:
        def encode(self, channel, date, msg, sender, to):
            return "" if msg == "cancel" else f"<{sender}: {msg}>"

    def test_an_edit_is_rendered_like_what_is_said(self, make_server):
        lobby = make_server(controller=self.Encoder()).create_channel("lobby")
        ada, plain = enter_directly(lobby, "ada"), enter(lobby, "bob")
        ada.say("helo")
        ada.ask(Edit(1, "hello", id="a-1"))
        hear_until_rendered = plain.recv(2), plain.recv(2), plain.recv(2)

        assert hear_until_rendered[1:] == ("<ada: helo>", "<ada: hello>")
        assert ada.wait_for(Edited)[0].rendered

    def test_one_that_it_cancels_is_acked_without_an_offset_and_changes_nothing(self, make_server):
        lobby = make_server(controller=self.Encoder()).create_channel("lobby")
        ada = enter_directly(lobby, "ada")
        ada.say("helo")
        ada.ask(Edit(1, "cancel", id="a-1"))

        assert ada.wait_for(Ack) == [Ack("a-1", None)]
        assert lobby.offset == 1


class TestALogThatCannotBeReached:
    @pytest.mark.logs_errors
    def test_an_edit_whose_message_cannot_be_looked_up_is_refused_to_be_tried_again(self, make_server, archive):
        broker = MemoryBroker(archive, recent=1)
        lobby = make_server(backends={"broker": broker, "archive": archive}).create_channel("lobby")
        ada = enter_directly(lobby, "ada")
        ada.say("helo")
        ada.say("later")
        lobby.flush()
        archive.fault = BrokerUnavailable()
        ada.ask(Edit(1, "hello", id="a-1"))
        (refusal,) = ada.wait_for(Refusal)
        archive.fault = None

        assert (refusal.code, refusal.retry) == ("broker_unavailable", True)
        assert ask(ada, lobby, Edit(1, "hello", id="a-2")) == Ack("a-2", 3)


class TestApplications:
    def test_they_may_change_all_messages_at_any_time_and_the_return_tells_that_it_is_done(self, lobby, ada, clock):
        clock.advance(1000)
        lobby.edit_message(2, "[moderated]")
        lobby.delete_message(1, "ada")

        assert [past.text for past in lobby.history()[0]] == ["", "[moderated]", "well"]
        lobby.flush()
        assert [event.sender for event in ada.wait_for(Edited)] == [""]
        assert [event.sender for event in ada.wait_for(Deleted)] == ["ada"]

    def test_what_cannot_be_done_raises(self, lobby, ada):
        lobby.delete_message(1)
        for error, call in (
            (NoSuchMessage, lambda: lobby.edit_message(99, "x")),
            (MessageDeleted, lambda: lobby.delete_message(1)),
            (InvalidUser, lambda: lobby.delete_message(2, "a\nb")),
            (BadText, lambda: lobby.edit_message(2, "a\0b")),
            (MessageTooBig, lambda: lobby.edit_message(2, "x" * 4097)),
        ):
            with pytest.raises(error):
                call()

        assert lobby.offset == 4

    @pytest.mark.logs_errors
    def test_in_a_hook_they_do_not_wait_and_what_goes_wrong_is_logged(self, make_server, caplog):
        class Tidy:
            def on_connect(self, channel, username):
                channel.delete_message(1)
                channel.delete_message(7)

        lobby = make_server(controller=Tidy()).create_channel("lobby")
        lobby.new_system_broadcast("outdated")
        ada = enter_directly(lobby, "ada")

        assert [event.target for event in ada.wait_for(Deleted)] == [1]
        lobby.flush()
        assert "there is no such message" in caplog.text

    def test_one_that_waits_for_the_log_is_done_before_the_channel_ends(self, make_server, archive):
        lobby = make_server(backends={"archive": archive}).create_channel("lobby")
        lobby.new_system_broadcast("helo")
        lobby.flush()
        archive.gate.clear()
        editing = gevent.spawn(lobby.edit_message, 1, "hello")
        gevent.idle()
        closing = gevent.spawn(lobby.close)
        gevent.idle()
        assert not editing.ready()
        archive.gate.set()
        gevent.joinall([editing, closing], timeout=2, raise_error=True)

        for call in (lambda: lobby.edit_message(1, "too late"), lambda: lobby.delete_message(1), lobby.history):
            with pytest.raises(ChannelClosed):
                call()
