"""A scripted server, and clients of it."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from chat.client import ChatClient, ClientChannel
from chat.testing import TurnedClock
from tests.chat.client.scripted import Peer, ScriptedServer, begin

MakeClient = Callable[..., ChatClient]


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def server(no_chat_greenlet_left: None) -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def make_client(server: ScriptedServer, clock: TurnedClock) -> Iterator[MakeClient]:
    """Makes clients whose tokens are `token 1`, `token 2`; where chance decides, they do not wait."""
    clients: list[ChatClient] = []

    def make(**given: object) -> ChatClient:
        numbers = count(1)
        given = {"token": lambda channel: f"{channel} {next(numbers)}", "clock": clock, "chance": lambda: 0.0, **given}
        client = ChatClient(server.url, **given)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close(0)


@pytest.fixture
def client(make_client: MakeClient) -> ChatClient:
    return make_client()


Enter = Callable[..., tuple[ClientChannel, Peer]]


@pytest.fixture
def enter(client: ChatClient, server: ScriptedServer) -> Enter:
    """Joins a channel with the client; returns it, and the other end."""

    def join(name: str = "lobby", by: ChatClient | None = None, *, given: dict | None = None, **welcome: object):
        joining = begin((by or client).join, name, **(given or {}))
        peer = server.next().welcome(name, **welcome)
        return joining.get(timeout=5), peer

    return join
