"""The standalone application: its forms, its sessions, and what it says when something is wrong."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import gevent
import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from flask_login import LoginManager
from flask_wtf.csrf import CSRFProtect

from chat.errors import ChatError, DatabaseUnavailable
from chat.testing import TurnedClock
from tests.web.site import GOOD, alerts, close_site, csrf_token, is_in, log_out, make_site, sid_of, submit
from web.passwords import TooManyLogins
from web.routes.login import BUSY, local_target, make_login
from web.slowdown import TooManyAttempts


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = make_site(tmp_path)
    yield app
    close_site(app)


# Registering and logging in


def test_registering_logs_in_and_leads_to_the_page(client: FlaskClient) -> None:
    response = submit(client, "/register", "ann", GOOD)

    assert (response.status_code, response.location) == (303, "/chat/")
    page = client.get(response.location, environ_overrides={"web.websocket": object()})
    assert 'data-username="ann"' in page.text


def test_logging_in_leads_to_where_one_came_from(client: FlaskClient) -> None:
    submit(client, "/register", "ann", GOOD)
    log_out(client)

    assert submit(client, "/login?next=/chat/?x=1", "ann", GOOD).location == "/chat/?x=1"


def test_a_phone_s_space_after_the_name_does_no_harm(client: FlaskClient) -> None:
    submit(client, "/register", "ann ", GOOD)
    log_out(client)

    assert submit(client, "/login", " ann", GOOD).status_code == 303


def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(client: FlaskClient) -> None:
    submit(client, "/register", "ann", GOOD)
    log_out(client)

    wrong, unknown = (submit(client, "/login", name, "wrong horse") for name in ("ann", "bob"))

    assert wrong.status_code == unknown.status_code == 401
    assert alerts(wrong) == alerts(unknown) != []


@pytest.mark.parametrize(
    ("username", "password", "status", "said"),
    [
        ("", GOOD, 400, "Enter your user name"),
        ("bob", "", 400, "Enter your password"),
        ("bob", "short", 400, "at least 8 characters"),
        ("a\u200bb", GOOD, 400, "U+200B"),
        ("b" * 65, GOOD, 400, "at most 64"),
        ("ANN", GOOD, 409, "is taken"),
        ("bob", "iloveyou", 400, "many people use"),
        ("bob", "Bob123456", 400, "is the user name, or that with digits after it"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    client: FlaskClient, username: str, password: str, status: int, said: str
) -> None:
    submit(client, "/register", "ann", GOOD)
    log_out(client)

    response = submit(client, "/register", username, password)

    assert response.status_code == status
    assert [text for text in alerts(response) if said in text]
    field = "password" if username == "bob" else "username"
    described = re.search(rf'<input aria-describedby="([^"]+)" aria-invalid="true"[^>]* id="{field}"', response.text)
    assert described
    assert all(f'id="{id}"' in response.text for id in described[1].split())


def test_the_name_is_kept_for_the_next_try_and_the_password_is_not(client: FlaskClient) -> None:
    response = submit(client, "/login", "<ann>", "not the horse")

    assert 'value="&lt;ann&gt;"' in response.text
    assert "not the horse" not in response.text


@pytest.mark.parametrize("path", ["/login", "/register"])
def test_the_wish_to_stay_is_kept_for_the_next_try(client: FlaskClient, path: str) -> None:
    response = client.post(path, data={"csrf_token": csrf_token(client.get(path)), "username": "ann", "remember": "y"})

    assert response.status_code == 400
    assert re.search('<input checked [^>]*name="remember"', response.text)


def test_who_is_logged_in_need_not_log_in(client: FlaskClient) -> None:
    submit(client, "/register", "ann", GOOD)

    assert client.get("/login").location == "/chat/"
    assert client.get("/register?next=/chat/?y=2").location == "/chat/?y=2"


def test_a_stranger_is_sent_to_the_login_and_from_there_to_the_page(client: FlaskClient) -> None:
    response = client.get("/chat/", environ_overrides={"web.websocket": object()})

    assert (response.status_code, response.location) == (303, "/login?next=/chat/")


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "\n//evil.example",
        " //evil.example",
        "evil.example",
        "",
    ],
)
def test_no_address_of_another_site_is_gone_to(target: str) -> None:
    assert local_target(target) is None


@pytest.mark.parametrize("target", ["/", "/chat/?a=b c", "/chat/%5C", "/a//b", "/a:b@c"])
def test_an_address_of_this_site_is_gone_to(target: str) -> None:
    assert local_target(target) == target


# Sessions


def test_nothing_planted_in_the_session_survives_the_login(client: FlaskClient) -> None:
    with client.session_transaction() as planted:
        planted["sid"] = planted["_user_id"] = planted["note"] = "planted"

    submit(client, "/register", "ann", GOOD)

    with client.session_transaction() as renewed:
        assert "note" not in renewed
        assert len(renewed["_user_id"]) >= 22, "128 bits in base64"
        assert renewed["sid"] != "planted"


def test_each_login_has_an_id_of_its_own(client: FlaskClient) -> None:
    sids = set()
    submit(client, "/register", "ann", GOOD)
    for _ in range(2):
        sids.add(sid_of(client))
        log_out(client)
        submit(client, "/login", "ann", GOOD)

    assert len(sids) == 2


def test_logging_out_ends_the_session(client: FlaskClient) -> None:
    submit(client, "/register", "ann", GOOD)

    response = log_out(client)

    assert (response.status_code, response.location) == (303, "/login")
    assert not is_in(client)


def test_a_session_that_was_copied_ends_with_the_login(app: Flask, client: FlaskClient) -> None:
    submit(client, "/register", "ann", GOOD)
    copied = client.get_cookie("session")
    assert copied
    log_out(client)
    thief = app.test_client()

    thief.set_cookie("session", copied.value)

    assert not is_in(thief)


def test_nobody_is_logged_out_by_a_link(client: FlaskClient) -> None:
    submit(client, "/register", "ann", GOOD)

    assert client.get("/logout").status_code == 405
    assert client.post("/logout").status_code == 400, "without the form's token"
    assert is_in(client)


class NoAccounts:
    """Accounts that cannot be reached, in a way that the test chooses."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def register(self, username: str, password: str, address: str) -> NoReturn:
        raise self._failure

    verify = register


