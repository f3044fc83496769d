"""Fixtures of pytest: `pytest_plugins = ["chat.testing.fixtures"]` in your top conftest.py.

Named there rather than found through an entry point, so that whoever does not ask for them does not load them.
"""

from collections.abc import Callable, Iterator

import gevent
import pytest

from chat.config import ServerConf
from chat.server import ChatServer
from chat.testing.clock import TurnedClock
from chat.testing.turns import no_greenlet_left

CLOSE_DEADLINE = 10.0  # seconds for closing all servers of a test

MakeChatServer = Callable[..., ChatServer]


@pytest.fixture
def no_chat_greenlet_left() -> Iterator[None]:
    """Fails a test after which a greenlet of the package still runs."""
    with no_greenlet_left():
        yield


@pytest.fixture
def chat_clock() -> TurnedClock:
    """The clock of the servers: it stands still until the test turns it."""
    return TurnedClock()


@pytest.fixture
def make_chat_server(no_chat_greenlet_left: None, chat_clock: TurnedClock) -> Iterator[MakeChatServer]:  # noqa: ARG001
    """Makes servers in memory, whose settings are keywords, those of `ServerConf`; closes them in the end.

    `backends` are further keywords of `ChatServer`.
    """
    made: list[ChatServer] = []

    def make(*, backends: dict[str, object] | None = None, **conf: object) -> ChatServer:
        server = ChatServer(ServerConf(**conf), clock=chat_clock, **(backends or {}))  # type: ignore[arg-type]
        made.append(server)
        return server

    yield make
    with gevent.Timeout(CLOSE_DEADLINE):
        for server in reversed(made):
            server.close()


@pytest.fixture
def chat_server(make_chat_server: MakeChatServer) -> ChatServer:
    """A server with default settings."""
    return make_chat_server()
