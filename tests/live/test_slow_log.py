"""A database that takes nothing, held by somebody else's lock: only what is said waits for it."""

import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from chat.database import upgrade
from chat.schema import CHAT
from tests.live.people import Person, Place
from tests.live.servers import gunicorn
from web.schema import ACCOUNTS

Hold = Callable[[], AbstractContextManager[None]]

EXIT = 6.0  # seconds from SIGTERM to the end of the process: CHAT_DRAIN_TIMEOUT, and gunicorn's own


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Hold]:
    """Its URL, and how to hold up all who write to the log, and nobody who reads."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chat.db", lambda: hold_sqlite(tmp_path / "chat.db")
    postgres = request.getfixturevalue("postgres")
    upgrade(postgres.url, CHAT, ACCOUNTS)

    @contextmanager
    def hold() -> Iterator[None]:
        with postgres.connect() as other, other.transaction():
            other.execute("LOCK TABLE chat_log IN EXCLUSIVE MODE")
            yield

    return postgres.url, hold


@contextmanager
def hold_sqlite(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def test_only_what_is_said_waits_and_at_the_end_it_is_refused(database: tuple[str, Hold], tmp_path: Path) -> None:
    url, hold = database
    with gunicorn(tmp_path / "instance", CHAT_DATABASE_URL=url) as (server, where):
        ann, bob, cy = (Person(Place(where), name).register() for name in ("ann", "bob", "cy"))
        ann.create("lobby")
        anns, bobs = ann.enter("lobby"), bob.enter("lobby")
        anns.say("before")
        assert (anns.hear("ack")["offset"], bobs.hear("message")["text"]) == (1, "before")
        with hold():
            id = anns.say("held")
            bobs.send(type="typing", channel="lobby")
            assert anns.hear("typing", "ack", "error")["type"] == "typing"
            assert anns.socket.ping().wait(5)
            cys = cy.enter("lobby")
            assert (cys.welcome["offset"], cys.welcome["count"]) == (1, 3)
            bobs.send(type="history", channel="lobby", id="h")
            assert [event["text"] for event in bobs.hear("history")["events"]] == ["before"]
            assert cy.request("GET", "/chat/channels").json["channels"][0]["count"] == 3
            assert cy.request("GET", "/chat/").status == 200
            assert cy.request("GET", "/readyz").status == 200
        assert anns.hear("ack", "error") == {"type": "ack", "channel": "lobby", "id": id, "offset": 2}
        assert [chatter.hear("message")["text"] for chatter in (bobs, cys)] == ["held", "held"]
        with hold():
            lost = anns.say("refused")
            assert anns.socket.ping().wait(5)  # so it has been read
            started = monotonic()
            server.signal(signal.SIGTERM)
            answer = anns.hear("ack", "error")
            assert (answer["type"], answer["id"], answer["code"], answer["retry"]) == (
                "error",
                lost,
                "broker_unavailable",
                True,
            )
            assert anns.closing()[0] == 1012
            assert server.wait() == 0
            assert monotonic() - started < EXIT
        assert "Traceback" not in server.log
    with gunicorn(tmp_path / "instance", CHAT_DATABASE_URL=url) as (_, where):
        again = Person(Place(where), "ann").log_in().enter("lobby")
        assert again.welcome["epoch"] == anns.welcome["epoch"]
        assert again.welcome["offset"] in (2, 3)
