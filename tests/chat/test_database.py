import socket
import subprocess
import sys
import threading

import gevent
import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError, ProgrammingError

from chat.database import Database
from chat.engine import is_cooperative, parse
from chat.errors import DatabaseUnavailable
from chat.executor import CHECKPOINT_EVERY
from chat.registry.sql import ChannelRow
from chat.schema import CHAT
from tests.chat.locks import holding

NOTES = "CREATE TABLE notes (id INTEGER, note TEXT)"
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def notes(database) -> Database:
    database.run(lambda session: session.execute(text(NOTES)) and None)
    return database


def add(database: Database, note: str, id: int = 0) -> None:
    fields = {"id": id, "note": note}
    database.run(lambda session: session.execute(text("INSERT INTO notes VALUES (:id, :note)"), fields) and None)


def notes_in(database: Database) -> list[str]:
    return database.run(lambda session: list(session.scalars(text("SELECT note FROM notes ORDER BY id"))))


def one(database: Database, statement: str) -> object:
    return database.run(lambda session: session.scalar(text(statement)))


def test_what_was_written_can_be_read(notes):
    add(notes, "Ådä 🦊")

    assert notes_in(notes) == ["Ådä 🦊"]


def test_a_failure_takes_back_its_whole_transaction_and_is_raised_here(notes):
    def fail(session):
        session.execute(text("INSERT INTO notes VALUES (1, 'lost')"))
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        notes.run(fail)

    assert notes_in(notes) == []


def test_what_makes_tables_is_taken_back_too(database):
    def fail(session):
        session.execute(text(NOTES))
        raise LookupError

    with pytest.raises(LookupError):
        database.run(fail)

    database.run(lambda session: session.execute(text(NOTES)) and None)
    assert notes_in(database) == []


def test_after_a_failure_it_works_again(notes):
    with pytest.raises((DatabaseUnavailable, ProgrammingError)):
        one(notes, "SELECT * FROM nothing")
    add(notes, "kept")

    assert notes_in(notes) == ["kept"]


@SQLITE
def test_a_full_disk_costs_what_cannot_be_written_and_the_log_says_why(notes, caplog):
    add(notes, "before")
    one(notes, "PRAGMA max_page_count = 1")  # as many as there are

    with pytest.raises(DatabaseUnavailable):
        add(notes, "x" * 100_000)
    assert notes_in(notes) == ["before"]
    assert caplog.messages == ["the database cannot be used: database or disk is full"]

    one(notes, "PRAGMA max_page_count = 1000")
    add(notes, "after", 1)
    assert notes_in(notes) == ["before", "after"]


def test_while_the_database_works_others_have_their_turn(database):
    may_end = threading.Event()  # where gevent has replaced nothing, the database's own thread waits for it
    working = gevent.spawn(database.run, lambda session: may_end.wait(5))
    turn = gevent.spawn(working.ready)

    assert turn.get(timeout=2) is False
    may_end.set()
    assert working.get(timeout=5) is True


@SQLITE
def test_what_is_asked_first_is_done_first(notes):
    asking = [gevent.spawn(add, notes, str(number)) for number in range(20)]
    gevent.joinall(asking, timeout=5, raise_error=True)

    in_order = notes.run(lambda session: list(session.scalars(text("SELECT note FROM notes ORDER BY rowid"))))
    assert in_order == [str(number) for number in range(20)]


def test_all_of_many_at_once_are_served(notes):
    asking = [gevent.spawn(add, notes, str(number), number) for number in range(40)]
    gevent.joinall(asking, timeout=5, raise_error=True)

    assert notes_in(notes) == [str(number) for number in range(40)]


