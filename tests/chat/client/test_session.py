"""Several channels on one socket."""

from collections.abc import Callable

import pytest

from chat.client import ChatClient, ClientChannel, Ended, Lost, Message, Position, Refused
from chat.testing import TurnedClock, wait_until
from tests.chat.client.conftest import Enter
from tests.chat.client.scripted import Peer, ScriptedServer, begin, welcome

JoinToo = Callable[..., ClientChannel]


@pytest.fixture
def join_too(client: ChatClient) -> JoinToo:
    """Joins one more channel over a socket that is there."""

    def join(peer: Peer, name: str, **fields: object) -> ClientChannel:
        joining = begin(client.join, name)
        asked = peer.hears("join")
        assert asked["token"].startswith(f"{name} ")
        peer.says("welcome", name, **welcome(**fields))
        peer.says("ack", name, id=asked["id"], offset=None)
        return joining.get(timeout=5)

    return join


def test_a_second_channel_is_joined_over_the_same_socket_by_a_token_of_its_own(enter: Enter, join_too: JoinToo) -> None:
    lobby, peer = enter()
    annexe = join_too(peer, "annexe", offset=3)
    peer.message(1, "to the lobby")
    peer.says("message", "annexe", offset=4, id=None, text="to the annexe", date="2026-01-31T12:00:00Z", **{"from": "bob"})

    assert annexe.recv(5).text == "to the annexe"
    assert lobby.recv(5).text == "to the lobby"
    assert annexe.position == Position("e", 4)
    first, second = lobby.publish("a"), annexe.publish("b")  # what is under way in one does not hold up the other
    assert {peer.hears()["channel"], peer.hears()["channel"]} == {"lobby", "annexe"}
    for receipt, channel in ((second, "annexe"), (first, "lobby")):
        peer.says("ack", channel, id=receipt.id, offset=5)
        assert receipt.wait(5) == 5


def test_each_channel_is_resumed_where_it_stopped(enter: Enter, join_too: JoinToo, server: ScriptedServer) -> None:
    lobby, peer = enter()
    annexe = join_too(peer, "annexe", offset=3)
    receipt = annexe.publish("b")
    peer.hears("publish")
    peer.cut()
    peer = server.next()
    rider = peer.token.split()[0]
    peer.welcome(rider, recovered=True, offset=3 if rider == "annexe" else 0)
    asked = peer.hears("join") if rider == "lobby" else None
    if asked is None:
        assert peer.acks(4)["id"] == receipt.id
        asked = peer.hears("join")
    assert (asked["epoch"], asked["offset"]) == ("e", 0 if rider == "annexe" else 3)
    other = "lobby" if rider == "annexe" else "annexe"
    peer.says("welcome", other, **welcome(recovered=True, offset=asked["offset"]))

    if other == "annexe":
        assert peer.acks(4)["id"] == receipt.id
    assert receipt.wait(5) == 4
    peer.message(1, "one")
    assert lobby.recv(5).text == "one"


def test_a_channel_that_is_refused_leaves_the_others_alone(enter: Enter, client: ChatClient) -> None:
    lobby, peer = enter()
    joining = begin(client.join, "staff")
    peer.says("error", None, id=peer.hears("join")["id"], code="forbidden", message="not for you", retry=False)

    with pytest.raises(Refused, match="not for you"):
        joining.get(timeout=5)
    peer.message(1, "one")
    assert lobby.recv(5).text == "one"


def test_a_channel_that_is_refused_for_now_is_asked_for_again_with_another_token(
    enter: Enter, client: ChatClient, clock: TurnedClock
) -> None:
    _, peer = enter()
    joining = begin(client.join, "annexe")
    first = peer.hears("join")
    peer.says("error", None, id=first["id"], code="idle_channel", message="in a moment", retry=True)
    wait_until(lambda: client.channels["annexe"].tries)
    clock.advance(0.1)
    second = peer.hears("join")
    peer.says("welcome", "annexe", **welcome())

    assert second["token"] != first["token"]
    assert joining.get(timeout=5).username == "ann"


def test_a_channel_that_is_closed_for_good_ends_and_the_others_go_on(enter: Enter, join_too: JoinToo) -> None:
    lobby, peer = enter()
    annexe = join_too(peer, "annexe")
    peer.says("closed", "annexe", code=4503, reason="removed from the channel")

    with pytest.raises(Ended, match="removed from the channel"):
        annexe.recv(5)
    peer.message(1, "one")
    assert lobby.recv(5).text == "one"


def test_a_channel_that_is_closed_for_now_is_joined_again(enter: Enter, join_too: JoinToo, clock: TurnedClock) -> None:
    _, peer = enter()
    annexe = join_too(peer, "annexe")
    receipt = annexe.publish("b")
    peer.hears("publish")
    peer.says("closed", "annexe", code=1012, reason="retry=2.000")
    wait_until(lambda: annexe.tries)
    clock.advance(1.9)
    assert peer.hears_nothing()

    clock.advance(0.2)

    assert peer.hears("join")["offset"] == 0
    peer.says("welcome", "annexe", **welcome(recovered=True))
    assert peer.acks(1)["id"] == receipt.id
    assert receipt.wait(5) == 1


def test_one_of_several_is_left_by_a_request(enter: Enter, join_too: JoinToo, client: ChatClient) -> None:
    lobby, peer = enter()
    annexe = join_too(peer, "annexe")
    annexe.leave()
    asked = peer.hears("leave")
    peer.says("joined", "annexe", user={"user": "bob"})  # said before the server knew
    peer.says("ack", "annexe", id=asked["id"], offset=None)
    peer.message(1, "one")

    assert asked["channel"] == "annexe"
    assert lobby.recv(5).text == "one"
    assert list(annexe) == []
    assert list(client.channels) == ["lobby"]


