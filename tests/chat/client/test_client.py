"""One client against a server that does what the test says."""

import json

import gevent
import pytest

from chat.client import (
    ChatClient,
    Ended,
    Joined,
    Lost,
    Message,
    NotOpen,
    OutboxFull,
    Position,
    Refused,
    State,
    Unconfirmed,
    Unreachable,
    Whisper,
)
from chat.errors import AlreadyJoined, BadText, InvalidChannel, MessageTooBig
from chat.testing import TurnedClock, never_yields, wait_until
from tests.chat.client.conftest import Enter, MakeClient
from tests.chat.client.scripted import DATE, ScriptedServer, begin, frame

BACK = {"recovered": True}
MOVED = {"epoch": "f", "offset": 1_048_586}  # a welcome on an open socket, when the server's log has lost something


def test_who_joins_shows_a_token_and_is_welcomed(enter: Enter) -> None:
    lobby, peer = enter(users=("ann", "bob"), offset=7)

    assert peer.token == "lobby 1"
    assert peer.request.path == "/chat/ws"
    assert (lobby.username, sorted(lobby.users), lobby.count) == ("ann", ["ann", "bob"], 2)
    assert lobby.position == Position("e", 7)


def test_what_is_said_is_confirmed_by_its_id(enter: Enter) -> None:
    lobby, peer = enter()

    with never_yields():
        receipt = lobby.publish("hello")
    asked = peer.hears("publish")
    assert not receipt.is_done
    peer.says("ack", id=asked["id"], offset=1)

    assert (asked["channel"], asked["text"], asked["to"]) == ("lobby", "hello", None)
    assert receipt.wait(5) == 1
    assert receipt.id == asked["id"]


def test_an_answer_that_does_not_come_in_time_may_still_come(enter: Enter) -> None:
    lobby, peer = enter()
    receipt = lobby.publish("hello")
    with pytest.raises(TimeoutError):
        receipt.wait(0)

    peer.says("ack", id=peer.hears()["id"], offset=1)

    assert receipt.wait(5) == 1


def test_what_is_refused_for_good_fails_with_the_servers_words(enter: Enter) -> None:
    lobby, peer = enter()
    receipt = lobby.publish("psst", to="eve")

    peer.says("error", id=peer.hears()["id"], code="not_here", message="that user is not here", retry=False)

    with pytest.raises(Refused, match="that user is not here") as caught:
        receipt.wait(5)
    assert caught.value.code == "not_here"


def test_what_is_refused_for_now_is_said_again_and_what_came_after_it_waits(enter: Enter, clock: TurnedClock) -> None:
    lobby, peer = enter()
    first, second = lobby.publish("one"), lobby.publish("two")
    said = peer.hears()
    peer.says("error", id=said["id"], code="broker_unavailable", message="later", retry=True)

    assert peer.acks(1) == said
    assert peer.acks(2)["text"] == "two"
    assert (first.wait(5), second.wait(5)) == (1, 2)


def test_one_request_is_under_way_in_a_channel_and_a_history_beside_it(enter: Enter) -> None:
    lobby, peer = enter()
    lobby.publish("one")
    lobby.publish("two")
    begin(lobby.history)

    assert [peer.hears()["type"], peer.hears()["type"]] == ["publish", "history"]
    assert peer.hears_nothing()


def test_who_is_too_fast_is_silent_for_a_second_and_then_slow(enter: Enter, clock: TurnedClock) -> None:
    lobby, peer = enter(limits={"message": 4096, "rate": 10.0})
    lobby.publish("one")
    said = peer.hears()
    peer.says("error", id=said["id"], code="rate_limited", message="too fast", retry=True)
    wait_until(lambda: peer.hears_nothing() and lobby._home.pace.delay())
    lobby.publish("two")
    clock.advance(0.9)
    assert peer.hears_nothing()

    clock.advance(0.2)

    assert peer.acks(1) == said
    assert peer.hears_nothing()
    clock.advance(0.2)
    assert peer.hears()["text"] == "two"


