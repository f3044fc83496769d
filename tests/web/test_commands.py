"""What whoever deploys is told of the database, by `flask chat` and at the start."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import text

from chat.database import Database, upgrade
from chat.schema import CHAT
from tests.postgres import PASSWORD, OneDatabase
from tests.web.conftest import MakeHost
from web.settings import SettingError

WANTED = ScriptDirectory(str(CHAT.folder)).get_heads()[0]


def chat(app: Flask, command: str) -> tuple[int, str]:
    done = app.test_cli_runner().invoke(args=["chat", command])
    return done.exit_code, done.output


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("postgres").url


@pytest.fixture
def newer(url: str) -> str:
    """A database that a newer version of the chat has written."""
    upgrade(url, CHAT)
    database = Database(url)
    database.run(lambda session: session.execute(text("UPDATE chat_version SET version_num = '9999'")) and None)
    database.close()
    return url


def test_an_application_of_ones_own_has_the_commands_too(make_host: MakeHost, url: str) -> None:
    app = make_host(DATABASE_URL=url)

    assert chat(app, "status") == (0, f"chat: none, wanted {WANTED}\n")
    assert chat(app, "upgrade") == (0, f"chat: upgraded from none to {WANTED}\n")
    assert chat(app, "upgrade") == (0, f"chat: {WANTED}, nothing to do\n")
    assert chat(app, "status") == (0, f"chat: {WANTED}, wanted {WANTED}\n")


def test_a_database_that_is_behind_stops_the_start_with_the_command(make_host: MakeHost, postgres: OneDatabase) -> None:
    app = make_host(DATABASE_URL=postgres.url)

    with pytest.raises(SettingError) as caught:
        app.extensions["chat"].start()

    assert str(caught.value) == (
        f"CHAT_DATABASE_URL: the database is behind (chat: none, wanted {WANTED}); "
        "run: flask chat upgrade (with --app, unless the application is in wsgi.py)"
    )


def test_a_database_of_a_newer_version_stops_the_start_and_the_command(make_host: MakeHost, newer: str) -> None:
    app = make_host(DATABASE_URL=newer)
    sentence = (
        "CHAT_DATABASE_URL: the database is ahead, or has versions that are not known here "
        f"(chat: 9999, wanted {WANTED}); "
        "run the version that wrote it, or a newer one"
    )

    with pytest.raises(SettingError) as caught:
        app.extensions["chat"].start()

    assert str(caught.value) == sentence
    assert chat(app, "upgrade") == (1, f"Error: {sentence}\n")


def test_a_database_that_cannot_be_reached_is_told_in_one_line_without_the_password(
    make_host: MakeHost, postgres: OneDatabase
) -> None:
    app = make_host(DATABASE_URL=postgres.server.url("nosuch"))

    status, said = chat(app, "status")
    with pytest.raises(SettingError, match=r"^CHAT_DATABASE_URL: this database cannot be used: .*nosuch") as caught:
        app.extensions["chat"].start()

    assert status == 1
    assert said == f"Error: {caught.value}\n"
    assert PASSWORD not in said
    assert said.count("\n") == 1