def test_a_welcome_that_comes_after_the_channel_was_left_is_answered_by_leaving(enter: Enter, client: ChatClient) -> None:
    _, peer = enter()
    joining = begin(client.join, "annexe", timeout=0.05)
    peer.hears("join")
    with pytest.raises(TimeoutError):
        joining.get(timeout=5)
    peer.says("welcome", "annexe", **welcome())

    assert peer.hears("leave")["channel"] == "annexe"


def test_a_channel_whose_log_goes_on_from_another_place_is_no_answer_to_the_join_of_another(
    enter: Enter, join_too: JoinToo, client: ChatClient
) -> None:
    lobby, peer = enter()
    cellar = join_too(peer, "cellar")
    joining = begin(client.join, "annexe")
    asked = peer.hears("join")
    for name in ("lobby", "cellar"):
        peer.says("welcome", name, **welcome(epoch="f", offset=9))
    assert peer.hears_nothing()
    assert not joining.ready()

    peer.says("welcome", "annexe", **welcome())
    peer.says("ack", "annexe", id=asked["id"], offset=None)

    assert joining.get(timeout=5).position == Position("e", 0)
    assert [channel.recv(5) for channel in (lobby, cellar)] == [Lost(Position("f", 9))] * 2
    assert sorted(client.channels) == ["annexe", "cellar", "lobby"]
    assert peer.hears_nothing()


def test_a_welcome_that_crosses_with_a_leave_is_no_answer_to_the_next_join(
    enter: Enter, join_too: JoinToo, client: ChatClient
) -> None:
    _, peer = enter()
    join_too(peer, "annexe").leave()
    left = peer.hears("leave")
    joining = begin(client.join, "annexe")
    asked = peer.hears("join")
    peer.says("welcome", "annexe", **welcome(epoch="f", offset=9))
    assert peer.hears_nothing()
    assert not joining.ready()

    peer.says("ack", "annexe", id=left["id"], offset=None)
    peer.says("welcome", "annexe", **welcome(epoch="f", offset=10))
    peer.says("ack", "annexe", id=asked["id"], offset=None)

    assert joining.get(timeout=5).position == Position("f", 10)


def test_a_request_that_crosses_with_the_channels_end_for_now_is_said_again_once(
    enter: Enter, join_too: JoinToo, clock: TurnedClock
) -> None:
    _, peer = enter()
    annexe = join_too(peer, "annexe")
    first, second = annexe.publish("one"), annexe.publish("two")
    said = peer.hears("publish")
    peer.says("closed", "annexe", code=1012, reason="retry=2.000")
    peer.says("error", "annexe", id=said["id"], code="not_joined", message="no", retry=False)
    wait_until(lambda: annexe.tries)
    clock.advance(2.1)
    peer.hears("join")
    peer.says("welcome", "annexe", **welcome(recovered=True))

    assert peer.acks(1) == said
    assert peer.acks(2)["text"] == "two"
    assert (first.wait(5), second.wait(5)) == (1, 2)


def test_one_who_is_sent_away_for_good_takes_all_channels_along(
    enter: Enter, join_too: JoinToo, server: ScriptedServer
) -> None:
    lobby, peer = enter()
    annexe = join_too(peer, "annexe")
    peer.close(4501, "logged out")

    for channel in (lobby, annexe):
        with pytest.raises(Ended, match="logged out"):
            channel.recv(5)
    assert server.nobody_comes()


def test_the_handshake_that_fails_for_one_channel_is_tried_with_another(
    enter: Enter, join_too: JoinToo, server: ScriptedServer
) -> None:
    lobby, peer = enter()
    annexe = join_too(peer, "annexe")
    peer.cut()
    peer = server.next()
    refused = peer.token.split()[0]
    peer.refuse(404, "invalid_channel")
    peer = server.next()
    other = peer.token.split()[0]
    peer.welcome(other, recovered=True)

    assert {refused, other} == {"lobby", "annexe"}
    with pytest.raises(Refused):
        {"lobby": lobby, "annexe": annexe}[refused].recv(5)
    peer.says("message", other, offset=1, id=None, text="x", date="2026-01-31T12:00:00Z", **{"from": "bob"})
    heard = {"lobby": lobby, "annexe": annexe}[other].recv(5)
    assert isinstance(heard, Message)


def test_a_token_that_leads_elsewhere_ends_the_channel_that_was_wanted(
    enter: Enter, client: ChatClient, server: ScriptedServer
) -> None:
    lobby, peer = enter()
    joining = begin(client.join, "annexe")
    asked = peer.hears("join")
    peer.says("welcome", "cellar", **welcome())
    peer.says("ack", "cellar", id=asked["id"], offset=None)

    with pytest.raises(Refused) as caught:
        joining.get(timeout=5)

    assert (caught.value.code, list(client.channels)) == ("other_channel", ["lobby"])
    assert peer.hears("leave")["channel"] == "cellar"
    assert peer.hears_nothing()
    assert lobby.publish("still here").id == peer.acks(1)["id"]


def test_so_does_one_that_was_shown_in_the_handshake(client: ChatClient, server: ScriptedServer) -> None:
    joining = begin(client.join, "lobby")
    peer = server.next().welcome("cellar")

    with pytest.raises(Refused) as caught:
        joining.get(timeout=5)

    assert caught.value.code == "other_channel"
    peer.waits_for_end()
    assert server.nobody_comes()