def test_a_client_is_never_faster_than_the_server_allows(enter: Enter, clock: TurnedClock) -> None:
    lobby, peer = enter(limits={"message": 4096, "rate": 10.0})
    for number in range(40):
        lobby.publish(str(number))

    at_once = [peer.acks(number)["text"] for number in range(20)]
    assert peer.hears_nothing()
    clock.advance(0.12)

    assert at_once == [str(number) for number in range(20)]
    later = []
    for number in range(20, 29):
        later.append(peer.acks(number)["text"])
        assert peer.hears_nothing()
        clock.advance(0.12)
    assert later == [str(number) for number in range(20, 29)]


def test_events_come_in_order_each_once(enter: Enter) -> None:
    lobby, peer = enter()
    peer.message(1, "one")
    peer.message(2, "two")
    peer.message(2, "two")
    peer.says("joined", user={"user": "bob", "name": "Bob"})

    one, two, joined = (lobby.recv(5) for _ in range(3))

    assert [one.text, two.text] == ["one", "two"]
    assert isinstance(joined, Joined)
    assert lobby.users["bob"].name == "Bob"
    assert lobby.position == Position("e", 2)


def test_the_position_is_behind_what_was_read_and_not_behind_what_came(enter: Enter) -> None:
    lobby, peer = enter()
    peer.message(1, "one")
    peer.message(2, "two")

    lobby.recv(5)

    assert lobby.position == Position("e", 1)


def test_who_comes_back_goes_on_where_it_stopped_and_says_again_what_is_not_confirmed(
    enter: Enter, server: ScriptedServer
) -> None:
    lobby, peer = enter()
    peer.message(1, "one")
    first, second = lobby.publish("a"), lobby.publish("b")
    said = peer.hears()
    lobby.recv(5)
    peer.cut()

    peer = server.next()
    assert peer.request.path == "/chat/ws?epoch=e&offset=1"
    assert peer.token == "lobby 2"
    peer.welcome(offset=1, recovered=True)

    assert peer.acks(2) == said
    assert peer.acks(3)["id"] == second.id
    assert (first.wait(5), second.wait(5)) == (2, 3)


def test_what_was_missed_is_heard_before_anything_is_said_again_and_may_confirm_it(
    enter: Enter, server: ScriptedServer
) -> None:
    lobby, peer = enter()
    first, second = lobby.publish("a"), lobby.publish("b")
    peer.hears()
    peer.cut()
    peer = server.next().welcome(offset=2, recovered=True)
    peer.message(1, "a", "ann", first.id)
    assert first.wait(5) == 1
    assert peer.hears_nothing()

    peer.message(2, "x")

    assert peer.hears()["id"] == second.id
    assert [lobby.recv(5).text for _ in range(2)] == ["a", "x"]


def test_what_the_server_may_have_forgotten_is_not_said_again(
    enter: Enter, server: ScriptedServer, clock: TurnedClock
) -> None:
    lobby, peer = enter()
    old = lobby.publish("old")
    peer.hears()
    peer.cut()
    peer = server.next()
    never_said = lobby.publish("new")
    clock.advance(291)

    peer.welcome(**BACK)

    with pytest.raises(Unconfirmed):
        old.wait(5)
    assert peer.hears()["id"] == never_said.id


def test_what_cannot_be_resumed_is_lost_and_said_to_be(enter: Enter, server: ScriptedServer) -> None:
    lobby, peer = enter()
    peer.message(1, "one")
    peer.cut()
    server.next().welcome(epoch="f", offset=9).message(10, "ten")

    assert [event.text if isinstance(event, Message) else event for event in (lobby.recv(5) for _ in range(3))] == [
        "one",
        Lost(Position("f", 9)),
        "ten",
    ]
    assert lobby.position == Position("f", 10)


def test_changes_of_messages_fail_when_the_log_has_begun_anew(enter: Enter, server: ScriptedServer) -> None:
    lobby, peer = enter()
    peer.cut()
    edit, delete, said = lobby.edit(1, "corrected"), lobby.delete(2), lobby.publish("hello")
    peer = server.next().welcome(epoch="f")

    for changed in (edit, delete):
        with pytest.raises(Refused) as caught:
            changed.wait(5)
        assert (caught.value.code, caught.value.retry) == ("no_such_message", False)
    assert peer.hears("publish")["id"] == said.id


