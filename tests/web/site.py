"""The standalone site in a test, and its forms as somebody fills them in."""

import re
from html import unescape
from pathlib import Path

import gevent
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chat.clock import Clock
from chat.database import Database
from tests.web.conftest import Dial
from tests.web.fakes import HANDSHAKE, Caller
from web.app import create_app

GOOD = "correct horse"  # a password


def make_site(folder: Path, clock: Clock | None = None, **config: object) -> Flask:
    return create_app({"CHAT_INSTANCE": folder, **config}, clock=clock)


def close_site(app: Flask) -> None:
    app.extensions["chat"].drain()
    app.extensions["accounts"].close()


def csrf_token(response: TestResponse) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', response.text)
    assert found, response.text
    return found[1]


def submit(client: FlaskClient, path: str, username: str, password: str, **more: object) -> TestResponse:
    """Log in, or register."""
    token = csrf_token(client.get(path))
    return client.post(path, data={"csrf_token": token, "username": username, "password": password}, **more)


def register(app: Flask, username: str, *, remember: bool = False) -> FlaskClient:
    """A browser in which somebody has registered."""
    return _enter(app, "/register", username, remember)


def log_in(app: Flask, username: str, *, remember: bool = False) -> FlaskClient:
    """A browser in which somebody has logged in."""
    return _enter(app, "/login", username, remember)


def _enter(app: Flask, path: str, username: str, remember: bool) -> FlaskClient:
    client = app.test_client()
    fields = {"csrf_token": csrf_token(client.get(path)), "username": username, "password": GOOD}
    response = client.post(path, data={**fields, **({"remember": "y"} if remember else {})})
    assert response.status_code == 303, response.text
    return client


def log_out(client: FlaskClient) -> TestResponse:
    return client.post("/logout", data={"csrf_token": csrf_token(client.get("/account"))})


def is_in(client: FlaskClient) -> bool:
    """Whether somebody is logged in there."""
    return client.get("/chat/channels").status_code == 200


def sid_of(client: FlaskClient) -> str:
    with client.session_transaction() as session:
        sid = session["sid"]
        assert isinstance(sid, str)
        return sid


def enter(client: FlaskClient, port: int, dial: Dial) -> Caller:
    """Join the lobby over a socket."""
    token = client.post("/chat/token", json={"channel": "lobby"})
    assert token.status_code == 200, token.text
    assert token.json
    caller = dial(port)
    caller.request(f"/chat/ws?token={token.json['token']}", HANDSHAKE)
    assert caller.answer().status == 101
    return caller


def alerts(response: TestResponse) -> list[str]:
    return _said(response, "alert")


def told(response: TestResponse) -> list[str]:
    return _said(response, "status")


def _said(response: TestResponse, role: str) -> list[str]:
    return [unescape(text) for text in re.findall(rf'role="{role}"[^>]*>([^<]+)<', response.text)]


def settle(database: Database) -> None:
    """Let a greenlet that was just started finish one piece of work in the database, which takes them in order."""
    gevent.idle()
    database.run(lambda session: None)
    gevent.idle()
