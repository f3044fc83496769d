"""The cookies of the standalone site: as strict as the request allows, and a login that a browser remembers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chat.testing import TurnedClock
from tests.web.site import GOOD, close_site, csrf_token, is_in, log_in, log_out, make_site, register, sid_of

TLS = "https://chat.example"
LIFETIME, REMEMBERED = 3600, 86_400


@pytest.fixture
def app(tmp_path: Path, clock: TurnedClock) -> Iterator[Flask]:
    app = make_site(tmp_path, clock, CHAT_SESSION_LIFETIME=LIFETIME, CHAT_REMEMBER_LIFETIME=REMEMBERED)
    yield app
    close_site(app)


def cookies_of(response: TestResponse) -> dict[str, tuple[str, set[str]]]:
    """The value and the attributes of each cookie that is set."""
    found = {}
    for line in response.headers.getlist("Set-Cookie"):
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        found[name] = value, set(attributes)
    return found


def enter(client: FlaskClient, path: str, base: str = "http://localhost") -> TestResponse:
    token = csrf_token(client.get(path, base_url=base))
    fields = {"csrf_token": token, "username": "ann", "password": GOOD, "remember": "y"}
    return client.post(path, data=fields, base_url=base, headers={"Referer": f"{base}{path}"})


def test_on_plain_http_they_are_kept_from_scripts_and_from_foreign_pages(app: Flask) -> None:
    cookies = cookies_of(enter(app.test_client(), "/register"))

    assert cookies.keys() == {"session", "remember"}
    assert cookies["session"][1] == {"HttpOnly", "SameSite=Lax", "Path=/"}
    assert cookies["remember"][1] >= {"HttpOnly", "SameSite=Lax", "Path=/", f"Max-Age={REMEMBERED}"}
    assert "Secure" not in cookies["remember"][1]


def test_behind_tls_they_are_secure_and_of_this_host_alone(app: Flask) -> None:
    cookies = cookies_of(enter(app.test_client(), "/register", TLS))

    assert cookies.keys() == {"__Host-session", "__Host-remember"}
    for _, attributes in cookies.values():
        assert attributes >= {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}
        assert not any(attribute.startswith("Domain") for attribute in attributes), "or browsers refuse the name"


@pytest.mark.parametrize(("method", "path"), [("GET", "/login"), ("POST", "/login"), ("GET", "/chat/ws")])
def test_asking_for_an_upgrade_is_an_error_like_others_and_changes_no_session(app: Flask, method: str, path: str) -> None:
    client = enter_as_ann(app)

    refused = client.open(path, method=method, headers={"Upgrade": "websocket", "Connection": "Upgrade"})

    assert refused.status_code in (400, 501)
    assert "Set-Cookie" not in refused.headers
    assert is_in(client)


def enter_as_ann(app: Flask) -> FlaskClient:
    client = app.test_client()
    assert enter(client, "/register").status_code == 303
    return client


def test_behind_a_proxy_that_has_tls_they_are_so_too(tmp_path: Path) -> None:
    app = make_site(tmp_path, CHAT_TRUSTED_PROXIES=1)
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.example"}

    response = app.test_client().get("/login", headers=headers)

    close_site(app)
    assert cookies_of(response)["__Host-session"][1] >= {"Secure"}


def test_cookies_of_plain_http_are_never_believed_behind_tls(app: Flask) -> None:
    client = app.test_client()
    planted = {name: value for name, (value, _) in cookies_of(enter(client, "/register")).items()}
    victim = app.test_client()
    for name, value in planted.items():
        victim.set_cookie(name, value)

    assert victim.get("/account").status_code == 200
    assert victim.get("/account", base_url="https://localhost").status_code == 303


# A login that is remembered


def restart(client: FlaskClient) -> None:
    """A browser that is closed and opened again forgets its session."""
    client.delete_cookie("session")


def test_who_asked_for_it_is_still_there_when_the_browser_was_closed(app: Flask) -> None:
    client, other = register(app, "ann", remember=True), register(app, "bob")
    sid = sid_of(client)

    restart(client)
    restart(other)

    assert is_in(client)
    assert sid_of(client) == sid, "in the same login"
    assert not is_in(other)


def test_what_was_planted_in_the_session_does_not_survive_when_a_login_is_recalled(app: Flask) -> None:
    client = register(app, "ann", remember=True)
    with client.session_transaction() as session:
        session.clear()
        session["note"] = session["_user_id"] = "planted"

    assert is_in(client)

    with client.session_transaction() as renewed:
        assert "note" not in renewed
        assert "planted" not in (renewed["_user_id"], renewed["sid"])


def test_it_lasts_as_long_as_it_is_used_and_the_cookie_with_it(app: Flask, clock: TurnedClock) -> None:
    client = register(app, "ann", remember=True)
    for _ in range(3):
        clock.advance(REMEMBERED - 1)
        cookies = cookies_of(client.get("/account"))
        assert f"Max-Age={REMEMBERED}" in cookies["remember"][1]
        restart(client)
        cookies = cookies_of(client.get("/account"))
        assert f"Max-Age={REMEMBERED}" in cookies["remember"][1]
    assert "remember" not in cookies_of(client.get("/account")), "only now and then"

    clock.advance(REMEMBERED)

    assert not is_in(client)


def test_without_the_wish_a_login_lasts_for_the_session_s_lifetime(app: Flask, clock: TurnedClock) -> None:
    client = register(app, "ann")
    clock.advance(LIFETIME - 1)
    assert is_in(client)

    clock.advance(LIFETIME)

    assert not is_in(client)


def test_logging_out_forgets_it_here_and_on_the_server(app: Flask) -> None:
    client = register(app, "ann", remember=True)
    token = client.get_cookie("remember")
    assert token

    response = log_out(client)

    value, attributes = cookies_of(response)["remember"]
    assert (value, "Max-Age=0" in attributes) == ("", True)
    thief = app.test_client()
    thief.set_cookie("remember", token.value)
    assert not is_in(thief)


@pytest.mark.parametrize("token", ["", "x", "\u00e9", "x" * 4000])
def test_a_token_that_is_none_is_a_stranger_s(app: Flask, token: str) -> None:
    register(app, "ann", remember=True)
    client = app.test_client()
    client.set_cookie("remember", token)

    assert not is_in(client)
    assert client.get("/login").status_code == 200


def test_the_cookie_of_another_application_on_this_host_is_in_nobody_s_way(app: Flask) -> None:
    client = app.test_client()
    enter(client, "/register")
    client.delete_cookie("session")
    client.set_cookie("remember_token", "1|of-some-other-flask-login")

    assert is_in(client)


def test_one_user_is_remembered_on_many_devices(app: Flask) -> None:
    first = register(app, "ann", remember=True)
    second = log_in(app, "ann", remember=True)
    log_out(first)
    restart(second)

    assert is_in(second)