def test_the_folder_is_made(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/a/b/chat.db")
    database.close()

    assert (tmp_path / "a" / "b" / "chat.db").exists()


@SQLITE
def test_it_writes_ahead_and_survives_a_kill(database):
    assert one(database, "PRAGMA journal_mode") == "wal"
    assert one(database, "PRAGMA synchronous") == 1


def test_an_open_database_can_be_opened_again(database, open_database):
    second = open_database()
    second.run(lambda session: session.execute(text(NOTES)) and None)

    add(database, "from the first")

    assert notes_in(second) == ["from the first"]


@pytest.mark.parametrize(
    "url", ["", "chat.db", "nosuch://host/db", "sqlite", "sqlite+nosuch:///x", "postgresql://u:secret"]
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secrets(url):
    with pytest.raises(ValueError, match="not a database URL") as caught:
        Database(url)

    assert "ecret" not in str(caught.value)


def test_a_database_that_cannot_be_reached_is_told(tmp_path):
    (tmp_path / "chat.db").mkdir()

    with pytest.raises(IsADirectoryError):
        Database(f"sqlite:///{tmp_path}/chat.db")


def test_its_files_are_for_the_owner_alone_whatever_the_folder(tmp_path):
    tmp_path.chmod(0o755)
    database = Database(f"sqlite:///{tmp_path}/chat.db", CHAT)

    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "chat.db": 0o600,
        "chat.db-shm": 0o600,
        "chat.db-wal": 0o600,
    }
    database.close()


def test_close_is_idempotent(database):
    database.close()
    database.close()


def test_a_closed_database_cannot_be_used(database):
    database.close()

    with pytest.raises(DatabaseUnavailable):
        one(database, "SELECT 1")


def test_whether_a_table_can_be_read_is_told_and_the_log_says_nothing(database, caplog):
    assert database.can_read(ChannelRow)

    database.run(lambda session: session.execute(text("ALTER TABLE chat_channels RENAME TO gone")) and None)
    assert not database.can_read(ChannelRow)
    database.run(lambda session: session.execute(text("ALTER TABLE gone RENAME TO chat_channels")) and None)
    assert database.can_read(ChannelRow)
    database.close()
    assert not database.can_read(ChannelRow)
    assert caplog.messages == []


def test_close_lets_what_runs_come_to_its_end(notes):
    adding = gevent.spawn(add, notes, "just in time")
    gevent.idle()  # it has begun

    notes.close()

    assert adding.get(timeout=2) is None


def test_close_waits_for_ever_neither_for_a_writer_nor_for_a_reader(database):
    may_end = threading.Event()
    hanging = [gevent.spawn(use, lambda session: may_end.wait(20)) for use in (database.run, database.look)]
    gevent.idle()

    with gevent.Timeout(10):
        database.close()

    assert not any(greenlet.ready() for greenlet in hanging)
    with pytest.raises(DatabaseUnavailable):
        looked_up(database)
    may_end.set()
    assert [greenlet.get(timeout=5) for greenlet in hanging] == [True, True]


def test_a_hub_that_never_rests_keeps_no_thread_waiting(notes):
    def spin() -> None:
        while True:
            gevent.sleep(0)

    spinning = gevent.spawn(spin)
    try:
        with gevent.Timeout(2):
            for number in range(20):
                add(notes, f"note {number}")
                assert looked_up(notes)[-1] == f"note {number}"
    finally:
        spinning.kill()


def test_in_memory_there_is_one_database_for_all():
    database = Database("sqlite://")
    try:
        database.run(lambda session: session.execute(text(NOTES)) and None)
        add(database, "still here")
        assert notes_in(database) == looked_up(database) == ["still here"]
    finally:
        database.close()


# Reading beside what writes


@pytest.fixture
def held(notes, tmp_path):
    with holding(f"{tmp_path}/chat.db") as process:
        yield process


def test_a_new_file_on_which_somebody_else_is_working_is_waited_for(tmp_path):
    with holding(f"{tmp_path}/chat.db") as process:  # SQLite itself does not wait for it to switch to WAL mode
        opening = gevent.spawn(Database, f"sqlite:///{tmp_path}/chat.db", CHAT)
        opening.join(0.3)  # it would fail at once
        assert not opening.ready()

        process.communicate("go on\n", timeout=5)

        opening.get(timeout=5).close()


def looked_up(database: Database) -> list[str]:
    return database.look(lambda session: list(session.scalars(text("SELECT note FROM notes ORDER BY id"))))


def test_what_was_written_can_be_looked_up(notes):
    assert looked_up(notes) == []
    add(notes, "Ådä 🦊")

    assert looked_up(notes) == ["Ådä 🦊"]


@SQLITE
def test_while_another_process_holds_the_lock_what_reads_is_answered_and_what_writes_waits(notes, held):
    add_one = gevent.spawn(add, notes, "late")
    gevent.idle()  # it has begun

    with gevent.Timeout(1):  # a fifth of what the writer waits for the lock
        assert [looked_up(notes) for _ in range(3)] == [[], [], []]

    assert not add_one.ready()
    held.communicate("go on\n", timeout=5)
    add_one.get(timeout=5)
    assert looked_up(notes) == ["late"]


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print([note for (note,) in connection.execute("SELECT note FROM notes ORDER BY id")])
connection.close()
"""


@SQLITE
def test_another_process_that_opens_and_closes_it_takes_nothing_that_is_written_afterwards(notes, tmp_path):
    """It deletes the log of SQLite when our locks are gone, and with it what we go on to write there."""

    def look() -> str:
        return subprocess.run([sys.executable, "-c", LOOK, f"{tmp_path}/chat.db"], capture_output=True, text=True).stdout

    add(notes, "before")
    assert looked_up(notes) == ["before"]  # so that there are both, what writes and what reads
    assert look() == "['before']\n"
    add(notes, "after")

    assert look() == "['before', 'after']\n"
    assert looked_up(notes) == ["before", "after"]


def test_while_the_writer_works_what_reads_is_answered_as_it_was_before(notes):
    may_end = threading.Event()

    def write_slowly(session) -> bool:
        session.execute(text("INSERT INTO notes VALUES (1, 'late')"))
        return may_end.wait(5)

    writing = gevent.spawn(notes.run, write_slowly)
    gevent.idle()

    with gevent.Timeout(2):
        assert looked_up(notes) == []
    may_end.set()
    assert writing.get(timeout=5) is True
    assert looked_up(notes) == ["late"]


@SQLITE
def test_what_is_written_ahead_is_brought_into_the_file_while_others_write(notes, tmp_path):
    def size() -> int:
        return (tmp_path / "chat.db").stat().st_size

    before, written = size(), 1000 * CHECKPOINT_EVERY
    for id in range(2 * CHECKPOINT_EVERY):
        add(notes, "x" * 2000, id)

    with gevent.Timeout(5):
        while size() < before + written:
            gevent.idle()


def test_what_only_reads_cannot_write(notes):
    with pytest.raises((DatabaseUnavailable, InternalError)):
        notes.look(lambda session: session.execute(text("INSERT INTO notes VALUES (1, 'x')")) and None)

    add(notes, "kept")
    assert looked_up(notes) == ["kept"]


# PostgreSQL


@POSTGRESQL
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_all_its_names_mean_the_one_driver(database_url, scheme):
    database = Database(scheme + database_url.removeprefix("postgresql"))
    try:
        assert database.run(lambda session: session.get_bind().dialect.driver) == "psycopg"
    finally:
        database.close()


@POSTGRESQL
def test_a_connection_that_the_server_has_closed_is_replaced_unnoticed(notes, postgres):
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s"
    with postgres.connect() as connection:
        ended = connection.execute(others, [postgres.name]).fetchall()
    assert ended == [(True,)] * (1 if is_cooperative(parse(postgres.url)) else 2)  # a pool, or a connection to each thread

    add(notes, "as if nothing had been")

    assert notes_in(notes) == ["as if nothing had been"]


@POSTGRESQL
def test_one_that_is_closed_in_the_middle_costs_that_work_only(notes, caplog):
    with pytest.raises(DatabaseUnavailable):
        one(notes, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the database cannot be used: ")
    assert "\n" not in caplog.messages[0]

    add(notes, "on a new one")
    assert notes_in(notes) == ["on a new one"]


@POSTGRESQL
def test_a_peer_that_vanishes_is_noticed_unless_the_url_says_otherwise(database_url, open_database):
    def settings(database: Database) -> dict[str, str]:
        return database.run(lambda session: session.connection().connection.dbapi_connection.info.get_parameters())

    stubborn = Database(database_url + "?keepalives_idle=77")
    try:
        assert (settings(stubborn)["keepalives_idle"], settings(stubborn)["connect_timeout"]) == ("77", "5")
        assert settings(open_database())["tcp_user_timeout"] == "20000"
    finally:
        stubborn.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_all_names_is_refused(postgres, encoding):
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE other ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(ValueError, match=f"^its encoding is {encoding}; make one with ENCODING 'UTF8'"):
            Database(postgres.server.url("other"))
    finally:
        with postgres.connect() as connection:
            connection.execute("DROP DATABASE other WITH (FORCE)")


def test_a_server_that_cannot_be_reached_is_told_without_the_password(unused_port):
    url = f"postgresql://chat:secret@127.0.0.1:{unused_port}/chat"

    with pytest.raises(Exception, match="Connection refused") as caught:
        Database(url)

    assert "secret" not in str(caught.value)


@pytest.fixture
def unused_port():
    with socket.socket() as held:  # bound, not listening
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