def test_a_welcome_on_an_open_socket_is_a_return_to_another_place(
    enter: Enter, client: ChatClient, server: ScriptedServer
) -> None:
    lobby, peer = enter(users=("ann", "bob"))
    peer.message(7, "before")
    peer.welcome(**MOVED, users=("eve",))
    peer.message(1_048_587, "after")

    heard = [lobby.recv(5) for _ in range(3)]

    assert heard[1] == Lost(Position("f", 1_048_586))
    assert [event.text for event in heard if isinstance(event, Message)] == ["before", "after"]
    assert (sorted(lobby.users), lobby.count) == (["eve"], 1)
    assert lobby.position == Position("f", 1_048_587)
    with pytest.raises(TimeoutError):
        lobby.recv(0)
    assert client.state == State("online")
    assert server.nobody_comes()


def test_who_has_heard_of_another_place_comes_back_to_it(enter: Enter, server: ScriptedServer) -> None:
    _, peer = enter()
    peer.welcome(**MOVED)
    assert peer.hears_nothing()
    peer.cut()

    assert server.next().request.path == "/chat/ws?epoch=f&offset=1048586"


def test_what_is_not_answered_is_said_again_at_another_place_and_what_is_answered_is_not(enter: Enter) -> None:
    lobby, peer = enter()
    receipts = [lobby.publish(text) for text in ("one", "two", "three")]
    peer.acks(1)
    two = peer.hears("publish")
    peer.welcome(**MOVED)

    assert peer.hears("publish") == two
    for _ in range(2):
        peer.says("ack", id=two["id"], offset=1_048_587)
    assert peer.acks(1_048_588)["text"] == "three"
    assert [receipt.wait(5) for receipt in receipts] == [1, 1_048_587, 1_048_588]
    assert peer.hears_nothing()


def test_what_was_said_again_and_is_refused_twice_waits_once(
    make_client: MakeClient, enter: Enter, clock: TurnedClock
) -> None:
    lobby, peer = enter(by=make_client(chance=lambda: 0.5))
    first, second = lobby.publish("one"), lobby.publish("two")
    said = peer.hears("publish")
    peer.welcome(**MOVED)
    assert peer.hears("publish") == said
    later = frame("error", "lobby", id=said["id"], code="broker_unavailable", message="later", retry=True)
    peer.says_text(*[json.dumps(later)] * 2)
    assert peer.hears_nothing()

    clock.advance(1)

    assert peer.acks(1) == said
    assert peer.acks(2)["text"] == "two"
    assert (first.wait(5), second.wait(5)) == (1, 2)


def test_changes_of_messages_fail_on_an_open_socket_too_where_it_is_another_log(enter: Enter) -> None:
    lobby, peer = enter()
    edit, delete = lobby.edit(1, "corrected"), lobby.delete(2)
    peer.hears("edit")
    peer.welcome(**MOVED)

    for changed in (edit, delete):
        with pytest.raises(Refused, match="no such message"):
            changed.wait(5)
    assert peer.hears_nothing()


def test_changes_of_messages_are_made_where_it_is_the_same_log_without_a_part(enter: Enter) -> None:
    lobby, peer = enter()
    edit = lobby.edit(1, "corrected")
    said = peer.hears("edit")
    peer.welcome(offset=50)

    assert peer.acks(51) == said
    assert edit.wait(5) == 51
    assert lobby.recv(5) == Lost(Position("e", 50))


def test_how_far_one_has_read_another_log_is_not_told_of_this_one(
    enter: Enter, server: ScriptedServer, clock: TurnedClock
) -> None:
    lobby, peer = enter()
    lobby.read(500)
    assert peer.hears("read")["offset"] == 500
    lobby.read(600)
    peer.welcome(epoch="f", offset=0)
    assert peer.hears_nothing()
    clock.advance(2)
    assert peer.hears_nothing()

    lobby.read(2)

    assert peer.hears("read")["offset"] == 2
    clock.advance(2)
    peer.cut()
    assert server.next().welcome(epoch="f", **BACK).hears("read")["offset"] == 2


