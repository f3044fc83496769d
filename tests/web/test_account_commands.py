"""`flask accounts`, beside a site that runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from chat.closing import LOGGED_OUT
from chat.testing import TurnedClock
from tests.web.conftest import Dial, Serve
from tests.web.site import GOOD, close_site, csrf_token, enter, is_in, log_in, make_site, register, settle, submit
from web.accounts import HANDED_OUT
from web.logins import SWEEP

BETTER = "battery staple"


@pytest.fixture
def app(tmp_path: Path, clock: TurnedClock) -> Iterator[Flask]:
    app = make_site(tmp_path, clock)
    yield app
    close_site(app)


def accounts(app: Flask, *arguments: str) -> tuple[int, str]:
    """Exit status, and what was said to standard output or error."""
    done = app.test_cli_runner().invoke(args=["accounts", *arguments])
    return done.exit_code, done.output


def hand_out(app: Flask, name: str) -> str:
    done = app.test_cli_runner().invoke(args=["accounts", "password", name])
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def can_log_in(app: Flask, name: str, password: str) -> bool:
    return submit(app.test_client(), "/login", name, password).status_code == 303


def test_who_has_forgotten_the_password_gets_one_that_nobody_chose(app: Flask) -> None:
    ann, bob = register(app, "ann", remember=True), register(app, "bob")

    first, second = hand_out(app, "ANN"), hand_out(app, "ann")

    assert first != second
    assert len(second) >= 16, "96 bits in base64"
    assert [can_log_in(app, "ann", password) for password in (GOOD, first, second)] == [False, False, True]
    assert (is_in(ann), is_in(bob)) == (False, True)
    ann.delete_cookie("session")
    assert not is_in(ann), "the remembered login has ended too"


def test_a_password_that_was_handed_out_is_good_for_a_day_and_one_of_the_user_s_own_for_ever(
    app: Flask, clock: TurnedClock
) -> None:
    register(app, "ann")
    password = hand_out(app, "ann")
    clock.advance(HANDED_OUT.total_seconds() - 1)
    assert can_log_in(app, "ann", password)
    clock.advance(1)
    assert not can_log_in(app, "ann", password)

    password = hand_out(app, "ann")
    client = app.test_client()
    submit(client, "/login", "ann", password)
    token = csrf_token(client.get("/account"))
    client.post("/account", data={"csrf_token": token, "do": "password", "current": password, "new": BETTER})
    clock.advance(HANDED_OUT.total_seconds())

    assert can_log_in(app, "ann", BETTER)


def test_all_logins_of_one_user_are_ended_or_those_of_everybody(app: Flask) -> None:
    ann, bob = register(app, "ann"), register(app, "bob")

    assert accounts(app, "logout", "ann") == (0, "ann is logged out.\n")
    assert (is_in(ann), is_in(bob)) == (False, True)
    assert accounts(app, "logout", "--all") == (0, "Everybody is logged out.\n")
    assert not is_in(bob)
    assert is_in(log_in(app, "ann")), "and may come back"


def test_the_sockets_of_a_login_that_was_ended_by_command_end_within_a_minute(
    app: Flask, clock: TurnedClock, serve: Serve, dial: Dial
) -> None:
    port = serve(app)
    app.extensions["chat"].server.create_channel("lobby")
    caller = enter(register(app, "ann"), port, dial)
    accounts(app, "logout", "ann")

    clock.advance(SWEEP)
    settle(app.extensions["chat"].database)

    assert caller.closing() == LOGGED_OUT


def test_a_disabled_account_is_like_none_until_it_is_enabled_and_its_name_stays_taken(app: Flask) -> None:
    ann = register(app, "ann")

    assert accounts(app, "disable", "ann") == (0, "Nobody can log in as ann.\n")

    assert not is_in(ann)
    refused, unknown = (submit(app.test_client(), "/login", name, GOOD) for name in ("ann", "eve"))
    assert refused.status_code == unknown.status_code == 401
    assert submit(app.test_client(), "/register", "ann", GOOD).status_code == 409
    assert accounts(app, "enable", "ann") == (0, "ann can log in.\n")
    assert can_log_in(app, "ann", GOOD)


def test_a_password_for_a_disabled_account_lets_nobody_in_yet_and_that_is_told(app: Flask) -> None:
    register(app, "ann")
    _, before = accounts(app, "password", "ann")
    accounts(app, "disable", "ann")

    _, after = accounts(app, "password", "ann")

    assert before.splitlines()[1] == "It lets ann in for 24 hours; change it on the account page by then."
    password, told = after.splitlines()
    assert told == "ann is disabled: it lets nobody in until `enable`, and runs out in 24 hours."
    assert not can_log_in(app, "ann", password)
    assert accounts(app, "enable", "ann") == (0, "ann can log in.\n")
    assert can_log_in(app, "ann", password)


def test_a_password_that_ran_out_while_its_account_was_disabled_is_told(app: Flask, clock: TurnedClock) -> None:
    register(app, "ann")
    password = hand_out(app, "ann")
    accounts(app, "disable", "ann")
    clock.advance(HANDED_OUT.total_seconds())

    said = accounts(app, "enable", "ann")

    told = "ann is enabled, but the password that was handed out has run out; `password` makes a new one.\n"
    assert said == (0, told)
    assert not can_log_in(app, "ann", password)
    assert can_log_in(app, "ann", hand_out(app, "ann"))


@pytest.mark.parametrize("command", ["password", "logout", "disable", "enable"])
@pytest.mark.parametrize("name", ["eve", "", "a\nb"])
def test_a_name_that_nobody_has_is_told(app: Flask, command: str, name: str) -> None:
    register(app, "ann")

    assert accounts(app, command, name) == (1, f"Error: nobody is called {name!r} here.\n")


@pytest.mark.parametrize("arguments", [(), ("ann", "--all")])
def test_whose_logins_to_end_has_to_be_said_once(app: Flask, arguments: tuple[str, ...]) -> None:
    ann = register(app, "ann")

    status, said = accounts(app, "logout", *arguments)

    assert status == 2
    assert "a NAME, or --all" in said
    assert is_in(ann)


def test_a_database_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    app = make_site(tmp_path, CHAT_DATABASE_URL=f"sqlite:///{tmp_path}")

    status, said = accounts(app, "logout", "--all")

    assert status == 1
    assert said.startswith("Error: CHAT_DATABASE_URL: this database cannot be used: ")