def bare_site(accounts: object) -> Flask:
    """The login alone, in an application that has nothing else."""
    app = Flask("web", static_folder=None)
    app.config.update(SECRET_KEY="test", WTF_CSRF_CHECK_DEFAULT=False, WTF_CSRF_ENABLED=False)
    CSRFProtect(app)
    LoginManager(app).user_loader(lambda id: None)
    app.register_blueprint(Blueprint("chat", "web", static_folder="static", url_prefix="/chat"))
    app.register_blueprint(make_login(accounts, None, home=lambda: "/"))  # type: ignore[arg-type]
    return app


@pytest.mark.parametrize(
    ("failure", "status", "wait"),
    [(TooManyLogins(), 503, "5"), (DatabaseUnavailable(), 503, "5"), (TooManyAttempts(retry_after=9.5), 429, "10")],
    ids=["hashes", "database", "attempts"],
)
@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_server_with_too_much_to_do_says_so_and_keeps_the_form(
    path: str, failure: ChatError, status: int, wait: str
) -> None:
    client = bare_site(NoAccounts(failure)).test_client()

    response = client.post(path, data={"username": "ann", "password": GOOD})

    assert (response.status_code, response.headers["Retry-After"]) == (status, wait)
    assert 'value="ann"' in response.text
    assert GOOD not in response.text
    [said] = alerts(response)
    assert (said == BUSY) == isinstance(failure, TooManyLogins)
    assert ("in 10 seconds" in said) == (status == 429)


def test_a_database_that_goes_away_keeps_the_form_of_somebody_who_was_logged_in(client: FlaskClient, app: Flask) -> None:
    submit(client, "/register", "ann", GOOD)
    token = csrf_token(client.get("/account"))
    app.extensions["chat"].database.close()

    response = client.post("/login", data={"csrf_token": token, "username": "ann", "password": GOOD})

    assert response.status_code == 503
    assert 'value="ann"' in response.text


@pytest.mark.parametrize(("proxies", "header"), [(0, "REMOTE_ADDR"), (1, "HTTP_X_FORWARDED_FOR")])
def test_an_address_that_guesses_waits_and_another_one_does_not(
    tmp_path: Path, clock: TurnedClock, proxies: int, header: str
) -> None:
    app = make_site(tmp_path, clock, CHAT_TRUSTED_PROXIES=proxies)
    client = app.test_client()
    token = csrf_token(client.get("/login"))

    def guess(number: int, address: str) -> int:
        fields = {"csrf_token": token, "username": f"user {number}", "password": "a guess"}
        return client.post("/login", data=fields, environ_overrides={header: address}).status_code

    assert {guess(number, f"2001:db8::{number}") for number in range(20)} == {401}
    slow = gevent.spawn(guess, 20, "2001:db8::20")
    gevent.idle()

    assert guess(21, "2001:db8:0:1::1") == 401
    assert not slow.ready()
    clock.advance(0.5)
    assert slow.get(timeout=5) == 401
    close_site(app)


# The application around the forms


def test_the_root_leads_to_the_page(client: FlaskClient) -> None:
    assert client.get("/").location == "/chat/"


def test_a_form_from_an_earlier_visit_is_explained(client: FlaskClient) -> None:
    response = client.post("/login", data={"csrf_token": "old", "username": "ann", "password": GOOD})

    assert response.status_code == 400
    assert "reload the page" in response.text


def test_more_than_a_form_can_hold_is_refused(client: FlaskClient) -> None:
    assert client.post("/login", data={"username": "x" * 70_000}).status_code == 413


@pytest.mark.parametrize("path", ["/login", "/register", "/nowhere", "/chat/"])
def test_every_html_page_keeps_foreign_code_and_frames_out(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(("proxies", "host"), [(0, "localhost"), (1, "chat.example")])
def test_forwarded_headers_are_believed_only_where_a_proxy_is_expected(tmp_path: Path, proxies: int, host: str) -> None:
    app = make_site(tmp_path, CHAT_TRUSTED_PROXIES=proxies)

    response = app.test_client().get("/login", headers={"X-Forwarded-Host": "chat.example", "X-Forwarded-Proto": "https"})

    close_site(app)
    assert f"wss://{host};" in response.headers["Content-Security-Policy"]


def test_a_session_outlives_a_restart(tmp_path: Path) -> None:
    first = make_site(tmp_path)
    client = first.test_client()
    submit(client, "/register", "ann", GOOD)
    cookie = client.get_cookie("session")
    assert cookie
    close_site(first)

    second = make_site(tmp_path)
    client = second.test_client()
    client.set_cookie("session", cookie.value)

    assert client.get("/login").location == "/chat/"
    close_site(second)


def test_a_session_of_an_account_that_is_gone_is_a_stranger_s(client: FlaskClient) -> None:
    with client.session_transaction() as forged:
        forged["_user_id"] = "17"

    assert client.get("/login").status_code == 200


def test_making_the_application_starts_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, threading\n"
        "from gevent._hub_local import get_hub_if_exists\n"
        "from web.app import create_app\n"
        "create_app({'CHAT_INSTANCE': sys.argv[1]})\n"
        "assert get_hub_if_exists() is None, 'a hub'\n"
        "assert threading.active_count() == 1, 'a thread'\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]