def test_what_crossed_with_the_channels_end_is_said_again(enter: Enter) -> None:
    lobby, peer = enter()
    said = lobby.publish("hello")
    peer.hears("publish")
    peer.says("error", id=said.id, code="not_joined", message="no", retry=False)

    peer.acks(1)

    assert said.wait(5) == 1


def test_a_position_can_be_handed_in(make_client: MakeClient, enter: Enter) -> None:
    lobby, peer = enter(by=make_client(), given={"position": Position("e", 5)}, offset=6, recovered=True)
    peer.message(6, "six")

    assert peer.request.path == "/chat/ws?epoch=e&offset=5"
    assert lobby.position == Position("e", 5)
    assert lobby.recv(5).text == "six"


def test_a_whisper_that_comes_again_is_heard_once(enter: Enter) -> None:
    lobby, peer = enter()
    for id in ("k", "k", "l"):
        peer.says("whisper", id=id, to="ann", text=id, date=DATE, **{"from": "bob"})

    heard = [lobby.recv(5), lobby.recv(5)]

    assert [event.text for event in heard if isinstance(event, Whisper)] == ["k", "l"]
    with pytest.raises(TimeoutError):
        lobby.recv(0.01)


def test_pings_are_answered(enter: Enter) -> None:
    _, peer = enter()
    peer.says("ping", None)

    assert peer.hears() == {"type": "pong"}


def test_silence_is_death(enter: Enter, server: ScriptedServer, clock: TurnedClock) -> None:
    _, peer = enter()
    clock.advance(39.9)
    assert server.nobody_comes()

    clock.advance(0.2)

    server.next().welcome(**BACK)
    peer.waits_for_end()


def test_silence_after_something_was_said_is_death_sooner(enter: Enter, server: ScriptedServer, clock: TurnedClock) -> None:
    lobby, _ = enter()
    lobby.publish("hello")
    clock.advance(9.9)
    assert server.nobody_comes()

    clock.advance(0.2)

    assert server.next().welcome(**BACK).hears()["text"] == "hello"


def test_any_frame_is_life(enter: Enter, server: ScriptedServer, clock: TurnedClock) -> None:
    lobby, peer = enter()
    for number in range(1, 6):
        clock.advance(30)
        peer.message(number, "x")
        lobby.recv(5)

    assert server.nobody_comes()


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "channel closed"), (4001, "replaced"), (4503, "kicked"), (1008, ""), (1009, "")]
)
def test_a_final_close_ends_the_channel_and_nobody_comes_back(
    enter: Enter, server: ScriptedServer, code: int, reason: str
) -> None:
    lobby, peer = enter()
    peer.message(1, "one")
    receipt = lobby.publish("hello")
    peer.close(code, reason)

    heard = []
    with pytest.raises(Ended) as caught:
        heard.extend(event.text for event in lobby)  # what came before is still heard
    assert caught.value.closing == (code, reason)
    with pytest.raises(Unconfirmed):
        receipt.wait(5)
    with pytest.raises(Ended):
        lobby.publish("again")
    assert server.nobody_comes()


@pytest.mark.parametrize(
    ("status", "code"), [(403, "forbidden"), (404, "invalid_channel"), (409, "user_already_connected")]
)
def test_a_final_refusal_is_raised_by_join(client: ChatClient, server: ScriptedServer, status: int, code: str) -> None:
    joining = begin(client.join, "lobby")
    server.next().refuse(status, code)

    with pytest.raises(Refused, match=f"it is {code}") as caught:
        joining.get(timeout=5)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert client.channels == {}


def test_our_own_ghost_does_not_keep_us_out(enter: Enter, server: ScriptedServer) -> None:
    _, peer = enter()
    peer.cut()
    server.next().refuse(409, "user_already_connected")

    server.next().welcome(**BACK)


def test_a_token_that_a_restart_has_forgotten_is_replaced_and_a_stranger_gives_up(
    client: ChatClient, server: ScriptedServer
) -> None:
    joining = begin(client.join, "lobby")
    for _ in range(6):
        server.next().refuse(401, "invalid_token")

    with pytest.raises(Refused, match="invalid_token"):
        joining.get(timeout=5)


