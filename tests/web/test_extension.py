"""The extension: nothing happens before a process serves, and what the application says is asked and kept."""

import gc
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from flask import Flask, current_app, session
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, login_user
from flask_wtf.csrf import CSRFProtect
from werkzeug.test import TestResponse

from chat.errors import ServerClosed
from chat.member import ACTIONS, EVERYBODY
from tests.web.conftest import MakeHost
from tests.web.routes import ANN
from web import Chat
from web.extension import Chat as ChatItself
from web.settings import SettingError
from web.websocket import serving


def chat_of(app: Flask) -> Chat:
    chat = app.extensions["chat"]
    assert isinstance(chat, Chat)
    return chat


# Making it


def run(script: str, folder: Path) -> str:
    """Run `script` in a process of its own, whose working directory is `folder`."""
    root = str(Path(__file__).parent.parent.parent)
    start = f"import sys; sys.path.insert(0, {root!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(script)], cwd=folder, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_making_it_does_no_io_also_when_there_are_two(tmp_path: Path) -> None:
    out = run(
        """
        import os, threading
        import gevent._hub_local
        from flask import Flask
        from web import Chat

        def seen():
            return gevent._hub_local.get_hub_if_exists(), sorted(os.listdir("/proc/self/fd")), threading.active_count()

        before = seen()
        for name in "ab":
            Chat(Flask(name, instance_path=os.path.abspath(name)), identify=lambda: "ann", authorize=lambda *what: True)
        print(before == seen(), before[0], os.listdir("."))
        """,
        tmp_path,
    )

    assert out == "True None []\n"


def test_a_chat_that_was_used_before_a_fork_says_so_in_the_worker(tmp_path: Path) -> None:
    out = run(
        """
        import os
        from flask import Flask
        from web import Chat

        chat = Chat(Flask("host", instance_path=os.getcwd()), identify=lambda: "ann")
        chat.server.create_channel("lobby")
        import warnings
        warnings.simplefilter("ignore")  # Python 3.12 and later warn of the thread, which is what this is about
        child = os.fork()
        if not child:
            for use in (lambda: chat.server, lambda: chat.gate, lambda: chat.database, chat.start):
                try:
                    use()
                    print("nothing is said", flush=True)
                except RuntimeError as exc:
                    print(exc, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        chat.drain()
        """,
        tmp_path,
    )

    assert out == 4 * (
        "the chat was used before gunicorn forked its worker, where sockets and threads do not survive; "
        "use Chat.server from post_worker_init on, or in requests\n"
    )


def test_it_is_what_the_package_hands_out() -> None:
    assert Chat is ChatItself


def test_init_app_is_another_way_to_say_the_same(tmp_path: Path) -> None:
    app = Flask("host", instance_path=str(tmp_path))
    app.config["CHAT_DATABASE_URL"] = "sqlite://"
    chat = Chat()

    chat.init_app(app, url_prefix="/talk", identify=lambda: "ann")

    assert app.extensions["chat"] is chat
    assert app.test_client().get("/talk/channels").json == {"channels": []}
    chat.drain()


