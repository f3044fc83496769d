"""What the tests of the Flask side share: host applications that are put away, and servers on free ports."""

import os
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import gevent
import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from chat import ChatServer
from chat.database import Database, upgrade
from chat.testing import TurnedClock
from web import Chat
from web.passwords import Passwords
from web.schema import ACCOUNTS
from web.testing import Caller
from web.testing.fixtures import ServeChat

MakeHost = Callable[..., Flask]
Serve = Callable[[Flask], int]
Dial = Callable[[int], Caller]


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture(scope="session")
def passwords() -> Iterator[Passwords]:
    """One for all tests, because it reads the common ones at its first use."""
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of each kind, with the tables of the standalone site."""
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres").url
    if request.param != "sqlite":
        upgrade(url, ACCOUNTS)
    database = Database(url, ACCOUNTS)
    yield database
    database.close()


@pytest.fixture
def no_crash() -> Iterator[None]:
    """Fails a test in which a greenlet, or a callback of the hub, died of an exception."""
    hub = gevent.get_hub()
    hub.exception_stream = crashes = StringIO()
    yield
    del hub.exception_stream  # the default, sys.stderr, again
    assert crashes.getvalue() == ""


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_crash: None) -> Iterator[MakeHost]:
    """Makes applications with chat in them, where the header X-User says who asks.

    Keywords in capitals are settings, which may leave out `CHAT_`; the others are for `Chat`.
    """
    for name in [name for name in os.environ if name.startswith("CHAT_")]:
        monkeypatch.delenv(name)
    made: list[Flask] = []

    def make(prepare: Callable[[Flask], object] | None = None, **given: object) -> Flask:
        app = Flask("host", instance_path=str(tmp_path / f"instance{len(made)}"))
        app.config.update(SECRET_KEY="host", CHAT_DATABASE_URL="sqlite://", CHAT_DRAIN_TIMEOUT=1)
        app.config.update({f"CHAT_{name}": value for name, value in given.items() if name.isupper()})
        if prepare is not None:
            prepare(app)
        keywords: dict[str, object] = {"identify": lambda: request.headers.get("X-User")}
        keywords.update((name, value) for name, value in given.items() if not name.isupper())
        Chat(app, **keywords)  # type: ignore[arg-type]
        made.append(app)
        return app

    yield make
    with gevent.Timeout(10):
        for app in made:
            app.extensions["chat"].drain()


@pytest.fixture
def app(make_host: MakeHost) -> Flask:
    """A host that sets nothing; files that want another one, or the site, have an `app` of their own."""
    return make_host()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def server(app: Flask) -> ChatServer:
    """That of `app`."""
    found = app.extensions["chat"].server
    assert isinstance(found, ChatServer)
    return found


@pytest.fixture
def serve(make_host: MakeHost, serve_chat: ServeChat) -> Serve:
    """Serves an application on a free port, in this process."""
    return lambda app: serve_chat(app, database=None).port


@pytest.fixture
def dial(serve: Serve) -> Iterator[Dial]:
    """Connects to a port; hangs up in the end."""
    callers: list[Caller] = []

    def connect(port: int) -> Caller:
        caller = Caller(port)
        callers.append(caller)
        return caller

    yield connect
    for caller in callers:
        caller.hang_up()
