"""`flask chat upgrade` and `flask chat status`: the database, for whoever deploys.

SQLite needs neither, for it is upgraded at the start.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from chat import database
from chat.database import Schema, Standing
from chat.errors import BrokerUnavailable, DatabaseAhead, DatabaseBehind, DatabaseUnavailable

T = TypeVar("T")

# What opening a database, or a Redis, may raise, and what of that is because it is away.
PASSING: Final = (BrokerUnavailable, DatabaseUnavailable, OperationalError, InterfaceError)
FAULTS: Final = (*PASSING, DatabaseAhead, DatabaseBehind, SQLAlchemyError, OSError, ValueError)


def explain(fault: Exception) -> str:
    """Return a sentence for one of FAULTS, which names the setting and what to do."""
    match fault:
        case BrokerUnavailable(why=why):
            return f"CHAT_REDIS_URL: {why or fault}"
        case DatabaseBehind():
            why = f"{fault}; run: flask chat upgrade (with --app, unless the application is in wsgi.py)"
        case DatabaseAhead():
            why = f"{fault}; run the version that wrote it, or a newer one"
        case _:
            why = f"this database cannot be used: {fault.orig if isinstance(fault, DBAPIError) else fault}"
    return "CHAT_DATABASE_URL: " + " ".join(why.split())


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
    except FAULTS as exc:
        raise click.ClickException(explain(exc)) from exc
