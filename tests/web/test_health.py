"""Whether the process lives, and whether it should be sent new users."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.web.conftest import Dial, MakeHost, Serve
from tests.web.fakes import HANDSHAKE
from web.app import create_app
from web.routes.health import make_health


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Flask]:
    app = create_app({"CHAT_INSTANCE": tmp_path, "CHAT_DATABASE_URL": "sqlite://"})
    yield app
    app.extensions["chat"].drain()
    app.extensions["accounts"].close()


@pytest.fixture
def client(site: Flask) -> FlaskClient:
    return site.test_client()


def test_a_process_that_answers_lives(client: FlaskClient) -> None:
    response = client.get("/healthz")

    assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_a_process_that_serves_is_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")

    assert (response.status_code, response.json) == (200, {"status": "ready", "connections": 0})


def test_it_tells_how_many_connections_it_has(make_host: MakeHost, serve: Serve, dial: Dial) -> None:
    app = make_host()
    chat = app.extensions["chat"]
    app.register_blueprint(make_health(chat))
    chat.server.create_channel("lobby")
    caller = dial(serve(app))
    caller.request(f"/chat/ws?token={chat.server.request_token('ann', 'lobby')}", HANDSHAKE)
    assert caller.answer().status == 101
    assert caller.line() == "ann entered lobby!"

    assert app.test_client().get("/readyz").json == {"status": "ready", "connections": 1}


def test_a_process_that_sees_everybody_off_lives_but_is_not_ready(site: Flask, client: FlaskClient) -> None:
    site.extensions["chat"].gate.hush()

    response = client.get("/readyz")

    assert (response.status_code, response.json) == (503, {"status": "draining"})
    assert client.get("/healthz").status_code == 200


def test_a_process_that_is_about_to_end_is_not_ready_and_lets_people_in_all_the_same(
    site: Flask, client: FlaskClient
) -> None:
    assert client.get("/readyz").status_code == 200
    site.extensions["chat"].retire()

    response = client.get("/readyz")

    assert (response.status_code, response.json) == (503, {"status": "draining"})
    assert not site.extensions["chat"].gate.draining


def test_a_process_that_has_seen_everybody_off_is_not_ready_again(site: Flask, client: FlaskClient) -> None:
    client.get("/readyz")

    site.extensions["chat"].drain()

    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_a_process_without_its_database_lives_but_is_not_ready(site: Flask, client: FlaskClient) -> None:
    site.extensions["chat"].database.run(lambda session: session.execute(text("DROP TABLE chat_channels")) and None)

    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
