"""An application with users of its own, and chat for them: as its own developer would test it, and under gunicorn."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chat.closing import LOGGED_OUT
from tests.examples.clients import ask
from tests.live.servers import TOP, gunicorn
from web.testing import Refused, Site

FOREIGN = "http://evil.example"


@pytest.fixture
def app() -> Flask:
    from examples.embedded_app import app

    return app


@pytest.fixture
def stranger(chat_site: Site) -> FlaskClient:
    return chat_site.client()


@pytest.fixture
def ada(chat_site: Site) -> FlaskClient:
    return logged_in(chat_site, "ada", "lovelace")


@pytest.fixture
def bob(chat_site: Site) -> FlaskClient:
    return logged_in(chat_site, "bob", "babbage")


def logged_in(site: Site, name: str, password: str) -> FlaskClient:
    client = site.client()
    assert submit(client, "/login", name=name, password=password).status_code == 303
    return client


def submit(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Fill in the form of the host's page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/").text)
    assert found
    return client.post(path, data={"csrf_token": unescape(found[1]), **fields})


def test_a_stranger_sees_no_chat_and_gets_no_token(chat_site: Site, stranger: FlaskClient):
    assert stranger.get("/talk/").status_code == 401
    assert stranger.get("/talk/channels").status_code == 401
    with pytest.raises(Refused) as caught:
        chat_site.enter("lobby", stranger)
    assert caught.value.answer.status == 401


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("ada", ""), ("eve", "lovelace"), ("", "")])
def test_a_wrong_login_is_refused(stranger: FlaskClient, name: str, password: str):
    assert submit(stranger, "/login", name=name, password=password).status_code == 401
    assert stranger.get("/talk/").status_code == 401


def test_a_login_needs_the_form_of_this_site(stranger: FlaskClient):
    assert stranger.post("/login", data={"name": "ada", "password": "lovelace"}).status_code == 400
    assert stranger.get("/login?name=ada&password=lovelace").status_code == 405


def test_who_is_logged_in_with_the_host_is_known_to_the_chat(ada: FlaskClient):
    assert "You are ada" in ada.get("/").text
    page = ada.get("/talk/")
    assert page.status_code == 200
    assert '<bdi class="from">ada</bdi>' in page.text


def test_the_host_decides_who_may_create_channels(ada: FlaskClient, bob: FlaskClient):
    assert bob.post("/talk/channels", json={"name": "bob's"}).status_code == 403
    assert ada.post("/talk/channels", json={"name": "ada's"}).status_code == 201
    assert bob.get("/talk/channels").json == {"channels": [{"name": "ada's", "count": 0, "unread": 0, "mentions": 0}]}


def test_users_of_the_host_talk_under_their_names(chat_site: Site, ada: FlaskClient, bob: FlaskClient):
    ada.post("/talk/channels", json={"name": "lobby"})
    first, second = chat_site.enter("lobby", ada), chat_site.enter_plain("lobby", bob)

    first.publish("hello")

    assert [second.line(), second.line()] == ["bob entered lobby!", "ada: hello"]
    assert first.hear("message")["from"] == "ada"


def test_sockets_end_with_the_login(chat_site: Site, ada: FlaskClient):
    ada.post("/talk/channels", json={"name": "lobby"})
    talker = chat_site.enter("lobby", ada)

    assert submit(ada, "/logout").status_code == 303

    assert talker.closing() == LOGGED_OUT
    assert ada.get("/talk/").status_code == 401


def test_a_foreign_page_gets_no_token(ada: FlaskClient):
    assert ada.post("/talk/token", json={"channel": "lobby"}, headers={"Origin": FOREIGN}).status_code == 403


def test_it_is_served_by_the_command_of_its_docstring(tmp_path: Path):
    arguments = ["-k", "web.websocket.worker.ChatWorker", "--chdir", "examples"]
    with gunicorn(tmp_path, *arguments, app="embedded_app:app") as (server, url):
        port = int(url.rpartition(":")[2])
        assert "Log in" in ask(port, "GET", "/").text
        assert ask(port, "GET", "/talk/").status == 401
        assert "Traceback" not in server.log, server.log


def test_importing_it_starts_nothing(tmp_path: Path):
    program = (
        "import threading, examples.embedded_app\n"
        "from gevent._hub_local import get_hub_if_exists\n"
        "assert get_hub_if_exists() is None\n"
        "assert threading.active_count() == 1\n"
    )
    instance = tmp_path / "instance"

    subprocess.run([sys.executable, "-c", program], cwd=TOP, env={"CHAT_INSTANCE": str(instance)}, timeout=20, check=True)

    assert not instance.exists()