def test_who_is_told_to_wait_waits(client: ChatClient, server: ScriptedServer, clock: TurnedClock) -> None:
    joining = begin(client.join, "lobby")
    server.next().refuse(503, "too_many_connections", Retry_After="7")
    wait_until(lambda: client.state.name == "waiting")
    assert client.state.seconds == 7
    clock.advance(6.9)
    assert server.nobody_comes()

    clock.advance(0.2)

    server.next().welcome()
    joining.get(timeout=5)


def test_a_restart_says_when_to_come_back(
    enter: Enter, client: ChatClient, server: ScriptedServer, clock: TurnedClock
) -> None:
    _, peer = enter()
    peer.close(1012, "retry=1.250")
    wait_until(lambda: client.state.name == "waiting")
    assert client.state.seconds == 1.25

    clock.advance(1.3)

    server.next().welcome(**BACK)


def test_waits_grow_and_a_stable_connection_begins_anew(
    make_client: MakeClient, enter: Enter, server: ScriptedServer, clock: TurnedClock
) -> None:
    waits: list[float] = []
    client = make_client(chance=lambda: 0.5, on_state=lambda state: waits.append(state.seconds) if state.error else None)
    _, peer = enter(by=client)
    for number in range(7):
        peer.cut()
        wait_until(lambda n=number: len(waits) == n + 1)
        clock.advance(16)
        peer = server.next()
    peer.welcome(**BACK)
    wait_until(lambda: client.state.name == "online")
    clock.advance(11)
    peer.cut()
    wait_until(lambda: len(waits) == 8)

    assert waits == [0.5, 1, 2, 4, 8, 15, 15, 0.5]


def test_who_flooded_comes_back_slowly(make_client: MakeClient, enter: Enter, server: ScriptedServer) -> None:
    client = make_client(chance=lambda: 0.5)
    _, peer = enter(by=client)
    peer.close(4029)

    wait_until(lambda: client.state.name == "waiting")
    assert client.state.seconds == 8


def test_a_queue_that_nobody_reads_holds_up_the_socket(make_client: MakeClient, enter: Enter, clock: TurnedClock) -> None:
    lobby, peer = enter(by=make_client(queue=10))
    sending = begin(lambda: [peer.message(number, "x" * 4000) for number in range(1, 5001)])
    gevent.idle()
    assert not sending.ready()
    clock.advance(100)  # our own deafness is not the server's death

    assert [lobby.recv(5).offset for _ in range(5000)] == list(range(1, 5001))
    sending.get(timeout=5)


def test_who_waits_for_an_answer_gets_it_though_nobody_reads(make_client: MakeClient, enter: Enter) -> None:
    lobby, peer = enter(by=make_client(queue=10))
    for number in range(1, 90):
        peer.message(number, "x" * 1000)
    gevent.idle()
    receipt = lobby.publish("hello")
    peer.says("ack", id=peer.hears()["id"], offset=90)

    assert receipt.wait(5) == 90


def test_who_only_speaks_keeps_nothing(make_client: MakeClient, enter: Enter) -> None:
    lobby, peer = enter(by=make_client(queue=10), given={"listen": False})
    for number in range(1, 200):
        peer.message(number, "x")
    receipt = lobby.publish("hello")
    peer.says("ack", id=peer.hears()["id"], offset=200)

    assert receipt.wait(5) == 200
    assert lobby.position == Position("e", 199)
    with pytest.raises(TimeoutError):
        lobby.recv(0)


def test_an_outbox_is_bounded(make_client: MakeClient, enter: Enter) -> None:
    lobby, _ = enter(by=make_client(outbox=2))
    lobby.publish("one")
    lobby.publish("two")

    with pytest.raises(OutboxFull):
        lobby.publish("three")


