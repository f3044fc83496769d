"""What the site says when it cannot do what it was asked for."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from chat.errors import DatabaseUnavailable, Forbidden, RateLimited
from tests.web.site import close_site, csrf_token, make_site, register
from web.app import ADVICE, FOREIGN_FORM

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON = {"Accept": "application/json"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = make_site(tmp_path)

    @app.get("/abort/<int:status>")
    def abort_with(status: int) -> str:
        abort(status)

    @app.get("/limited")
    def limited() -> str:
        raise RateLimited(retry_after=6.5)

    @app.get("/away")
    def away() -> str:
        raise DatabaseUnavailable

    @app.get("/forbidden")
    def forbidden() -> str:
        raise Forbidden

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("the secret of the house")

    @app.get("/busy/<int:seconds>")
    def busy(seconds: int) -> str:
        raise TooManyRequests(retry_after=seconds)

    @app.get("/until")
    def until() -> str:
        raise ServiceUnavailable(retry_after=datetime(2026, 1, 2, tzinfo=UTC))

    yield app
    close_site(app)


def links(page: str) -> list[str]:
    return [unescape(link) for link in re.findall(r'<a\b[^>]* href="([^"]+)"', page)]


@pytest.mark.parametrize(
    ("path", "status", "title", "wait", "actions"),
    [
        ("/abort/400", 400, "Bad Request", None, ["/chat/"]),
        ("/abort/401", 401, "Unauthorized", None, ["/login?next=/abort/401", "/chat/"]),
        ("/abort/401?x=1", 401, "Unauthorized", None, ["/login?next=/abort/401?x%3D1", "/chat/"]),
        ("/abort/403", 403, "Forbidden", None, ["/chat/"]),
        ("/forbidden", 403, "Forbidden", None, ["/chat/"]),
        ("/nowhere", 404, "Not Found", None, ["/chat/"]),
        ("/logout", 405, "Method Not Allowed", None, ["/chat/"]),
        ("/abort/413", 413, "Request Entity Too Large", None, ["/chat/"]),
        ("/abort/429", 429, "Too Many Requests", "a moment", ["/abort/429", "/chat/"]),
        ("/limited", 429, "Too Many Requests", "7 seconds", ["/limited", "/chat/"]),
        ("/busy/1", 429, "Too Many Requests", "1 second", ["/busy/1", "/chat/"]),
        ("/busy/600", 429, "Too Many Requests", "10 minutes", ["/busy/600", "/chat/"]),
        ("/broken", 500, "Internal Server Error", "a moment", ["/broken", "/chat/"]),
        ("/away", 503, "Service Unavailable", "1 second", ["/away", "/chat/"]),
        ("/until", 503, "Service Unavailable", "a moment", ["/until", "/chat/"]),
        ("/abort/418", 418, "I'm a teapot", None, ["/chat/"]),
    ],
)
def test_each_error_says_what_is_wrong_how_long_to_wait_and_where_to_go(
    client: FlaskClient, path: str, status: int, title: str, wait: str | None, actions: list[str]
) -> None:
    page = client.get(path, headers=HTML)
    data = client.get(path, headers=JSON)

    assert page.status_code == data.status_code == status
    assert page.mimetype == "text/html"
    assert title in unescape(page.text)
    assert links(page.text) == actions
    assert 'rel="stylesheet"' in page.text
    assert data.json
    assert data.json["error"].keys() == {"code", "message"}
    assert ADVICE.get(status, "") in data.json["error"]["message"]
    assert data.json["error"]["message"] in unescape(page.text)
    waits = re.findall(r"Try again in ([^.]+)\.", data.json["error"]["message"])
    assert waits == ([wait] if wait else [])
    assert "secret" not in page.text + data.text


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [("/logout", "Allow", "POST, OPTIONS"), ("/limited", "Retry-After", "7"), ("/busy/600", "Retry-After", "600")],
)
@pytest.mark.parametrize("headers", [HTML, JSON], ids=["html", "json"])
def test_an_error_keeps_the_headers_that_belong_to_it(
    client: FlaskClient, path: str, name: str, value: str, headers: dict[str, str]
) -> None:
    found = client.get(path, headers=headers).headers[name]

    assert sorted(found.split(", ")) == sorted(value.split(", "))


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/nowhere", {}, "text/html"),
        ("/nowhere", HTML, "text/html"),
        ("/nowhere", JSON, "application/json"),
        ("/chat/nowhere", {"Accept": "text/html"}, "application/json"),
    ],
)
def test_an_error_is_told_in_the_language_of_who_asks(
    client: FlaskClient, path: str, headers: dict[str, str], kind: str
) -> None:
    response = client.get(path, headers=headers)

    assert (response.status_code, response.mimetype) == (404, kind)


@pytest.mark.parametrize("headers", [{}, {"Referer": "https://elsewhere.example/"}])
def test_behind_tls_a_form_that_seems_to_come_from_elsewhere_is_explained(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    base = "https://chat.example"
    token = csrf_token(client.get("/login", base_url=base))

    response = client.post("/login", base_url=base, data={"csrf_token": token}, headers={**HTML, **headers})

    assert response.status_code == 400
    assert FOREIGN_FORM in unescape(response.text)


def test_a_form_that_is_too_long_is_refused_with_a_page(client: FlaskClient) -> None:
    response = client.post("/login", data={"username": "x" * 70_000}, headers=HTML)

    assert response.status_code == 413
    assert "Go back and send less" in response.text


def test_what_cannot_be_asked_for_again_is_not_offered_again(app: Flask, client: FlaskClient) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    app.add_url_rule("/post", "post", lambda: abort(503), methods=["POST"])

    response = client.post("/post", headers=HTML)

    assert response.status_code == 503
    assert links(response.text) == ["/chat/"]


def test_a_failure_is_told_to_somebody_who_is_logged_in_without_the_database_and_leaves_the_session_alone(
    app: Flask,
) -> None:
    client = register(app, "ann")
    app.extensions["chat"].database.close()

    response = client.get("/broken", headers=HTML)

    assert response.status_code == 500
    assert "written to the log" in response.text
    assert response.headers.getlist("Set-Cookie") == []


def test_a_database_that_is_away_is_told_with_when_to_come_back(app: Flask) -> None:
    client = register(app, "ann")
    app.extensions["chat"].database.close()

    response = client.get("/account", headers=HTML)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
