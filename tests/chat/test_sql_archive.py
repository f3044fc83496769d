"""The archive in a database: who shares a transaction, whose fault a refusal is, and what a kill or a lock costs."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import gevent
import pytest
from sqlalchemy import text

from chat.archive import Unread
from chat.archive.retention import BITE
from chat.archive.sql import SqlArchive
from chat.database import Database
from chat.errors import BrokerUnavailable, ChatError, NotStorable
from chat.event import Deleted, Edited, Message
from chat.schema import CHAT
from tests.chat.contracts.test_archive import AGES_AGO, DATE, everything, said, say
from tests.chat.locks import holding
from tests.chat.steps import never_yields, wait_until

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TOP = Path(__file__).parents[2]
REFUSE = {
    "sqlite": """
        CREATE TRIGGER refuse BEFORE INSERT ON chat_log WHEN NEW.text = 'poison'
        BEGIN SELECT RAISE(ABORT, 'no poison here'); END
    """,
    "postgresql": """
        CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN
            IF NEW.text = 'poison' THEN RAISE EXCEPTION 'no poison here'; END IF;
            RETURN NEW;
        END $$ LANGUAGE plpgsql;
        CREATE TRIGGER refuse BEFORE INSERT ON chat_log FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
}


COUNT = "SELECT count(*) FROM chat_log"


class Watched(Database):
    """Notes how many events there are after each transaction that writes."""

    def __init__(self, url: str) -> None:
        super().__init__(url, CHAT)
        self.counts: list[int] = []

    def run(self, work):
        def counted(session):
            result = work(session)
            self.counts.append(session.scalar(text(COUNT)))
            return result

        return super().run(counted)

    def write(self, work):
        def counted(statements):
            result = work(statements)
            self.counts += statements.execute(COUNT, ()).fetchone()
            return result

        return super().write(counted)


@pytest.fixture
def watched(database, database_url):
    watched = Watched(database_url)
    yield watched
    watched.close()


@pytest.fixture
def archive(watched, clock):
    archive = SqlArchive(watched, clock)
    yield archive
    archive.close()


@pytest.fixture
def poisonable(archive, database) -> SqlArchive:
    database.run(lambda session: session.connection().exec_driver_sql(REFUSE[session.get_bind().dialect.name]) and None)
    return archive


def append_all(archive: SqlArchive, texts: list[str]) -> list[str]:
    """Append each to a log of its own, all at once; return what came of it."""

    def append(number: int, said: str) -> str:
        try:
            archive.append(f"log {number}", [say("before", 1), say(said, 2), say("behind", 3)])
        except ChatError as exc:
            return exc.code
        return "kept"

    greenlets = [gevent.spawn(append, *item) for item in enumerate(texts)]
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    return [greenlet.value for greenlet in greenlets]


@pytest.mark.parametrize("logs", [1300, 10], ids=["in many statements", "in one"])
def test_what_waits_in_all_logs_is_one_transaction(archive, watched, logs):
    assert append_all(archive, ["hello"] * logs) == ["kept"] * logs

    assert watched.counts == [3 * logs]


@SQLITE
def test_what_takes_a_moment_only_is_kept_at_once(archive):
    def is_kept() -> bool:
        with never_yields():
            return archive.append_at_once("lobby", said(1, 2))

    wait_until(is_kept)  # the machine may have no moment for it
    assert everything(archive) == said(1, 2)


def test_what_the_database_refuses_costs_its_own_caller_only(poisonable, caplog):
    texts = ["hello"] * 20
    for number in (3, 4, 11):
        texts[number] = "poison"

    outcomes = append_all(poisonable, texts)

    assert outcomes == ["kept" if said == "hello" else "not_storable" for said in texts]
    assert [len(everything(poisonable, f"log {number}")) for number in range(20)] == [
        3 if said == "hello" else 0 for said in texts
    ]
    told = [record.getMessage() for record in caplog.records if record.name == "chat"]
    assert told == ["the database does not take what was said: no poison here"] * 3


