import threading

import gevent
import pytest
from sqlalchemy import text

from chat.database import Database
from chat.errors import DatabaseUnavailable


@pytest.fixture
def notes(database) -> Database:
    database.run(lambda session: session.execute(text("CREATE TABLE notes (note TEXT)")) and None)
    return database


def add(database: Database, note: str) -> None:
    database.run(lambda session: session.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note}) and None)


def notes_in(database: Database) -> list[str]:
    return database.run(lambda session: list(session.scalars(text("SELECT note FROM notes ORDER BY rowid"))))


def test_what_was_written_can_be_read(notes):
    add(notes, "Ådä 🦊")

    assert notes_in(notes) == ["Ådä 🦊"]


def test_a_failure_takes_back_its_whole_transaction_and_is_raised_here(notes):
    def fail(session):
        session.execute(text("INSERT INTO notes VALUES ('lost')"))
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        notes.run(fail)

    assert notes_in(notes) == []


def test_after_a_failure_it_works_again(notes):
    with pytest.raises(DatabaseUnavailable):
        notes.run(lambda session: session.execute(text("SELECT * FROM nothing")) and None)
    add(notes, "kept")

    assert notes_in(notes) == ["kept"]


def test_while_the_database_works_others_have_their_turn(database):
    may_end = threading.Event()  # of threads: the database's own one waits for it
    working = gevent.spawn(database.run, lambda session: may_end.wait(5))
    turn = gevent.spawn(working.ready)

    assert turn.get(timeout=2) is False
    may_end.set()
    assert working.get(timeout=5) is True


def test_what_is_asked_first_is_done_first(notes):
    asking = [gevent.spawn(add, notes, str(number)) for number in range(20)]
    gevent.joinall(asking, timeout=5, raise_error=True)

    assert notes_in(notes) == [str(number) for number in range(20)]


def test_the_folder_is_made(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/a/b/chat.db")
    database.close()

    assert (tmp_path / "a" / "b" / "chat.db").exists()


def test_it_writes_ahead_and_survives_a_kill(database):
    assert database.run(lambda session: session.scalar(text("PRAGMA journal_mode"))) == "wal"
    assert database.run(lambda session: session.scalar(text("PRAGMA synchronous"))) == 1


def test_an_open_database_can_be_opened_again(database, tmp_path):
    second = Database(f"sqlite:///{tmp_path}/chat.db")
    try:
        second.run(lambda session: session.execute(text("CREATE TABLE notes (note TEXT)")) and None)
        add(database, "from the first")
        assert notes_in(second) == ["from the first"]
    finally:
        second.close()


@pytest.mark.parametrize("url", ["", "chat.db", "nosuch://host/db", "sqlite", "sqlite+nosuch:///x"])
def test_a_url_that_cannot_be_used_is_refused(url):
    with pytest.raises(ValueError, match="not a database URL"):
        Database(url)


def test_a_database_that_cannot_be_reached_is_told(tmp_path):
    (tmp_path / "chat.db").mkdir()

    with pytest.raises(IsADirectoryError):
        Database(f"sqlite:///{tmp_path}/chat.db")


def test_its_files_are_for_the_owner_alone_whatever_the_folder(tmp_path):
    tmp_path.chmod(0o755)
    database = Database(f"sqlite:///{tmp_path}/chat.db")
    database.run(lambda session: session.execute(text("CREATE TABLE things (id INTEGER)")) and None)

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
        database.run(lambda session: session.scalar(text("SELECT 1")))


def test_in_memory_there_is_one_database_for_all(tmp_path):
    database = Database("sqlite://")
    try:
        database.run(lambda session: session.execute(text("CREATE TABLE notes (note TEXT)")) and None)
        add(database, "still here")
        assert notes_in(database) == ["still here"]
    finally:
        database.close()
