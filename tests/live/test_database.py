"""The site on PostgreSQL: before its tables are made, while the database is slow, and while it is away."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chat.database import upgrade
from chat.schema import CHAT
from tests.live.people import Chatter, Person, Place
from tests.live.servers import TOP, clean_environ, gunicorn, running, until
from tests.postgres import PASSWORD, OneDatabase, Postgres
from web.schema import ACCOUNTS

LOCK = 4711
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


def flask_chat(command: str, url: str, instance: Path) -> "subprocess.CompletedProcess[str]":
    env = clean_environ() | {"CHAT_DATABASE_URL": url, "CHAT_INSTANCE": str(instance)}
    args = [sys.executable, "-m", "flask", "--app", "wsgi", "chat", command]
    return subprocess.run(args, cwd=TOP, env=env, capture_output=True, text=True, timeout=60)


def heard_by(listener: Chatter, speaker: Chatter, text: str) -> bool:
    speaker.say(text)
    while listener.hear("message")["text"] != text:  # its own, of before
        pass
    return True


def test_it_serves_once_the_database_is_upgraded_by_hand(postgres: OneDatabase, tmp_path: Path) -> None:
    url, instance = postgres.url, tmp_path / "instance"
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "wsgi:app"]
    with running(command, CHAT_INSTANCE=str(instance), CHAT_DATABASE_URL=url) as server:
        assert server.wait() != 0
    assert "CHAT_DATABASE_URL: the database is behind (chat: none, wanted " in server.log
    assert "run: flask chat upgrade (with --app, unless the application is in wsgi.py)\n" in server.log
    assert "Traceback" not in server.log
    assert PASSWORD not in server.log

    assert flask_chat("status", url, instance).stdout.startswith("chat: none, wanted ")
    assert flask_chat("upgrade", url, instance).stdout.startswith("chat: upgraded from none to ")
    assert "nothing to do" in flask_chat("upgrade", url, instance).stdout

    with gunicorn(instance, CHAT_DATABASE_URL=url) as (server, where):
        ann = Person(Place(where), "ann").register()
        assert ann.create("lobby").status == 201
        chatter = ann.enter("lobby")
        assert heard_by(chatter, chatter, "hello")

        server.signal(signal.SIGHUP)
        assert chatter.closing()[0] == 1012
        until(lambda: ann.request("GET", "/readyz").status == 200, "the successor", detail=lambda: server.log)

        again = ann.enter("lobby")
        assert again.welcome["epoch"] == chatter.welcome["epoch"]
        assert again.welcome["offset"] == 1
        assert "Traceback" not in server.log
        assert PASSWORD not in server.log


def test_a_query_that_waits_holds_up_nobody_else(postgres: OneDatabase, tmp_path: Path) -> None:
    url, instance = postgres.url, tmp_path / "instance"
    upgrade(url, CHAT, ACCOUNTS)
    with (
        gunicorn(instance, app="tests.live.locking_app:app", CHAT_DATABASE_URL=url) as (_, where),
        postgres.connect() as holding,
        ThreadPoolExecutor(1) as thread,
    ):
        ann, bob = (Person(Place(where), name).register() for name in ("ann", "bob"))
        ann.create("lobby")
        anns, bobs = ann.enter("lobby"), bob.enter("lobby")
        holding.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            locking = thread.submit(Place(where).request, "GET", f"/lock/{LOCK}")
            until(lambda: holding.execute(WAITING, [postgres.name]).fetchone() == (1,), "the query to wait")

            assert anns.socket.ping().wait(5)
            assert heard_by(bobs, anns, "meanwhile")
            assert ann.request("GET", "/chat/channels").json["channels"] == [
                {"name": "lobby", "count": 2, "unread": 0, "mentions": 0}
            ]
            assert not locking.done()
        finally:
            holding.execute("SELECT pg_advisory_unlock_all()")
        assert locking.result(10).text == "locked"


@pytest.fixture(scope="module")
def stoppable() -> Iterator[Postgres]:
    server = Postgres()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_postgres(stoppable: Postgres) -> Postgres:
    """One that the test may stop."""
    if not stoppable.runs:
        stoppable.start()
    return stoppable


def test_a_restart_of_the_database_costs_only_what_needs_it_meanwhile(own_postgres: Postgres, tmp_path: Path) -> None:
    url, instance = own_postgres.url(own_postgres.lend()), tmp_path / "instance"
    upgrade(url, CHAT, ACCOUNTS)
    with gunicorn(instance, CHAT_DATABASE_URL=url) as (server, where):
        ann, bob = (Person(Place(where), name).register() for name in ("ann", "bob"))
        ann.create("lobby")
        anns, bobs = ann.enter("lobby"), bob.enter("lobby")

        own_postgres.stop(signal.SIGQUIT)

        refused = ann.request("GET", "/chat/channels")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json["error"]["code"] == "database_unavailable"
        assert Place(where).request("GET", "/readyz").status == 503
        assert ann.request("GET", "/healthz").status == 200
        id = anns.say("the database is away")
        told = anns.hear("message", "error")
        assert (told["type"], told["id"], told["code"], told["retry"]) == ("error", id, "broker_unavailable", True)

        own_postgres.start()

        assert ann.request("GET", "/chat/channels").json["channels"] == [
            {"name": "lobby", "count": 2, "unread": 0, "mentions": 0}
        ]
        assert heard_by(anns, bobs, "it is back")
        eve = Person(Place(where), "eve").register()
        assert eve.create("garden").status == 201
        assert eve.enter("lobby").welcome["offset"] == 1
        assert PASSWORD not in server.log


def test_a_worker_that_finds_the_database_away_at_a_restart_waits_for_it(own_postgres: Postgres, tmp_path: Path) -> None:
    url, instance = own_postgres.url(own_postgres.lend()), tmp_path / "instance"
    upgrade(url, CHAT, ACCOUNTS)
    with gunicorn(instance, CHAT_DATABASE_URL=url) as (server, where):
        ann = Person(Place(where), "ann").register()
        own_postgres.stop()
        server.signal(signal.SIGHUP)
        server.wait_for(r"tries again for 300 seconds: CHAT_DATABASE_URL: this database cannot be used: .*refused")

        own_postgres.start()

        assert ann.request("GET", "/chat/channels").status == 200
        assert server.log.count("tries again") == 1
        own_postgres.stop()
        server.signal(signal.SIGHUP)
        until(lambda: server.log.count("tries again") == 2, "the next one to wait", detail=lambda: server.log)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "Traceback" not in server.log
        assert PASSWORD not in server.log


def test_the_first_start_does_not_wait_for_a_database_that_is_away(own_postgres: Postgres, tmp_path: Path) -> None:
    own_postgres.stop()
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "wsgi:app"]
    with running(command, CHAT_INSTANCE=str(tmp_path), CHAT_DATABASE_URL=own_postgres.url("chat")) as server:
        assert server.wait() != 0
    assert "CHAT_DATABASE_URL: this database cannot be used: " in server.log
    assert "tries again" not in server.log