def test_history_brings_messages_as_they_now_are(enter: Enter) -> None:
    lobby, peer = enter()
    asking = begin(lobby.history, before=9, limit=2)
    asked = peer.hears("history")
    events = [
        {"offset": 1, "id": None, "from": "ann", "text": "b", "date": DATE, "edited": DATE},
        {"offset": 3, "id": "k", "from": "bob", "text": "", "date": DATE, "deleted": DATE},
    ]
    peer.says("history", id=asked["id"], events=events, more=True)
    page = asking.get(timeout=5)

    assert (asked["before"], asked["after"], asked["limit"]) == (9, None, 2)
    assert page.more
    assert [(past.offset, past.sender, past.text, bool(past.edited), bool(past.deleted)) for past in page.events] == [
        (1, "ann", "b", True, False),
        (3, "bob", "", False, True),
    ]


def test_edits_and_deletes_are_asked_for_and_heard(enter: Enter) -> None:
    lobby, peer = enter()
    edit, delete = lobby.edit(1, "new"), lobby.delete(2)
    asked = [peer.hears("edit")]
    peer.says("edit", offset=3, id=edit.id, target=1, text="new", date=DATE, **{"from": "ann"})
    asked.append(peer.acks(4))

    assert [(frame["target"], frame.get("text")) for frame in asked] == [(1, "new"), (2, None)]
    assert (edit.wait(5), delete.wait(5)) == (3, 4)
    assert lobby.recv(5).target == 1


def test_what_was_read_is_told_once_in_a_while_and_again_on_the_next_connection(
    enter: Enter, server: ScriptedServer, clock: TurnedClock
) -> None:
    lobby, peer = enter()
    for offset in (1, 2, 3, 2):
        lobby.read(offset)
    assert peer.hears("read")["offset"] == 1
    assert peer.hears_nothing()
    clock.advance(2)
    assert peer.hears("read")["offset"] == 3
    clock.advance(2)
    peer.cut()

    assert server.next().welcome(**BACK).hears("read")["offset"] == 3


def test_typing_is_told_at_most_every_three_seconds(enter: Enter, clock: TurnedClock) -> None:
    lobby, peer = enter()
    lobby.typing()
    lobby.typing()
    assert peer.hears() == {"type": "typing", "channel": "lobby"}
    assert peer.hears_nothing()

    clock.advance(3)
    lobby.typing()

    assert peer.hears("typing")


def test_a_type_that_is_not_known_is_passed_over(enter: Enter) -> None:
    lobby, peer = enter()
    peer.says("fanfare", volume=11)
    peer.message(1, "one")

    assert lobby.recv(5).text == "one"


@pytest.mark.parametrize("broken", ["{", '{"type":"message","channel":"lobby"}', "[]", '"x"'])
def test_what_is_no_frame_ends_the_connection_and_not_the_channel(
    enter: Enter, server: ScriptedServer, broken: str
) -> None:
    lobby, peer = enter()
    behind_it = {"offset": 2, "id": None, "text": "two", "date": DATE, "from": "bob"}
    peer.says_text(broken, json.dumps(frame("message", "lobby", **behind_it)))
    peer.waits_for_end()
    assert peer.closing == (1002, "that is no frame of chat.v1")

    peer = server.next()
    assert peer.request.path.endswith("offset=0")  # what came behind it may not be the next one
    peer.welcome(**BACK).message(1, "one")
    assert lobby.recv(5).text == "one"


def test_half_a_frame_is_nothing(enter: Enter, server: ScriptedServer) -> None:
    lobby, peer = enter()
    peer.send_half("message", offset=1, id=None, text="one", date=DATE, **{"from": "bob"})
    peer.cut()
    peer = server.next()

    assert peer.request.path.endswith("offset=0")
    peer.welcome(offset=1, recovered=True).message(1, "one")
    assert lobby.recv(5).text == "one"


def test_leaving_the_only_channel_says_goodbye(enter: Enter, client: ChatClient) -> None:
    lobby, peer = enter()
    leaving = begin(lobby.leave)
    peer.waits_for_end()
    leaving.get(timeout=5)

    assert peer.closing == (1000, "")
    assert list(lobby) == []
    with pytest.raises(NotOpen):
        lobby.publish("hello")
    wait_until(lambda: client.state == State("idle"))


def test_who_has_left_can_come_again(enter: Enter) -> None:
    lobby, _ = enter()
    lobby.leave()

    lobby, peer = enter()
    peer.message(1, "one")

    assert lobby.recv(5).text == "one"


