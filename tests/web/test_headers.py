"""The headers that every answer carries, whatever it is of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response, after_this_request
from flask.testing import FlaskClient

from tests.web.conftest import MakeHost
from tests.web.site import close_site, make_site, register

# Pages, redirects, static files, JSON, and errors of each of them.
ANSWERS = [
    ("GET", "/login"),
    ("GET", "/account"),
    ("GET", "/"),
    ("GET", "/chat/"),
    ("GET", "/chat/static/page.js"),
    ("GET", "/chat/static/icon.svg"),
    ("GET", "/chat/static/nothing"),
    ("GET", "/chat/channels"),
    ("POST", "/chat/token"),
    ("GET", "/chat/ws"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("POST", "/logout"),
    ("OPTIONS", "/login"),
    ("GET", "/nowhere"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    app = make_site(tmp_path_factory.mktemp("site"))
    yield app
    close_site(app)


@pytest.fixture(scope="module")
def ann(site: Flask) -> FlaskClient:
    return register(site, "ann")


@pytest.mark.parametrize(("method", "path"), ANSWERS)
def test_no_answer_can_be_framed_sniffed_embedded_or_made_to_run_foreign_code(
    ann: FlaskClient, method: str, path: str
) -> None:
    headers = ann.open(path, method=method, buffered=True).headers

    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(("method", "path"), ANSWERS)
def test_over_tls_browsers_are_told_to_come_by_nothing_else_and_over_plain_http_not(
    ann: FlaskClient, method: str, path: str
) -> None:
    over_tls = ann.open(path, method=method, base_url="https://chat.example", buffered=True).headers

    assert over_tls["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in ann.open(path, method=method, buffered=True).headers


def test_an_operator_may_leave_that_to_the_proxy(tmp_path: Path) -> None:
    app = make_site(tmp_path, CHAT_HSTS=0)

    headers = app.test_client().get("/login", base_url="https://chat.example").headers

    close_site(app)
    assert "Strict-Transport-Security" not in headers


def test_over_tls_a_page_shares_no_window_with_another_site(ann: FlaskClient) -> None:
    headers = ann.get("/account", base_url="https://chat.example").headers

    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/login", "/account", "/chat/", "/nowhere"])
def test_no_page_is_kept_for_the_back_button_of_the_next_user(ann: FlaskClient, path: str) -> None:
    page = ann.get(path, environ_overrides={"web.websocket": object()}, follow_redirects=True)

    assert (page.mimetype, page.headers["Cache-Control"]) == ("text/html", "no-store")


def test_in_somebody_s_application_they_are_on_the_chat_s_own_answers_alone(make_host: MakeHost) -> None:
    app = make_host()
    app.add_url_rule("/own", "own", lambda: "<p>own</p>")
    client = app.test_client()

    ours, own = client.get("/chat/channels", headers={"X-User": "ann"}).headers, client.get("/own").headers

    assert ours["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in ours["Content-Security-Policy"]
    assert {"X-Content-Type-Options", "Content-Security-Policy", "Strict-Transport-Security"}.isdisjoint(own.keys())


def test_what_the_application_sets_itself_stays(make_host: MakeHost) -> None:
    app = make_host()

    @app.before_request
    def share() -> None:
        @after_this_request
        def mark(response: Response) -> Response:
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            return response

    icon = app.test_client().get("/chat/static/icon.svg")

    assert icon.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    icon.close()
