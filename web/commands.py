"""`flask chat upgrade` and `flask chat status`: the database, for whoever deploys.

SQLite needs neither, for it is upgraded at the start.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from chat import database
from chat.database import Schema, Standing
from chat.errors import ChatError

T = TypeVar("T")


def make_commands(url: Callable[[], str], schemas: Sequence[Schema]) -> AppGroup:
    """Return the group `chat`; `schemas` is read when a command runs."""
    group = AppGroup("chat", help="The chat's tables.")

    @group.command(help="Bring the database to what this version needs.")
    def upgrade() -> None:
        for standing in _tried(lambda: database.upgrade(url(), *schemas)):
            click.echo(_done(standing))

    @group.command(help="Tell where the database stands.")
    def status() -> None:
        for standing in _tried(lambda: database.standings(url(), *schemas)):
            click.echo(standing)

    return group


def _done(standing: Standing) -> str:
    if standing.is_current:
        return f"{standing.schema}: {standing.found}, nothing to do"
    return f"{standing.schema}: upgraded from {standing.found or 'none'} to {standing.wanted}"


def _tried(job: Callable[[], T]) -> T:
    try:
        return job()
    except ChatError as exc:
        raise click.ClickException(f"CHAT_DATABASE_URL: {exc}") from exc
    except (ValueError, SQLAlchemyError, OSError) as exc:
        raise click.ClickException(f"CHAT_DATABASE_URL: this database cannot be used: {exc}") from exc
