"""The tables that migrations make, and what they do to a database that is old, new, strange or shared."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from shutil import copy

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from chat.database import Base, Database, Schema, standings, upgrade
from chat.engine import make_engine, parse
from chat.errors import DatabaseAhead, DatabaseBehind
from chat.registry import ChannelRecord
from chat.registry.sql import SqlRegistry
from chat.schema import CHAT
from web import accounts, app
from web.schema import ACCOUNTS

ALL = (CHAT, ACCOUNTS)
TOP = Path(__file__).parents[1]
MODELS = accounts, app  # which import every table there is

OLD = """
    CREATE TABLE channels (
        id {id} NOT NULL, name VARCHAR NOT NULL, epoch VARCHAR NOT NULL, last_offset INTEGER NOT NULL,
        taken BOOLEAN NOT NULL, created_by VARCHAR NOT NULL, created_at {date} NOT NULL, closed_at {date}, PRIMARY KEY (id)
    );
    CREATE INDEX ix_channels_name ON channels (name);
    CREATE UNIQUE INDEX one_open_channel_a_name ON channels (name) WHERE closed_at IS NULL;
    CREATE TABLE accounts (
        id {id} NOT NULL, username VARCHAR NOT NULL, key VARCHAR NOT NULL, password_hash VARCHAR NOT NULL,
        created_at {date} NOT NULL, PRIMARY KEY (id), UNIQUE (key)
    );
    INSERT INTO channels (id, name, epoch, last_offset, taken, created_by, created_at, closed_at) VALUES
        (1, 'lobby', 'e1', 17, false, 'ann', '2026-01-01 10:00:00', NULL),
        (2, 'attic', 'e2', 3, false, 'ann', '2026-01-01 10:00:00', '2026-01-02 10:00:00');
    INSERT INTO accounts (id, username, key, password_hash, created_at) VALUES
        (5, 'Ann', 'ann', '$argon2id$', '2026-01-01 10:00:00');
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chat.db"
    found: str = request.getfixturevalue("postgres").url
    return found


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = make_engine(parse(url))
    yield engine
    engine.dispose()


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., Database]]:
    made: list[Database] = []

    def start(*schemas: Schema) -> Database:
        made.append(Database(url, *schemas))
        return made[-1]

    yield start
    for database in made:
        database.close()


