"""`chat.client` and the real server: each of them is the other's test."""

from collections.abc import Callable, Iterator

import pytest

from chat.client import ChatClient, ClientChannel, Login, LoginRefused, Message, Refused
from chat.event import Joined
from chat.testing import wait_until
from tests.web.conftest import MakeHost
from tests.web.site import GOOD, close_site, make_site, register
from web.testing import Site
from web.testing.fixtures import ServeChat

Come = Callable[..., ChatClient]


@pytest.fixture
def site(make_host: MakeHost, serve_chat: ServeChat) -> Site:
    site = serve_chat(make_host())
    site.server.create_channel("lobby")
    return site


@pytest.fixture
def come(site: Site) -> Iterator[Come]:
    """Makes clients, by user name."""
    clients: list[ChatClient] = []

    def make(name: str, **given: object) -> ChatClient:
        client = ChatClient(f"{site.url}/chat", token=lambda channel: site.token(channel, name), **given)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close(0)


def messages(channel: ClientChannel, count: int) -> list[str]:
    """The texts of the next so many."""
    found: list[str] = []
    while len(found) < count:
        event = channel.recv(5)
        if isinstance(event, Message):
            found.append(f"{event.sender}: {event.text}")
    return found


def test_two_hear_each_other(come: Come) -> None:
    ann, bob = come("ann").join("lobby"), come("bob").join("lobby")

    assert ann.publish("hello").wait(5) == 1
    assert bob.publish("psst", to="ann").wait(5) is None

    assert messages(bob, 1) == ["ann: hello"]
    joined = ann.recv(5)
    assert isinstance(joined, Joined)
    assert sorted(ann.users) == ["ann", "bob"]


def test_who_is_cut_off_misses_nothing_and_says_everything_once(come: Come, site: Site) -> None:
    client = come("ann", chance=lambda: 0.0)
    ann, bob = client.join("lobby"), come("bob").join("lobby")
    receipts = []
    for number in range(12):
        receipts.append(ann.publish(str(number)))
        if number % 4 == 1:
            wait_until(lambda: client.state.name == "online")
            assert client._session
            client._session._socket.abort()
        bob.publish(str(number)).wait(5)

    assert sorted(receipt.wait(5) for receipt in receipts) == [receipt.wait(5) for receipt in receipts]
    heard = messages(ann, 24)
    assert [text for text in heard if text.startswith("ann")] == [f"ann: {number}" for number in range(12)]
    assert [text for text in heard if text.startswith("bob")] == [f"bob: {number}" for number in range(12)]
    assert messages(bob, 24) == heard


def test_a_bot_goes_on_where_it_stopped(come: Come) -> None:
    with come("bot") as first:
        lobby = first.join("lobby")
        lobby.publish("one").wait(5)
        assert messages(lobby, 1) == ["bot: one"]
        position = lobby.position
    come("ann").join("lobby").publish("two").wait(5)

    assert messages(come("bot").join("lobby", position=position), 1) == ["ann: two"]


def test_several_channels_share_a_socket_and_each_is_resumed(come: Come, site: Site) -> None:
    names = ["lobby", "annexe", "attic"]
    for name in names[1:]:
        site.server.create_channel(name)
    client, bob = come("ann", chance=lambda: 0.0), come("bob")
    here, there = ([someone.join(name) for name in names] for someone in (client, bob))
    assert len(site.chat.gate) == 2  # sockets
    assert client._session
    client._session._socket.abort()
    for channel in [*there, *here]:
        channel.publish(f"to {channel.name}").wait(5)

    for channel in here:
        assert messages(channel, 2) == [f"bob: to {channel.name}", f"ann: to {channel.name}"]
    here[0].leave()
    here[1].publish("still here").wait(5)
    assert messages(here[1], 1) == ["ann: still here"]


def test_messages_are_edited_deleted_and_read_again(come: Come) -> None:
    ann = come("ann").join("lobby")
    for text in ("one", "two", "three"):
        ann.publish(text).wait(5)
    ann.edit(1, "uno").wait(5)
    ann.delete(2).wait(5)

    page = ann.history(limit=2)
    assert [(past.offset, past.text, past.deleted is not None) for past in page.events] == [
        (2, "", True),
        (3, "three", False),
    ]
    assert page.more
    assert [past.text for past in ann.history(before=2).events] == ["uno"]
    with pytest.raises(Refused) as caught:
        come("bob").join("lobby").edit(1, "mine").wait(5)
    assert caught.value.code == "not_your_message"


def test_who_is_sent_away_does_not_come_back(come: Come, site: Site) -> None:
    client = come("ann")
    ann = client.join("lobby")
    site.server.get_channel("lobby").remove_user("ann")

    with pytest.raises(Exception, match="removed from the channel"):
        messages(ann, 1)
    wait_until(lambda: client.state.name == "idle")


def test_an_account_logs_in_by_the_form(tmp_path, serve_chat: ServeChat) -> None:
    app = make_site(tmp_path)
    site = serve_chat(app, database=None)
    register(app, "ann")
    url = f"{site.url}/chat"
    with ChatClient(url, login=Login("ann", GOOD)) as client:
        client.create_channel("lobby")
        assert client.join("lobby").publish("hello").wait(5) == 1
        with pytest.raises(Refused, match="exists already"):
            client.create_channel("lobby")
    with ChatClient(url, login=Login("ann", "wrong")) as client, pytest.raises(LoginRefused, match="no account"):
        client.join("lobby", timeout=5)
    with ChatClient(url, login=Login("ann", GOOD)) as client, pytest.raises(Refused, match="does not exist") as caught:
        client.join("nowhere", timeout=5)
    assert (caught.value.code, caught.value.status) == ("invalid_channel", 404)
    with (
        ChatClient(url, login=Login("ann", GOOD, path="/nowhere")) as client,
        pytest.raises(Refused, match="no login form"),
    ):
        client.join("lobby", timeout=5)
    close_site(app)
