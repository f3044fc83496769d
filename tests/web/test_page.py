"""The browser page: what is handed to it, where it works, and that nothing in it runs but its own files."""

import re
from posixpath import dirname, join
from urllib.parse import urljoin

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from web.routes.page import add_page
from web.settings import load

SOCKETS = {"web.websocket": object()}  # what our own server puts into every request's environ


class Hosted:
    """As much of a chat as the page asks for."""

    def __init__(self, username: str | None, display_name: str | None = None) -> None:
        self._username = username
        self._display_name = display_name
        self.settings = load({"CHAT_MAX_MESSAGE": 1234}, {}, "instance")

    def identify(self) -> str | None:
        return self._username

    def display_name(self) -> str | None:
        return self._display_name


def host(username: str | None = "ann", prefix: str = "/chat", display_name: str | None = None) -> Flask:
    """Somebody's application: no login of ours, no Flask-WTF, and not even a secret key."""
    app = Flask("web", static_folder=None)
    blueprint = Blueprint("chat", "web", template_folder="templates", static_folder="static", static_url_path="/static")
    add_page(blueprint, Hosted(username, display_name))  # type: ignore[arg-type]
    app.register_blueprint(blueprint, url_prefix=prefix)
    return app


@pytest.fixture
def client() -> FlaskClient:
    return host().test_client()


def data(html: str) -> dict[str, str]:
    return dict(re.findall(r'data-([a-z-]+)="([^"]*)"', html))


@pytest.mark.parametrize("prefix", ["/chat", "/a/b"])
def test_the_page_knows_its_addresses_under_any_prefix(prefix: str) -> None:
    page = host(prefix=prefix).test_client().get(f"{prefix}/", environ_overrides=SOCKETS)

    assert page.status_code == 200
    assert data(page.text) == {
        "ws": f"{prefix}/ws",
        "channels": f"{prefix}/channels",
        "token": f"{prefix}/token",
        "login": "",
        "username": "ann",
        "display-name": "",
        "message-limit": "1234",
    }


def test_an_application_below_a_path_of_its_server_is_no_different(client: FlaskClient) -> None:
    page = client.get("/chat/", base_url="https://example.org/below", environ_overrides=SOCKETS)

    assert data(page.text)["ws"] == "/below/chat/ws"


def test_a_host_without_our_login_has_no_form_to_log_out_and_no_account(client: FlaskClient) -> None:
    page = client.get("/chat/", environ_overrides=SOCKETS)

    assert "Log out" not in page.text
    assert "Account" not in page.text


def test_the_page_knows_what_its_user_is_called() -> None:
    page = host(display_name="Ann <Example>").test_client().get("/chat/", environ_overrides=SOCKETS)

    assert data(page.text)["display-name"] == "Ann &lt;Example&gt;"
    assert '<bdi class="from">Ann &lt;Example&gt;</bdi> <bdi class="handle">ann</bdi>' in page.text


def test_a_host_without_our_login_answers_a_stranger_with_401() -> None:
    page = host(None).test_client().get("/chat/", environ_overrides=SOCKETS)

    assert page.status_code == 401
    assert "Log in first" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_a_server_without_websockets_says_what_to_run_instead(client: FlaskClient) -> None:
    page = client.get("/chat/")

    assert page.status_code == 503
    assert "<code>gunicorn -k web.websocket.worker.ChatWorker yourmodule:app</code>" in page.text


def test_a_name_is_text_wherever_it_stands() -> None:
    page = host('"><script>alert(1)</script>').test_client().get("/chat/", environ_overrides=SOCKETS)

    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


def test_no_code_and_no_style_is_written_into_the_page(client: FlaskClient) -> None:
    page = client.get("/chat/", environ_overrides=SOCKETS).text

    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", page) == []


def test_everything_that_the_page_loads_is_there(client: FlaskClient) -> None:
    page = client.get("/chat/", environ_overrides=SOCKETS).text
    paths = re.findall(r'(?:src|<link [^>]*href)="([^"]+)"', page)
    seen: dict[str, str] = {}
    while paths:
        path = paths.pop()
        if path in seen:
            continue
        response = client.get(path)
        assert response.status_code == 200, path
        seen[path] = response.mimetype or ""
        if path.endswith(".js"):
            paths += [urljoin(path, name) for name in re.findall(r'^import [^"]+"([^"]+)";', response.text, re.M)]
        response.close()

    scripts = {path for path in seen if path.endswith(".js")}
    assert {join(dirname(path), "room.js") for path in scripts} <= scripts
    assert scripts == set(re.findall(r'"([^"]+\.js)"', page)), "all are named in the page, so that none waits for another"
    # With `nosniff` a browser runs no module of another type.
    assert {seen[path] for path in scripts} <= {"text/javascript", "application/javascript"}


def test_the_policy_lets_the_page_s_own_socket_through(client: FlaskClient) -> None:
    page = client.get("/chat/", base_url="http://example.org:8443", environ_overrides=SOCKETS)

    policy = page.headers["Content-Security-Policy"]
    assert "connect-src 'self' ws://example.org:8443 wss://example.org:8443;" in policy


def test_where_the_page_came_over_tls_its_sockets_must_too(client: FlaskClient) -> None:
    page = client.get("/chat/", base_url="https://example.org:8443", environ_overrides=SOCKETS)

    policy = page.headers["Content-Security-Policy"]
    assert "connect-src 'self' wss://example.org:8443;" in policy


@pytest.mark.parametrize("name", ["a;script-src *", "a b", "a, default-src *", "[::1]x", "a:b"])
def test_a_host_that_is_no_host_is_not_quoted_in_the_policy(client: FlaskClient, name: str) -> None:
    page = client.get("/chat/", environ_overrides={**SOCKETS, "HTTP_HOST": name})

    if page.status_code == 200:
        assert "connect-src 'self'; form-action" in page.headers["Content-Security-Policy"]