def execute(engine: Engine, script: str) -> None:
    with engine.begin() as connection:
        for statement in script.split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def tables(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(engine.dialect.get_table_names(connection))


def stands(url: str, *schemas: Schema) -> list[tuple[str, str | None]]:
    return [(standing.schema, standing.found) for standing in standings(url, *schemas)]


def make_old(engine: Engine) -> None:
    """As the first version left it."""
    on_sqlite = engine.dialect.name == "sqlite"
    execute(engine, OLD.format(id="INTEGER" if on_sqlite else "SERIAL", date="DATETIME" if on_sqlite else "TIMESTAMP"))


def differences(connection: Connection) -> list[tuple[object, ...]]:
    versions = {f"{schema.name}_version" for schema in ALL}

    def is_ours(thing: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or name not in versions

    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": is_ours})
    return list(compare_metadata(context, Base.metadata))


def test_migrations_make_what_the_models_say(url: str, engine: Engine) -> None:
    upgrade(url, *ALL)

    with engine.connect() as connection:
        assert differences(connection) == []


def test_that_comparison_sees_what_is_wanting(url: str, engine: Engine) -> None:
    upgrade(url, *ALL)
    execute(engine, "DROP INDEX chat_channels_open; ALTER TABLE chat_channels DROP COLUMN created_by")

    with engine.connect() as connection:
        assert {found[0] for found in differences(connection)} == {"add_index", "add_column"}


def test_whoever_has_users_of_their_own_gets_no_accounts(url: str, engine: Engine) -> None:
    upgrade(url, CHAT)

    assert {name for name in tables(engine) if name.startswith("account") or "_accounts" in name} == set()


def test_our_tables_have_names_that_are_no_one_elses(url: str, engine: Engine) -> None:
    execute(engine, "CREATE TABLE channels (id INTEGER); CREATE TABLE alembic_version (version_num VARCHAR(32))")

    upgrade(url, *ALL)

    assert {"channels", "alembic_version"} < tables(engine)
    assert all(name.startswith(("chat_", "accounts_")) for name in tables(engine) - {"channels", "alembic_version"})


def test_an_old_database_keeps_its_channels_and_accounts(url: str, engine: Engine, opened: Callable[..., Database]) -> None:
    make_old(engine)

    upgrade(url, *ALL)

    registry = SqlRegistry(opened(*ALL))
    assert registry.names() == ["lobby"]
    assert registry.take("lobby") == ChannelRecord("lobby", "e1", "e1", 17, "ann")
    with engine.begin() as connection:
        found = connection.execute(text("SELECT id, username, key, password_hash FROM chat_accounts")).all()
        assert found == [(5, "Ann", "ann", "$argon2id$")]
        assert connection.scalar(text("SELECT count(*) FROM chat_channels")) == 2
        assert differences(connection) == []


def test_who_comes_after_those_that_were_taken_over_gets_a_new_id(url: str, engine: Engine) -> None:
    make_old(engine)
    upgrade(url, *ALL)
    table = Base.metadata.tables["chat_accounts"]

    with engine.begin() as connection:
        new = {"username": "bob", "key": "bob", "password_hash": "x", "created_at": datetime.now(UTC)}
        assert connection.execute(table.insert(), new).inserted_primary_key == (6,)


def test_an_upgrade_tells_where_it_began_and_does_nothing_twice(url: str) -> None:
    first, second = upgrade(url, *ALL), upgrade(url, *ALL)

    assert [standing.found for standing in first] == [None, None]
    assert all(standing.is_current for standing in second)


def test_sqlite_is_upgraded_when_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    Database(url, *ALL).close()

    assert all(standing.is_current for standing in standings(url, *ALL))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_others_are_only_looked_at(url: str, engine: Engine) -> None:
    with pytest.raises(DatabaseBehind, match=r"^the database is behind \(chat: none, wanted \d{4}\)$"):
        Database(url, CHAT)

    assert tables(engine) == set()


def test_what_a_newer_version_wrote_is_left_alone(url: str, engine: Engine) -> None:
    upgrade(url, CHAT)
    execute(engine, "UPDATE chat_version SET version_num = '9999'")
    before = tables(engine)

    for use in (Database, upgrade):
        with pytest.raises(DatabaseAhead, match=r"chat: 9999, wanted \d{4}"):
            use(url, *ALL)

    assert tables(engine) == before
    assert stands(url, CHAT) == [("chat", "9999")]


def test_logins_of_the_version_that_kept_their_sids_in_clear_end_and_accounts_stay(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "versions").mkdir()
    for script in ("0001_accounts.py", "0002_logins.py"):
        copy(ACCOUNTS.folder / "versions" / script, tmp_path / "versions")
    upgrade(url, Schema("accounts", tmp_path))
    execute(
        engine,
        """
        INSERT INTO chat_accounts (id, username, key, password_hash, created_at)
            VALUES (5, 'Ann', 'ann', 'x', '2026-01-01');
        INSERT INTO chat_logins (account, sid, created_at, seen_at, agent) VALUES (5, 's', '2026-01-01', '2026-01-01', '')
        """,
    )

    upgrade(url, ACCOUNTS)

    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, username, disabled_at FROM chat_accounts")).all() == [(5, "Ann", None)]
        assert connection.scalar(text("SELECT count(*) FROM chat_logins")) == 0


def test_channels_keep_their_epochs_as_logs_and_only_those_that_nobody_put_back_begin_anew(
    url: str, engine: Engine, opened: Callable[..., Database], tmp_path: Path
) -> None:
    (tmp_path / "versions").mkdir()
    copy(CHAT.folder / "versions" / "0001_channels.py", tmp_path / "versions")
    upgrade(url, Schema("chat", tmp_path))
    execute(
        engine,
        """
        INSERT INTO chat_channels (name, epoch, last_offset, taken, created_by, created_at, closed_at) VALUES
            ('lobby', 'e1', 17, false, 'ann', '2026-01-01', NULL),
            ('attic', 'e2', 3, true, 'ann', '2026-01-01', NULL)
        """,
    )

    upgrade(url, CHAT)

    registry = SqlRegistry(opened(CHAT))
    assert registry.logs() == {"lobby": "e1", "attic": "e2"}
    assert registry.take("lobby") == ChannelRecord("lobby", "e1", "e1", 17, "ann")
    attic = registry.take("attic")
    assert (len(attic.epoch), attic.offset) == (16, 0)


# Migrations that fail


SCRIPT = """
import os, signal
revision, down_revision = {revision}
def upgrade(op):
    op.execute("CREATE TABLE table{number} (id INTEGER)")
    {more}
"""


def schema(folder: Path, more: str) -> Schema:
    """Two migrations: one that works, and one that does something more."""
    (folder / "versions").mkdir(parents=True)
    (folder / "versions" / "0001.py").write_text(SCRIPT.format(revision=("0001", None), number=1, more=""))
    (folder / "versions" / "0002.py").write_text(SCRIPT.format(revision=("0002", "0001"), number=2, more=more))
    return Schema("test", folder)


def python(script: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(script)]


def test_a_migration_that_fails_leaves_the_old_state(url: str, engine: Engine, tmp_path: Path) -> None:
    failing = schema(tmp_path / "schema", "raise LookupError")

    with pytest.raises(LookupError):
        upgrade(url, failing)

    assert tables(engine) == set()
    assert stands(url, failing) == [("test", None)]


def test_a_kill_in_the_middle_leaves_the_old_state(url: str, engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "schema"
    killed = schema(folder, "os.kill(os.getpid(), signal.SIGKILL)")
    script = """
        import sys
        from pathlib import Path
        from chat.database import Schema, upgrade
        upgrade(sys.argv[1], Schema("test", Path(sys.argv[2])))
    """

    done = subprocess.run([*python(script), url, str(folder)], cwd=TOP, timeout=30)

    assert done.returncode == -signal.SIGKILL
    assert stands(url, killed) == [("test", None)]
    assert tables(engine) == set()


def test_of_two_who_upgrade_at_once_one_waits_and_finds_it_done(url: str) -> None:
    script = (
        "import sys; from chat.database import upgrade; from chat.schema import CHAT; print(*upgrade(sys.argv[1], CHAT))"
    )
    command = [sys.executable, "-c", script, url]
    both = [subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    told = [process.communicate(timeout=30)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert len({line.partition(",")[0] for line in told}) == 2
