"""An application with users of its own, and chat for them: under gunicorn, by the command of its docstring."""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from html import unescape
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.clients import PATIENCE, Answer, WebSocketTalker, said
from tests.live.servers import TOP, gunicorn

FOREIGN = "http://evil.example"


class Visitor:
    """A browser, as far as the server can tell."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: SimpleCookie = SimpleCookie()

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self._cookies.items())
            sent = {"Cookie": cookies, **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            for cookie in response.headers.get_all("Set-Cookie", []):
                self._cookies.load(cookie)
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def submit(self, path: str, **fields: str) -> Answer:
        """Fill in the form of the host's page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.ask("GET", "/").text)
        assert found
        return self.post_form(path, csrf_token=unescape(found[1]), **fields)

    def post_form(self, path: str, **fields: str) -> Answer:
        return self.ask("POST", path, urlencode(fields), Content_Type="application/x-www-form-urlencoded")

    def log_in(self, name: str, password: str) -> "Visitor":
        assert self.submit("/login", name=name, password=password).status == 303
        return self

    def post(self, path: str, **body: str) -> Answer:
        return self.ask("POST", path, json.dumps(body), Content_Type="application/json")

    def enter(self, channel: str) -> WebSocketTalker:
        answer = self.post("/talk/token", channel=channel)
        assert answer.status == 200, answer.text
        token = json.loads(answer.text)["token"]
        return WebSocketTalker(f"ws://127.0.0.1:{self._port}/talk/ws", Authorization=f"Bearer {token}")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    arguments = ["-k", "web.websocket.worker.ChatWorker", "--chdir", "examples"]
    with gunicorn(tmp_path_factory.mktemp("chat"), *arguments, app="embedded_app:app") as (server, url):
        yield int(url.rpartition(":")[2])
        assert "Traceback" not in server.log, server.log


@pytest.fixture
def ada(port: int) -> Visitor:
    return Visitor(port).log_in("ada", "lovelace")


@pytest.fixture
def bob(port: int) -> Visitor:
    return Visitor(port).log_in("bob", "babbage")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_stranger_sees_no_chat_and_gets_no_token(port: int):
    stranger = Visitor(port)

    assert stranger.ask("GET", "/talk/").status == 401
    assert stranger.ask("GET", "/talk/channels").status == 401
    assert stranger.post("/talk/token", channel="lobby").status == 401


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("ada", ""), ("eve", "lovelace"), ("", "")])
def test_a_wrong_login_is_refused(port: int, name: str, password: str):
    visitor = Visitor(port)

    assert visitor.submit("/login", name=name, password=password).status == 401
    assert visitor.ask("GET", "/talk/").status == 401


def test_a_login_needs_the_form_of_this_site(port: int):
    visitor = Visitor(port)

    assert visitor.post_form("/login", name="ada", password="lovelace").status == 400
    assert visitor.ask("GET", "/login?name=ada&password=lovelace").status == 405


def test_who_is_logged_in_with_the_host_is_known_to_the_chat(ada: Visitor):
    assert "You are ada" in ada.ask("GET", "/").text
    page = ada.ask("GET", "/talk/")
    assert page.status == 200
    assert '<bdi class="from">ada</bdi>' in page.text


def test_the_host_decides_who_may_create_channels(ada: Visitor, bob: Visitor):
    assert bob.post("/talk/channels", name="bob's").status == 403
    assert ada.post("/talk/channels", name="ada's").status == 201
    assert {"name": "ada's", "count": 0} in json.loads(bob.ask("GET", "/talk/channels").text)["channels"]


def test_users_of_the_host_talk_under_their_names(ada: Visitor, bob: Visitor, stack: ExitStack):
    ada.post("/talk/channels", name="lobby")
    first = stack.enter_context(closing(ada.enter("lobby")))
    second = stack.enter_context(closing(bob.enter("lobby")))
    first.wait_for("bob entered lobby!")
    second.wait_for("bob entered lobby!")

    second.say("hello")

    assert said(first.hear()) == said(second.hear()) == "bob: hello"


def test_sockets_end_with_the_login(ada: Visitor, stack: ExitStack):
    ada.post("/talk/channels", name="exit")
    talker = stack.enter_context(closing(ada.enter("exit")))

    assert ada.submit("/logout").status == 303

    talker.is_hung_up_on()
    assert talker.socket.close_code == 4501
    assert ada.ask("GET", "/talk/").status == 401


def test_a_foreign_page_gets_no_token(ada: Visitor):
    answer = ada.ask("POST", "/talk/token", '{"channel": "lobby"}', Content_Type="application/json", Origin=FOREIGN)

    assert answer.status == 403


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