def test_closing_waits_for_what_is_not_confirmed(enter: Enter, client: ChatClient) -> None:
    lobby, peer = enter()
    receipt = lobby.publish("hello")
    closing = begin(client.close)
    asked = peer.hears()
    peer.says("ack", id=asked["id"], offset=1)
    peer.waits_for_end()
    closing.get(timeout=5)

    assert receipt.wait(0) == 1
    assert peer.closing == (1000, "")


def test_what_is_not_confirmed_at_the_end_fails(enter: Enter, client: ChatClient) -> None:
    lobby, _ = enter()
    receipt = lobby.publish("hello")

    client.close(0.01)

    with pytest.raises(Unconfirmed):
        receipt.wait(0)
    with pytest.raises(NotOpen):
        client.join("lobby")


def test_a_join_that_takes_too_long_leaves_nothing_behind(client: ChatClient, server: ScriptedServer) -> None:
    with pytest.raises(TimeoutError):
        client.join("lobby", timeout=0.01)

    assert client.channels == {}
    wait_until(lambda: client._greenlet is None)


def test_a_server_that_is_not_there_is_named(make_client: MakeClient, server: ScriptedServer) -> None:
    server.close()

    with pytest.raises(Unreachable, match=rf"http://127.0.0.1:{server.port} cannot be reached: Connection refused"):
        make_client(chance=lambda: 0.5).join("lobby", timeout=0.2)


@pytest.mark.logs_errors
def test_a_fault_is_told_by_all_channels(make_client: MakeClient, enter: Enter, caplog: pytest.LogCaptureFixture) -> None:
    faulty = make_client(on_state=lambda state: 1 / (state.name != "waiting"))
    lobby, peer = enter(by=faulty)
    peer.cut()

    with pytest.raises(ZeroDivisionError):
        lobby.recv(5)
    assert "has failed" in caplog.text


def test_a_server_that_hangs_up_on_the_handshake_is_unreachable(make_client: MakeClient, server: ScriptedServer) -> None:
    joining = begin(make_client().join, "lobby", patient=False)
    server.next().hang_up()

    with pytest.raises(Unreachable, match="no WebSocket"):
        joining.get(timeout=5)


def test_who_is_not_patient_gives_up_the_first_time_and_later_does_not(
    enter: Enter, server: ScriptedServer, client: ChatClient
) -> None:
    joining = begin(client.join, "lobby", patient=False)
    server.next().refuse(503, "too_many_connections")
    with pytest.raises(Refused, match="too_many"):
        joining.get(timeout=5)

    _, peer = enter(given={"patient": False})
    peer.cut()
    server.next().refuse(503, "too_many_connections")
    server.next().welcome(**BACK)


def test_what_the_token_function_raises_ends_the_join(make_client: MakeClient) -> None:
    with pytest.raises(ZeroDivisionError):
        make_client(token=lambda channel: 1 / 0).join("lobby", timeout=5)


def test_one_token_is_good_for_one_connection(make_client: MakeClient, enter: Enter) -> None:
    lobby, peer = enter(by=make_client(token="t"))
    assert peer.token == "t"
    peer.cut()

    with pytest.raises(Refused, match="used already"):
        lobby.recv(5)


def test_what_can_be_refused_here_is_not_asked(client: ChatClient, enter: Enter) -> None:
    lobby, peer = enter(limits={"message": 5, "rate": 0.0})

    with pytest.raises(MessageTooBig):
        lobby.publish("123456")
    with pytest.raises(BadText):
        lobby.edit(1, "\0")
    with pytest.raises(InvalidChannel):
        client.join("a/b")
    with pytest.raises(AlreadyJoined):
        client.join("lobby")
    assert peer.hears_nothing()


@pytest.mark.parametrize("url", ["", "ftp://x", "//x/chat", "http://ann:pw@x/chat", "http://x/chat?y=1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|host"):
        ChatClient(url, token="t")


def test_a_login_or_tokens_are_wanted() -> None:
    with pytest.raises(ValueError, match="login, token"):
        ChatClient("http://127.0.0.1/chat")
