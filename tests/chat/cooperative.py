"""PostgreSQL where gevent has replaced the sockets.  `test_cooperative.py` runs this in a process that has."""

import gevent
import pytest
from gevent.event import Event
from sqlalchemy import text

from chat.archive.sql import SqlArchive
from chat.database import Database, upgrade
from chat.engine import make_engine, parse
from chat.errors import DatabaseUnavailable
from chat.executor import CONNECTIONS, Cooperative
from chat.registry.sql import SqlRegistry
from chat.schema import CHAT
from tests.chat.contracts.test_archive import said
from tests.chat.steps import wait_until

LOCK = 4711
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def held(postgres):
    """A connection that holds LOCK, so that who wants it too waits in the server."""
    with postgres.connect() as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        yield connection


@pytest.fixture
def hasty(postgres):
    """An executor that gives up after half a second."""
    executor = Cooperative(make_engine(parse(postgres.url), 1), deadline=0.5)
    yield executor
    executor.close()


@pytest.fixture
def database(postgres):
    database = Database(postgres.url)
    yield database
    database.close()


def want_lock(session):
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def want_lock_at_once(engine):
    with engine.begin() as connection:
        return connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK}) and None


def pid(engine):
    with engine.begin() as connection:
        return connection.scalar(text("SELECT pg_backend_pid()"))


def count_waiting(connection) -> int:
    return connection.execute(WAITING).fetchone()[0]


def test_who_waits_in_the_database_holds_up_nobody_else_there(database, held):
    waiting = gevent.spawn(database.run, want_lock)
    wait_until(lambda: count_waiting(held) == 1)

    assert database.run(lambda session: session.scalar(text("SELECT 42"))) == 42

    assert not waiting.ready()
    held.execute("SELECT pg_advisory_unlock_all()")
    waiting.get(timeout=5)


def test_work_runs_in_the_greenlet_that_asks(database):
    here = gevent.getcurrent()

    assert database.run(lambda session: gevent.getcurrent() is here) is True


def test_there_are_at_most_so_many_connections_and_who_comes_later_waits(database, held):
    crowd = [gevent.spawn(database.run, want_lock) for _ in range(CONNECTIONS + 3)]
    wait_until(lambda: count_waiting(held) == CONNECTIONS)

    held.execute("SELECT pg_advisory_unlock_all()")

    gevent.joinall(crowd, timeout=5, raise_error=True)
    assert all(greenlet.successful() for greenlet in crowd)


def test_what_takes_too_long_is_left_and_ended_in_the_server_too(hasty, held):
    before = hasty.do(pid)

    with pytest.raises(DatabaseUnavailable):
        hasty.do(want_lock_at_once)

    wait_until(lambda: count_waiting(held) == 0)
    assert hasty.do(pid) != before  # that connection is not used again


def test_a_deadline_of_the_callers_own_is_theirs(database, held):
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.1) as own:
        database.run(want_lock)

    assert caught.value is own
    wait_until(lambda: count_waiting(held) == 0)
    assert database.run(lambda session: session.scalar(text("SELECT 42"))) == 42


def test_who_is_killed_while_it_waits_leaves_no_statement_behind(database, held):
    waiting = gevent.spawn(database.run, want_lock)
    wait_until(lambda: count_waiting(held) == 1)

    waiting.kill(timeout=5)

    wait_until(lambda: count_waiting(held) == 0)
    assert database.run(lambda session: session.scalar(text("SELECT 42"))) == 42


def test_close_waits_for_work_that_is_about_to_end(database):
    may_end, begun = Event(), Event()

    def work(session):
        begun.set()
        may_end.wait(5)
        return session.scalar(text("SELECT 42"))

    working = gevent.spawn(database.run, work)
    begun.wait(5)
    closing = gevent.spawn(database.close)
    gevent.idle()
    may_end.set()
    closing.get(timeout=5)

    assert working.get(timeout=0) == 42


def test_of_two_processes_that_take_a_channel_one_finds_it_taken(postgres, held):
    upgrade(postgres.url, CHAT)
    databases = [Database(postgres.url, CHAT) for _ in range(2)]
    registries = [SqlRegistry(database) for database in databases]
    registries[0].create("lobby")
    registries[0].put_back("lobby", 3)
    with postgres.connect() as other, other.transaction():
        other.execute("SELECT * FROM chat_channels FOR UPDATE")
        taking = [gevent.spawn(registry.take, "lobby") for registry in registries]
        wait_until(lambda: count_waiting(held) == 2)

    fates = [greenlet.get(timeout=5).fate for greenlet in taking]
    for database in databases:
        database.close()

    assert sorted(fate.name for fate in fates) == ["PROCESS_DIED", "PUT_BACK"]


def test_who_gets_no_connection_in_time_is_told(postgres, held):
    executor = Cooperative(make_engine(parse(postgres.url), 1, pool_wait=0.1))
    busy = gevent.spawn(executor.do, want_lock_at_once)
    wait_until(lambda: count_waiting(held) == 1)

    with pytest.raises(DatabaseUnavailable):
        executor.do(pid)

    held.execute("SELECT pg_advisory_unlock_all()")
    busy.get(timeout=5)
    executor.close()


def test_while_the_log_is_locked_what_reads_it_goes_on_and_what_was_said_waits(postgres, database):
    upgrade(postgres.url, CHAT)
    archive = SqlArchive(database)
    archive.append("lobby", said(1))
    with postgres.connect() as holding:
        holding.execute("BEGIN; LOCK chat_log IN SHARE MODE")  # which lets others read
        appending = [gevent.spawn(archive.append, log, said(2)) for log in ("lobby", "attic", "cellar")]
        wait_until(lambda: count_waiting(holding) == 1)  # not three: they share a transaction, or wait for the next one

        assert archive.read("lobby", 0, 10) == said(1)

        assert not any(greenlet.ready() for greenlet in appending)
    gevent.joinall(appending, timeout=5, raise_error=True)
    assert archive.last("lobby") == archive.last("attic") == archive.last("cellar") == 2
    archive.close()


def test_who_is_killed_while_the_log_is_locked_leaves_nothing_half_done(postgres, database):
    upgrade(postgres.url, CHAT)
    archive = SqlArchive(database)
    with postgres.connect() as holding:
        holding.execute("BEGIN; LOCK chat_log IN SHARE MODE")
        appending = gevent.spawn(archive.append, "lobby", said(1, 2))
        wait_until(lambda: count_waiting(holding) == 1)
        appending.kill(timeout=5)
        wait_until(lambda: count_waiting(holding) == 0)
    archive.append("lobby", said(1, 2))

    assert archive.read("lobby", 0, 10) == said(1, 2)
    archive.close()