def test_an_offset_that_is_taken_costs_its_own_caller_only(archive):
    archive.append("log 3", [say("before", 1, sender="bob")])

    outcomes = append_all(archive, ["hello"] * 10)

    assert outcomes == ["kept" if number != 3 else BrokerUnavailable.code for number in range(10)]
    assert [event.sender for event in everything(archive, "log 3")] == ["bob"]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(say("half of a pair: \ud800", 1), id="surrogate"),
        pytest.param(Message("ada", "hello", DATE, "id", 1 << 70), id="offset"),
        pytest.param(Edited(1 << 70, "ada", "", DATE, "id", 1), id="target"),
    ],
)
def test_what_cannot_even_be_sent_is_refused_too_and_others_go_on(archive, event):
    with pytest.raises(NotStorable):
        archive.append("lobby", [event])

    archive.append("lobby", said(1))
    assert everything(archive) == said(1)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_may_not_be_written_for_now_may_be_tried_again(archive, database):
    rename = "ALTER TABLE {} RENAME TO {}"
    database.run(lambda session: session.execute(text(rename.format("chat_log", "chat_log_away"))) and None)
    with pytest.raises(BrokerUnavailable):
        archive.append("lobby", said(1))
    database.run(lambda session: session.execute(text(rename.format("chat_log_away", "chat_log"))) and None)

    archive.append("lobby", said(1))

    assert everything(archive) == said(1)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_the_log_says_of_a_refusal_does_not_tell_what_was_said(archive, database, caplog):
    database.run(lambda session: session.execute(text("ALTER TABLE chat_log ADD CHECK (length(text) < 9)")) and None)

    with pytest.raises(NotStorable):
        archive.append("lobby", [say("a secret", 1), say("that is too long", 2)])

    assert "does not take what was said: new row" in caplog.text
    assert "secret" not in caplog.text
    assert "too long" not in caplog.text


def test_a_database_that_is_away_is_told_by_all_that_asks_it(archive, watched):
    archive.append("lobby", said(1))
    watched.close()
    asks = [
        lambda: archive.append("lobby", said(2)),
        lambda: everything(archive),
        lambda: archive.tail("lobby", 1, AGES_AGO),
        lambda: archive.ids("lobby", AGES_AGO, 1),
        lambda: archive.last("lobby"),
        lambda: archive.find("lobby", 1),
        lambda: archive.history("lobby", before=None, after=None, limit=1),
        lambda: archive.unread("bob", ["lobby"]),
        lambda: archive.trim(1, 1),
        lambda: archive.forget(["lobby"]),
    ]

    for ask in asks:
        with pytest.raises(BrokerUnavailable):
            ask()


@SQLITE
def test_while_another_process_holds_the_lock_what_reads_goes_on_and_what_was_said_waits(archive, tmp_path):
    archive.append("lobby", said(1))
    with holding(f"{tmp_path}/chat.db") as process:
        appending = gevent.spawn(archive.append, "lobby", said(2))
        gevent.idle()

        with gevent.Timeout(1):
            assert everything(archive) == said(1)
            archive.mark("lobby", "bob", 0)
            assert archive.unread("bob", ["lobby"]) == {"lobby": Unread(1, 0)}

        assert not appending.ready()
        process.communicate("go on\n", timeout=5)
        appending.get(timeout=5)
    assert everything(archive) == said(1, 2)


@SQLITE
def test_what_takes_longer_is_kept_once_when_it_is_appended(archive, tmp_path):
    archive.append("lobby", said(1))
    with holding(f"{tmp_path}/chat.db") as process:
        with never_yields():
            assert not archive.append_at_once("lobby", said(2))
            assert not archive.append_at_once("hall", said(1))  # nor is it tried again so soon
        process.communicate("go on\n", timeout=5)
        archive.append("lobby", said(2, 3))

    assert everything(archive) == said(1, 2, 3)
    assert everything(archive, "hall") == []


def test_what_was_appended_survives_a_kill(archive, database_url):
    script = """
        import os, signal, sys
        from chat.archive.sql import SqlArchive
        from chat.database import Database
        from chat.schema import CHAT
        from tests.chat.contracts.test_archive import said
        archive = SqlArchive(Database(sys.argv[1], CHAT))
        archive.append("lobby", said(1, 2))
        archive.append("lobby", said(3))
        os.kill(os.getpid(), signal.SIGKILL)
    """

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), database_url], cwd=TOP, timeout=30)

    assert done.returncode == -signal.SIGKILL
    assert everything(archive) == said(1, 2, 3)