def test_the_server_starts_at_the_first_use_and_is_one_and_the_same(make_host: MakeHost, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.sqlite"
    chat = chat_of(make_host(DATABASE_URL=url))
    assert not (tmp_path / "chat.sqlite").exists()

    server = chat.server

    assert (tmp_path / "chat.sqlite").exists()
    assert chat.server is server


def test_the_server_has_the_settings_of_the_application(make_host: MakeHost) -> None:
    controller = object()
    chat = chat_of(make_host(MAX_MESSAGE=7, controller=controller))

    assert (chat.server.conf.max_message, chat.server.conf.controller) == (7, controller)


def test_a_wrong_setting_is_told_when_it_is_made() -> None:
    app = Flask("host")
    app.config["CHAT_PING_INTERVAL"] = "often"

    with pytest.raises(SettingError, match=r"^CHAT_PING_INTERVAL: "):
        Chat(app)


@pytest.mark.parametrize("url", ["not a url", "nosuch://db/chat", "sqlite:////dev/null/chat.sqlite"])
def test_a_database_that_cannot_be_used_is_told_when_it_starts(make_host: MakeHost, url: str) -> None:
    chat = chat_of(make_host(DATABASE_URL=url))

    with pytest.raises(SettingError, match=r"^CHAT_DATABASE_URL: this database cannot be used: "):
        chat.start()


def test_a_database_that_cannot_keep_messages_is_refused_saying_what_to_set(make_host: MakeHost) -> None:
    chat = chat_of(make_host(DATABASE_URL="mysql://ann:hunter2@db/chat"))

    with pytest.raises(SettingError, match=r"^CHAT_DATABASE_URL: .* SQLite or PostgreSQL; CHAT_ARCHIVE=off does without$"):
        chat.start()


def test_a_password_in_the_address_of_a_database_is_not_told(make_host: MakeHost) -> None:
    chat = chat_of(make_host(DATABASE_URL="nosuch://ann:hunter2@db/chat"))

    with pytest.raises(SettingError) as caught:
        chat.start()

    assert "hunter2" not in str(caught.value)


def test_it_is_a_service_of_its_process(make_host: MakeHost, tmp_path: Path) -> None:
    chat = chat_of(make_host(INSTANCE=tmp_path, DRAIN_TIMEOUT=3, DRAIN_DELAY=9))

    assert chat in list(serving.services())
    assert (chat.instance, chat.drain_delay, chat.drain_timeout) == (tmp_path, 9.0, 3.0)
    assert not chat.is_shared


# Two of them


def test_it_lies_under_any_prefix(make_host: MakeHost) -> None:
    client = make_host(url_prefix="/a/b").test_client()

    assert client.get("/a/b/channels", headers=ANN).json == {"channels": []}
    assert client.get("/chat/channels", headers=ANN).status_code == 404


def test_two_applications_have_two_chats(make_host: MakeHost) -> None:
    one, other = make_host(url_prefix="/one").test_client(), make_host(url_prefix="/other").test_client()

    one.post("/one/channels", json={"name": "lobby"}, headers=ANN)

    assert one.get("/one/channels", headers=ANN).json == {
        "channels": [{"name": "lobby", "count": 0, "unread": 0, "mentions": 0}]
    }
    assert other.get("/other/channels", headers=ANN).json == {"channels": []}


# Who asks


class Person(UserMixin):  # type: ignore[misc]
    def __init__(self, id: str) -> None:
        self.id = id


class NamedPerson(Person):
    username = "ann"


def with_login(person: Person) -> Callable[[Flask], None]:
    def prepare(app: Flask) -> None:
        manager = LoginManager(app)
        manager.user_loader(lambda id: person)
        app.add_url_rule("/login", "login", lambda: str(login_user(person)))

    return prepare


def asker(app: Flask, headers: dict[str, str] | None = None) -> str | None:
    with app.test_request_context(headers=headers):
        return chat_of(app).identify()


@pytest.mark.parametrize(("person", "name"), [(NamedPerson("7"), "ann"), (Person("bob"), "bob")])
def test_without_identify_flask_login_tells_who_asks(make_host: MakeHost, person: Person, name: str) -> None:
    app = make_host(with_login(person), identify=None)
    client = app.test_client()

    assert client.get("/chat/channels").status_code == 401
    client.get("/login")

    assert client.post("/chat/channels", json={"name": "lobby"}).status_code == 201
    token = client.post("/chat/token", json={"channel": "lobby"}).json
    assert token is not None
    assert token["username"] == name


def test_without_identify_and_without_flask_login_it_is_told_what_is_missing(make_host: MakeHost) -> None:
    with pytest.raises(RuntimeError, match="identify"):
        asker(make_host(identify=None))


def test_names_are_normalised(make_host: MakeHost) -> None:
    assert asker(make_host(identify=lambda: "Zoe\u0308")) == "Zo\u00eb"


def test_nobody_is_nobody(make_host: MakeHost, caplog: pytest.LogCaptureFixture) -> None:
    assert asker(make_host(identify=lambda: None)) is None
    assert caplog.records == []


@pytest.mark.parametrize("name", ["", " ann", "a\nb", "x" * 65, "\u202eann", 7, b"ann"])
def test_a_name_that_nobody_can_have_is_logged_and_counts_as_nobody(
    make_host: MakeHost, caplog: pytest.LogCaptureFixture, name: object
) -> None:
    assert asker(make_host(identify=lambda: name)) is None

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "identify()" in caplog.text


def display_name(app: Flask) -> str | None:
    with app.test_request_context():
        return chat_of(app).display_name()


class CalledPerson(NamedPerson):
    display_name = "Ann Example"


def test_without_identify_flask_login_tells_the_display_name_too(make_host: MakeHost) -> None:
    for person, data in ((CalledPerson("7"), {"name": "Ann Example"}), (NamedPerson("7"), None)):
        app = make_host(with_login(person), identify=None)
        chat_of(app).server.create_channel("lobby")
        client = app.test_client()
        client.get("/login")

        token = client.post("/chat/token", json={"channel": "lobby"}).json

        assert token is not None
        assert chat_of(app).server.redeem(token["token"]).data == data


def test_who_identifies_users_without_flask_login_has_no_display_names_unasked(make_host: MakeHost) -> None:
    app = make_host(with_login(CalledPerson("7")))
    with app.test_request_context():
        login_user(CalledPerson("7"))

        assert chat_of(app).display_name() is None


def test_flask_login_can_still_identify_where_the_application_tells_display_names(make_host: MakeHost) -> None:
    app = make_host(with_login(CalledPerson("7")), identify=None, display_name=lambda: "Dr. Ann")
    with app.test_request_context():
        login_user(CalledPerson("7"))

        assert (chat_of(app).identify(), chat_of(app).display_name()) == ("ann", "Dr. Ann")


def test_display_names_are_normalised(make_host: MakeHost) -> None:
    assert display_name(make_host(display_name=lambda: "Zoe\u0308 & Co")) == "Zo\u00eb & Co"


@pytest.mark.parametrize("none", [None, ""])
def test_there_need_not_be_a_display_name(make_host: MakeHost, caplog: pytest.LogCaptureFixture, none: str | None) -> None:
    assert display_name(make_host(display_name=lambda: none)) is None
    assert caplog.records == []


@pytest.mark.parametrize("name", [" Ann", "A\nnn", "x" * 65, "\u202eAnn", 7, 0, b"Ann"])
def test_a_display_name_that_nobody_can_have_is_logged_and_left_out(
    make_host: MakeHost, caplog: pytest.LogCaptureFixture, name: object
) -> None:
    assert display_name(make_host(display_name=lambda: name)) is None

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "display_name()" in caplog.text


def test_the_login_is_what_the_application_keeps_as_sid(make_host: MakeHost) -> None:
    app = make_host()
    with app.test_request_context():
        assert chat_of(app).session() is None
        session["sid"] = 7
        assert chat_of(app).session() is None
        session["sid"] = "x"
        assert chat_of(app).session() == "x"


# What they may do


def test_by_default_everybody_may_do_everything_but_moderate(make_host: MakeHost) -> None:
    chat = chat_of(make_host())

    assert chat.rights("ann", "lobby") == EVERYBODY
    assert [action for action in sorted(ACTIONS) if not chat.may("ann", "lobby", action)] == ["moderate"]


def test_authorize_is_asked_in_an_application_context_about_each_action(make_host: MakeHost) -> None:
    asked = []

    def authorize(username: str, channel: str, action: str) -> bool:
        asked.append((current_app.name, username, channel, action))
        return action in ("join", "publish")

    chat = chat_of(make_host(authorize=authorize))

    assert chat.rights("ann", "lobby") == {"join", "publish"}
    assert sorted(asked) == [("host", "ann", "lobby", action) for action in sorted(ACTIONS)]


def test_any_answer_of_authorize_counts_as_yes_or_no(make_host: MakeHost) -> None:
    chat = chat_of(make_host(authorize=lambda username, channel, action: action if action == "join" else None))

    assert chat.may("ann", "lobby", "join") is True
    assert chat.may("ann", "lobby", "publish") is False


@pytest.mark.parametrize(
    ("action", "ask"),
    [
        ("create", lambda client: client.post("/chat/channels", json={"name": "lobby"}, headers=ANN)),
        ("join", lambda client: client.post("/chat/token", json={"channel": "lobby"}, headers=ANN)),
    ],
)
def test_what_authorize_forbids_is_refused(
    make_host: MakeHost, action: str, ask: Callable[[FlaskClient], TestResponse]
) -> None:
    app = make_host(authorize=lambda username, channel, asked: asked != action)
    chat_of(app).server.create_channel("somewhere else")

    answer = ask(app.test_client())

    assert (answer.status_code, answer.json) == (
        403,
        {"error": {"code": "forbidden", "message": "you are not allowed to do this here"}},
    )


def test_authorize_chooses_which_channels_are_listed(make_host: MakeHost) -> None:
    app = make_host(authorize=lambda username, channel, action: channel == f"for {username}")
    for name in ("for ann", "for bob"):
        chat_of(app).server.create_channel(name)

    assert app.test_client().get("/chat/channels", headers=ANN).json == {
        "channels": [{"name": "for ann", "count": 0, "unread": 0, "mentions": 0}]
    }


@pytest.mark.parametrize(("authorize", "contexts", "rights"), [(None, 0, EVERYBODY), (lambda *what: True, 2, ACTIONS)])
def test_a_list_of_channels_and_a_users_rights_are_decided_in_one_application_context_each_if_any(
    make_host: MakeHost, authorize: Callable[..., bool] | None, contexts: int, rights: frozenset[str]
) -> None:
    ended = []

    def prepare(app: Flask) -> None:
        app.teardown_appcontext(lambda _: ended.append(app))  # where extensions give their database sessions back

    chat = chat_of(make_host(prepare, authorize=authorize))

    assert chat.visible("ann", ["attic", "lobby"]) == ["attic", "lobby"]
    assert chat.rights("ann", "lobby") == rights
    assert len(ended) == contexts


# Beside the host's own protection against forged requests


def protected(app: Flask) -> None:
    CSRFProtect(app)
    app.add_url_rule("/form", "form", lambda: "done", methods=["POST"])


def test_the_hosts_protection_lets_the_json_routes_pass_and_protects_its_own(make_host: MakeHost) -> None:
    client = make_host(protected).test_client()

    assert client.post("/chat/channels", json={"name": "lobby"}, headers=ANN).status_code == 201
    assert client.post("/chat/token", json={"channel": "lobby"}, headers=ANN).status_code == 200
    assert client.post("/form").status_code == 400


def test_a_protection_that_comes_later_lets_them_pass_once_the_process_serves(make_host: MakeHost) -> None:
    app = make_host()
    protected(app)
    chat_of(app).start()

    client = app.test_client()

    assert client.post("/chat/channels", json={"name": "lobby"}, headers=ANN).status_code == 201
    assert client.post("/form").status_code == 400


# The end


def test_draining_what_never_started_opens_nothing(make_host: MakeHost, tmp_path: Path) -> None:
    chat = chat_of(make_host(DATABASE_URL=f"sqlite:///{tmp_path}/chat.sqlite"))

    chat.drain()

    assert not (tmp_path / "chat.sqlite").exists()


def test_a_chat_that_lets_nobody_in_any_more_is_drained_all_the_same(make_host: MakeHost) -> None:
    chat = make_host().extensions["chat"]
    chat.server.create_channel("lobby")
    chat.gate.hush()

    chat.drain()

    with pytest.raises(ServerClosed):
        chat.server.channels()


def test_it_is_ready_until_it_retires_or_has_ended(make_host: MakeHost) -> None:
    retired, ended = chat_of(make_host()), chat_of(make_host())
    for chat in (retired, ended):
        assert chat.is_ready

    retired.retire()
    ended.drain()

    for chat in (retired, ended):
        assert not chat.is_ready
    assert retired.server.channels() == []


def test_retiring_what_never_started_opens_nothing(make_host: MakeHost, tmp_path: Path) -> None:
    chat_of(make_host(DATABASE_URL=f"sqlite:///{tmp_path}/chat.sqlite")).retire()

    assert not (tmp_path / "chat.sqlite").exists()


def test_draining_twice_is_draining_once(make_host: MakeHost) -> None:
    chat = chat_of(make_host())
    chat.start()

    chat.drain()
    chat.drain()

    for use in (lambda: chat.server, lambda: chat.gate, lambda: chat.database):
        with pytest.raises(ServerClosed):
            use()


def test_what_is_started_again_is_drained_with_its_process_again(make_host: MakeHost) -> None:
    chat = chat_of(make_host())
    chat.start()
    chat.drain()
    assert chat not in serving.services()

    chat.start()
    chat.start()

    assert serving.services().count(chat) == 1
    chat.drain()
    assert chat not in serving.services()


def test_whoever_drains_while_it_drains_is_in_nobodys_way(make_host: MakeHost) -> None:
    chat = chat_of(make_host())
    server = chat.server

    with gevent.Timeout(5):
        gevent.joinall([gevent.spawn(chat.drain) for _ in range(3)], raise_error=True)

    with pytest.raises(ServerClosed):
        server.channels()


def test_a_request_that_comes_after_the_end_is_refused_and_begins_nothing_anew(make_host: MakeHost) -> None:
    app = make_host()
    client = app.test_client()
    client.post("/chat/channels", json={"name": "lobby"}, headers=ANN)

    chat_of(app).drain()

    for answer in (
        client.get("/chat/channels", headers=ANN),
        client.post("/chat/channels", json={"name": "attic"}, headers=ANN),
        client.post("/chat/token", json={"channel": "lobby"}, headers=ANN),
    ):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json is not None
        assert answer.json["error"]["code"] == "server_closed"


def test_ending_a_login_is_no_trouble_before_and_after(make_host: MakeHost, tmp_path: Path) -> None:
    chat = chat_of(make_host(DATABASE_URL=f"sqlite:///{tmp_path}/chat.sqlite"))

    chat.close_session("sid")
    assert not (tmp_path / "chat.sqlite").exists()
    chat.start()
    chat.drain()
    chat.close_session("sid")

    with pytest.raises(ServerClosed):
        chat.server  # noqa: B018


def ours() -> list[str]:
    """The greenlets of this package that have not ended."""
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet) and not each.dead]
    return [str(each) for each in found if str(getattr(each._run, "__module__", "")).split(".")[0] in ("chat", "web")]


def test_no_greenlet_outlives_the_end(make_host: MakeHost) -> None:
    before = ours()
    chat = chat_of(make_host(authorize=lambda *what: True))
    chat.server.create_channel("lobby")
    gevent.sleep(0)
    assert len(ours()) > len(before)

    chat.drain()

    assert ours() == before


def test_channels_come_back_with_the_next_process(make_host: MakeHost, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.sqlite"
    first = chat_of(make_host(DATABASE_URL=url))
    first.server.create_channel("lobby")
    first.drain()

    assert chat_of(make_host(DATABASE_URL=url)).server.channels() == ["lobby"]
