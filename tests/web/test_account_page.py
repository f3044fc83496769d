"""The account page: display name, password, and where one is logged in."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import gevent
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chat.closing import LOGGED_OUT
from chat.testing import TurnedClock
from tests.web.conftest import Dial, Serve
from tests.web.fakes import Caller
from tests.web.site import (
    GOOD,
    alerts,
    close_site,
    csrf_token,
    enter,
    is_in,
    log_in,
    make_site,
    register,
    settle,
    sid_of,
    submit,
    told,
)
from web.logins import SWEEP
from web.routes import account as page

BETTER = "battery staple"
LIFETIME = 3600.0


@pytest.fixture
def app(tmp_path: Path, clock: TurnedClock) -> Iterator[Flask]:
    app = make_site(tmp_path, clock, CHAT_SESSION_LIFETIME=LIFETIME)
    yield app
    close_site(app)


@pytest.fixture
def ann(app: Flask) -> FlaskClient:
    return register(app, "ann")


def send(client: FlaskClient, do: str, **fields: str) -> TestResponse:
    token = csrf_token(client.get("/account"))
    return client.post("/account", data={"csrf_token": token, "do": do, **fields})


def after(client: FlaskClient, response: TestResponse) -> TestResponse:
    """The page that one is sent to."""
    assert response.status_code == 303, response.text
    assert response.location
    return client.get(response.location)


def test_a_stranger_is_sent_to_the_login_and_back(app: Flask, ann: FlaskClient) -> None:
    stranger = app.test_client()

    response = stranger.get("/account")

    assert (response.status_code, response.location) == (303, "/login?next=/account")
    assert submit(stranger, "/login?next=/account", "ann", GOOD).location == "/account"


@pytest.mark.parametrize("do", ["", "nothing", "end"])
def test_a_form_that_is_none_is_refused(ann: FlaskClient, do: str) -> None:
    assert send(ann, do).status_code == 400


@pytest.mark.parametrize(
    ("do", "field", "status"), [("display_name", "display_name", 303), ("password", "current", 400), ("end", "login", 400)]
)
def test_a_file_is_no_text(ann: FlaskClient, do: str, field: str, status: int) -> None:
    fields = {"csrf_token": csrf_token(ann.get("/account")), "do": do, "current": GOOD, "new": BETTER}

    response = ann.post("/account", data={**fields, field: (BytesIO(b"1"), "a-file")})

    assert response.status_code == status


@pytest.mark.parametrize("do", ["display_name", "password", "end", "end_all"])
def test_a_form_that_another_site_sends_is_refused(ann: FlaskClient, do: str) -> None:
    assert ann.post("/account", data={"do": do, "display_name": "Anne"}).status_code == 400
    assert is_in(ann)


# Display name


def test_a_display_name_is_set_and_told_once(ann: FlaskClient) -> None:
    found = after(ann, send(ann, "display_name", display_name=" Anne of Cleves "))

    assert told(found) == [page.NAME_SET]
    assert 'value="Anne of Cleves"' in found.text
    assert told(ann.get("/account")) == []


def test_an_empty_display_name_is_none(ann: FlaskClient) -> None:
    send(ann, "display_name", display_name="Anne")

    found = after(ann, send(ann, "display_name", display_name=""))

    assert page.NAME_REMOVED in told(found)
    assert 'value="Anne"' not in found.text


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("BOB", 409, page.NAME_TAKEN), ("a\u200bb", 400, "U+200B"), ("x" * 65, 400, "at most 64")],
)
def test_a_wrong_display_name_comes_back_with_what_is_wrong(
    app: Flask, ann: FlaskClient, name: str, status: int, said: str
) -> None:
    register(app, "bob")

    response = send(ann, "display_name", display_name=name)

    assert response.status_code == status
    assert [text for text in alerts(response) if said in text]
    assert f'value="{name}"' in response.text


def test_the_display_name_goes_with_the_user(app: Flask, ann: FlaskClient) -> None:
    send(ann, "display_name", display_name="Anne")

    shown = ann.get("/chat/", environ_overrides={"web.websocket": object()})

    assert 'data-display-name="Anne"' in shown.text


# Password


def test_changing_the_password_ends_all_other_logins(app: Flask, ann: FlaskClient) -> None:
    other, remembered = log_in(app, "ann"), log_in(app, "ann", remember=True)

    found = after(ann, send(ann, "password", current=GOOD, new=BETTER))

    assert told(found) == [page.PASSWORD_CHANGED]
    assert is_in(ann)
    assert not is_in(other)
    remembered.delete_cookie("session")
    assert not is_in(remembered)
    assert submit(app.test_client(), "/login", "ann", GOOD).status_code == 401
    assert submit(app.test_client(), "/login", "ann", BETTER).status_code == 303


@pytest.mark.parametrize("remember", [False, True])
def test_who_changes_the_password_goes_on_by_new_cookies_and_the_old_ones_are_a_stranger_s(
    app: Flask, remember: bool
) -> None:
    client = register(app, "ann", remember=remember)
    thief = app.test_client()
    for name in ("session", *(["remember"] if remember else [])):
        cookie = client.get_cookie(name)
        assert cookie
        thief.set_cookie(name, cookie.value)
    sid = sid_of(client)

    send(client, "password", current=GOOD, new=BETTER)

    assert not is_in(thief)
    assert sid_of(client) == sid, "the same login, so its sockets stay open"
    client.delete_cookie("session")
    assert is_in(client) == remember


@pytest.mark.parametrize(
    ("current", "new", "status", "said"),
    [
        ("wrong horse", BETTER, 403, page.WRONG_PASSWORD),
        ("", BETTER, 400, "Enter your password"),
        (GOOD, "", 400, "Enter a new password"),
        (GOOD, "short", 400, "at least 8 characters"),
        (GOOD, "password1", 400, "many people use"),
        (GOOD, "ann123456", 400, "is the user name"),
    ],
)
def test_a_password_that_cannot_be_changed_is_explained_and_nobody_is_logged_out(
    app: Flask, ann: FlaskClient, current: str, new: str, status: int, said: str
) -> None:
    other = log_in(app, "ann")

    response = send(ann, "password", current=current, new=new)

    assert response.status_code == status
    assert [text for text in alerts(response) if said in text]
    for password in filter(None, (current, new)):
        assert f'value="{password}"' not in response.text
    assert is_in(other)


def test_guesses_at_the_current_password_are_slowed_down_and_too_many_at_a_time_refused(
    app: Flask, ann: FlaskClient, clock: TurnedClock
) -> None:
    clients = [ann, log_in(app, "ann"), log_in(app, "ann")]
    tokens = [csrf_token(client.get("/account")) for client in clients]

    def guess(number: int) -> TestResponse:
        fields = {"csrf_token": tokens[number], "do": "password", "current": "a guess", "new": BETTER}
        return clients[number].post("/account", data=fields, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})

    for _ in range(3):
        assert guess(0).status_code == 403
    waiting = [gevent.spawn(guess, number) for number in range(2)]
    gevent.idle()
    refused = guess(2)

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert [text for text in alerts(refused) if "in 10 seconds" in text]
    assert "Where you are logged in" in refused.text
    assert not any(greenlet.ready() for greenlet in waiting)
    clock.advance(8)
    assert [greenlet.get(timeout=5).status_code for greenlet in waiting] == [403, 403]


# Logins


def login_ids(response: TestResponse) -> list[str]:
    return re.findall(r'name="login" value="(\d+)"', response.text)


def test_one_sees_where_one_is_logged_in_and_which_of_it_is_here(app: Flask, ann: FlaskClient) -> None:
    phone = app.test_client()
    submit(phone, "/login", "ann", GOOD, headers={"User-Agent": "Mozilla/5.0 (Android 15) Gecko Firefox/140.0"})
    register(app, "bob")

    found = ann.get("/account").text

    assert len(re.findall(r"<li\b", found)) == 2
    assert found.count("(this device)") == 1
    assert re.search(r"<strong>Werkzeug/[^<]*</strong> \(this device\)", found)
    assert "<strong>Firefox on Android</strong></p>" in found
    assert '<time datetime="2026-01-02T15:04:05+00:00">2026-01-02 15:04 UTC</time>' in found


def test_one_login_is_ended_from_another(app: Flask, ann: FlaskClient) -> None:
    second, third = log_in(app, "ann", remember=True), log_in(app, "ann")
    newest, _ = login_ids(third.get("/account"))  # without that which is here

    found = after(third, send(third, "end", login=newest))

    assert told(found) == [page.LOGIN_ENDED]
    assert len(login_ids(found)) == 1
    assert [is_in(client) for client in (ann, second, third)] == [True, False, True]


@pytest.mark.parametrize("id", ["0", "-1", "x", "99999999999999999999"])
def test_a_login_that_there_cannot_be_is_refused(ann: FlaskClient, id: str) -> None:
    assert send(ann, "end", login=id).status_code == 400


def test_nobody_ends_the_login_of_somebody_else(app: Flask, ann: FlaskClient) -> None:
    bob = register(app, "bob")
    other = log_in(app, "bob")
    [id] = login_ids(bob.get("/account"))

    send(ann, "end", login=id)

    assert is_in(other)


def test_log_out_everywhere_ends_all_logins_and_says_so(app: Flask, ann: FlaskClient) -> None:
    other, remembered = log_in(app, "ann"), log_in(app, "ann", remember=True)
    bob = register(app, "bob")

    found = after(remembered, send(remembered, "end_all"))

    assert told(found) == [page.ALL_ENDED]
    assert [is_in(client) for client in (ann, other, remembered, bob)] == [False, False, False, True]
    assert remembered.get_cookie("remember") is None


# Sockets


def is_open(caller: Caller) -> bool:
    """It hears what it says; the connection fails otherwise."""
    caller.say("still here?")
    while "still here?" not in caller.line():
        pass
    return True


@pytest.fixture
def lobby(app: Flask, serve: Serve) -> int:
    """The port of the site, which has a channel."""
    port = serve(app)
    app.extensions["chat"].server.create_channel("lobby")
    return port


def test_the_sockets_of_a_login_end_with_it_and_no_others(app: Flask, ann: FlaskClient, lobby: int, dial: Dial) -> None:
    other = log_in(app, "ann")
    here, there = enter(ann, lobby, dial), enter(other, lobby, dial)

    send(ann, "password", current=GOOD, new=BETTER)

    assert there.closing() == LOGGED_OUT
    assert is_open(here)


def test_log_out_everywhere_ends_all_sockets(app: Flask, ann: FlaskClient, lobby: int, dial: Dial) -> None:
    callers = [enter(ann, lobby, dial), enter(log_in(app, "ann", remember=True), lobby, dial)]

    send(ann, "end_all")

    assert [caller.closing() for caller in callers] == [LOGGED_OUT, LOGGED_OUT]


def test_a_login_that_expires_while_somebody_chats_ends_the_chat(
    app: Flask, ann: FlaskClient, lobby: int, dial: Dial, clock: TurnedClock
) -> None:
    caller = enter(ann, lobby, dial)
    clock.advance(LIFETIME - 1)
    assert is_open(caller)

    settle(app.extensions["chat"].database)
    clock.advance(SWEEP)

    assert caller.closing() == LOGGED_OUT
    assert not is_in(ann)
