"""`flask accounts`: what the operator of the standalone site may have to do to somebody's account at night.

Each works beside a server that runs: logins let nobody in from then on, and their open sockets end at the server's next
sweep, within a minute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from flask.cli import AppGroup

from chat.clock import Clock
from chat.database import Database
from chat.errors import ChatError
from web.accounts import HANDED_OUT, Accounts, find_id
from web.commands import FAULTS, explain
from web.logins import expire
from web.passwords import Passwords
from web.slowdown import Slowdown


def make_account_commands(open_database: Callable[[], Database], clock: Clock) -> AppGroup:
    """Return the group `accounts`."""
    group = AppGroup("accounts", help="The accounts of the standalone site.")

    @group.command(help="Give NAME a new random password, print it, and end all logins of NAME.")
    @click.argument("name")
    def password(name: str) -> None:
        with _accounts(open_database, clock) as (_, accounts):
            handed_out, lets_in = accounts.hand_out_password(name, ended=expire)
        click.echo(handed_out)
        hours = f"{HANDED_OUT.total_seconds() / 3600:.0f} hours"
        if lets_in:
            click.echo(f"It lets {name} in for {hours}; change it on the account page by then.", err=True)
        else:
            click.echo(f"{name} is disabled: it lets nobody in until `enable`, and runs out in {hours}.", err=True)

    @group.command(help="End all logins of NAME, or of everybody.")
    @click.argument("name", required=False)
    @click.option("--all", "everybody", is_flag=True, help="Those of everybody.")
    def logout(name: str | None, everybody: bool) -> None:
        if everybody == (name is not None):
            raise click.UsageError("Say whose: a NAME, or --all.")
        with _accounts(open_database, clock) as (database, _):
            database.run(lambda session: expire(session, None if name is None else find_id(session, name)))
        click.echo(f"{name or 'Everybody'} is logged out.")

    @group.command(help="Let nobody log in as NAME, and end all logins of NAME.")
    @click.argument("name")
    def disable(name: str) -> None:
        with _accounts(open_database, clock) as (_, accounts):
            accounts.disable(name, ended=expire)
        click.echo(f"Nobody can log in as {name}.")

    @group.command(help="Let NAME log in again.")
    @click.argument("name")
    def enable(name: str) -> None:
        with _accounts(open_database, clock) as (_, accounts):
            lets_in = accounts.enable(name)
        click.echo(
            f"{name} can log in."
            if lets_in
            else f"{name} is enabled, but the password that was handed out has run out; `password` makes a new one."
        )

    return group


@contextmanager
def _accounts(open_database: Callable[[], Database], clock: Clock) -> Iterator[tuple[Database, Accounts]]:
    """The accounts, outside of a server.  Raises: click's exception, with a sentence, for all that is to be expected."""
    try:
        database = open_database()
    except FAULTS as exc:
        raise click.ClickException(explain(exc)) from exc
    accounts = Accounts(lambda: database, Passwords(), Slowdown(clock), clock)
    try:
        yield database, accounts
    except ChatError as exc:
        raise click.ClickException(f"{exc}.") from exc
    finally:
        accounts.close()
        database.close()