# Marks


@pytest.fixture
def other(database, clock):
    """The archive as another process sees it."""
    other = SqlArchive(database, clock)
    yield other
    other.close()


def test_marks_are_written_down_once_a_second_all_in_one_transaction(archive, other, watched, clock):
    archive.append("lobby", said(1, 2))
    for number in range(50):
        archive.mark("lobby", f"user {number}", 1)
    clock.advance(0.9)
    gevent.idle()
    assert other.unread("user 7", ["lobby"]) == {"lobby": Unread(0, 0)}

    clock.advance(0.1)

    wait_until(lambda: other.unread("user 7", ["lobby"]) == {"lobby": Unread(1, 0)})
    assert len(watched.counts) == 2


def test_close_writes_marks_down(archive, other):
    archive.append("lobby", said(1, 2))
    archive.mark("lobby", "bob", 1)
    archive.close()

    assert other.unread("bob", ["lobby"]) == {"lobby": Unread(1, 0)}


# What was deleted


def mentioned(database: Database) -> list[str]:
    """All that the table of mentions has."""
    return database.look(lambda session: list(session.scalars(text("SELECT username FROM chat_mentions"))))


def test_of_whom_a_message_mentioned_nothing_is_left_once_it_was_deleted(archive, database):
    for events in (
        [say("@bob", 1), say("@cy", 2)],
        [Edited(1, "ada", "@dee", DATE, "", 3), Deleted(1, "ada", DATE, "", 4)],
        [say("@eve", 5), Deleted(5, "ada", DATE, "", 6)],
        [Edited(5, "ada", "@fay", DATE, "", 7)],
        [say("@bob", 1)],  # said again
    ):
        archive.append("lobby", events)

    assert mentioned(database) == ["cy"]


# Retention


def test_old_events_go_in_bites(archive, watched):
    archive.append("lobby", said(*range(1, 3 * BITE + 101)))
    watched.counts.clear()
    archive.trim(0, 50)

    assert watched.counts == [2 * BITE + 100, BITE + 100, 100, 50]


def test_of_an_emptied_log_nothing_is_left_but_the_last_offset_and_no_transaction_looks_for_more(archive, watched, clock):
    date = clock.now()
    archive.append("lobby", [Message("ada", "secret", date, "id", 1), Edited(1, "ada", "secret", date, "id", 2)])
    clock.advance(5)
    archive.trim(4, 0)

    left = text('SELECT "offset", sender, text, id, target FROM chat_log')
    assert watched.look(lambda session: [*map(tuple, session.execute(left))]) == [(2, "", "", "", None)]
    watched.counts.clear()
    archive.trim(4, 0)
    assert watched.counts == []


def test_mentions_go_with_the_messages_that_make_them(archive, database):
    archive.append("lobby", [say("@bob", 1), say("@cy", 2), say("@dee", 3)])
    archive.append("attic", [Edited(9, "ada", "@eve", DATE, "", 1)])
    archive.trim(0, 1)
    archive.forget(["attic"])

    assert mentioned(database) == ["dee"]


def test_a_log_that_is_short_enough_costs_no_transaction(archive, watched):
    archive.append("lobby", said(1, 2))
    archive.append("attic", [say("hello", 1), Deleted(1, "ada", DATE, "id", 2)])
    watched.counts.clear()
    archive.trim(1e12, 2)

    assert watched.counts == []


def test_what_is_forgotten_goes_in_bites(archive, watched):
    archive.append("lobby", said(*range(1, 2 * BITE + 101)))
    watched.counts.clear()
    archive.forget(["lobby"])

    assert watched.counts[:3] == [BITE + 100, 100, 0]


def test_ids_are_found_over_any_number_of_pages(archive):
    events = [Message("ada", "", DATE, f"id-{offset}", offset) for offset in range(1, 2501)]
    archive.append("lobby", events)

    assert [found.offset for found in archive.ids("lobby", DATE, 10_000)] == list(range(1, 2501))
    assert [found.offset for found in archive.ids("lobby", DATE, 1500)] == list(range(1001, 2501))
