"""What the tests of the core share: a clock that stands still, servers that are closed, and nothing left behind."""

import logging
from collections.abc import Callable, Iterator
from io import StringIO

import gevent
import pytest

from chat import ChatChannel, ChatServer
from chat.bus import Bus
from chat.database import Database, Schema, upgrade
from chat.schema import CHAT
from chat.testing import TurnedClock
from chat.testing.fixtures import MakeChatServer


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "logs_errors: the test provokes a fault that is to be logged, or printed by gevent")


@pytest.fixture(autouse=True)
def nothing_left_behind(no_chat_greenlet_left) -> None:
    """Fails a test after which a greenlet of the package still runs."""


@pytest.fixture(autouse=True)
def nothing_crashes(request, caplog) -> Iterator[None]:
    """Fails a test in which a greenlet died of an exception, or in which the package logged an error unasked."""
    hub = gevent.get_hub()
    hub.exception_stream = crashes = StringIO()
    yield
    del hub.exception_stream  # the default, sys.stderr, again
    if request.node.get_closest_marker("logs_errors") is None:
        assert crashes.getvalue() == ""
        records = [*caplog.get_records("call"), *caplog.records]
        assert [record.getMessage() for record in records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def clock(chat_clock) -> TurnedClock:
    return chat_clock


@pytest.fixture
def make_server(nothing_crashes, make_chat_server) -> MakeChatServer:
    return make_chat_server


@pytest.fixture
def server(make_server) -> ChatServer:
    return make_server()


@pytest.fixture
def lobby(server) -> ChatChannel:
    return server.create_channel("lobby")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chat.db"
    return request.getfixturevalue("postgres").url


OpenDatabase = Callable[..., Database]


@pytest.fixture
def open_database(database_url, nothing_left_behind) -> Iterator[OpenDatabase]:
    """Opens the test's database, upgraded, as each of several processes would; closes all in the end."""
    opened: list[Database] = []

    def open_it(*schemas: Schema) -> Database:
        upgrade(database_url, *(schemas or (CHAT,)))
        opened.append(Database(database_url, *(schemas or (CHAT,))))
        return opened[-1]

    yield open_it
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database) -> Database:
    return open_database()


OpenBus = Callable[[str], Bus]


@pytest.fixture
def open_bus(nothing_left_behind) -> Iterator[OpenBus]:
    """Connects to the servers at a URL, as each of several processes would; hangs up in the end."""
    opened: list[Bus] = []

    def open_it(url: str) -> Bus:
        opened.append(Bus(url, logging.getLogger("chat")))
        opened[-1].start()
        return opened[-1]

    yield open_it
    for bus in opened:
        bus.close()
