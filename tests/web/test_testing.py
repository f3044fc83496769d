"""The kit for applications: one served over real sockets, and who enters it."""

from collections.abc import Callable

import gevent
import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat.closing import KICKED, CloseCode
from chat.errors import ServerClosed
from tests.web.conftest import MakeHost
from tests.web.fakes import TEXT, close_frame
from web.testing import Answer, Frame, Refused, Site, serve
from web.testing.fixtures import ServeChat


@pytest.fixture
def app(make_host: MakeHost) -> Flask:
    return make_host(authorize=lambda username, channel, action: (username, action) != ("eve", "join"))


@pytest.fixture
def site(chat_site: Site) -> Site:
    chat_site.server.create_channel("lobby")
    return chat_site


def client_of(site: Site, name: str) -> FlaskClient:
    """Somebody who is logged in."""
    client = site.client()
    client.environ_base["HTTP_X_USER"] = name
    return client


def by_name(site: Site, name: str) -> str:
    return name


@pytest.mark.parametrize("who", [by_name, client_of])
def test_who_enters_is_greeted_speaks_and_is_heard(site: Site, who: Callable[[Site, str], str | FlaskClient]) -> None:
    ann, bob = site.enter("lobby", who(site, "ann")), site.enter_plain("lobby", who(site, "bob"))
    assert (ann.welcome["user"], ann.welcome["count"]) == ({"user": "ann"}, 1)

    id = ann.publish("hello")

    assert ann.hear("ack", "error") == {"type": "ack", "channel": "lobby", "id": id, "offset": 1}
    assert [bob.line(), bob.line()] == ["bob entered lobby!", "ann: hello"]
    bob.say("hi")
    assert ann.hear("message")["text"] == "hi"


def test_a_whisper_goes_to_one(site: Site) -> None:
    ann, bob = site.enter("lobby", "ann"), site.enter("lobby", "bob")

    ann.publish("psst", to="bob")

    assert bob.hear("whisper", "message")["text"] == "psst"


def test_who_comes_back_gets_what_was_missed(site: Site) -> None:
    channel = site.server.get_channel("lobby")
    channel.new_system_broadcast("one")
    channel.flush()

    ann = site.enter("lobby", "ann", query=f"epoch={channel.epoch}&offset=0")

    assert ann.welcome["recovered"] is True
    assert ann.hear("message")["text"] == "one"


def test_who_may_not_join_is_refused_with_the_answer(site: Site) -> None:
    for who in ("eve", client_of(site, "eve")):
        with pytest.raises(Refused, match=r"403.*forbidden") as caught:
            site.enter("lobby", who)

        assert (caught.value.answer.status, caught.value.answer.code) == (403, "forbidden")
    assert len(site.chat.gate) == 0


def test_who_is_not_logged_in_gets_no_token(site: Site) -> None:
    with pytest.raises(Refused) as caught:
        site.enter("lobby", site.client())

    assert caught.value.answer.status == 401


def test_who_has_manners_answers_a_goodbye(site: Site) -> None:
    ann = site.enter_plain("lobby", "ann")
    site.server.get_channel("lobby").remove_user("ann")

    assert ann.closing() == KICKED
    assert ann.at_end()
    with pytest.raises(AssertionError, match="the connection ended"):
        ann.frame()


def test_who_has_none_leaves_the_answers_to_the_test(site: Site) -> None:
    caller = site.dial()
    assert caller.shake_hands(f"{site.chat.socket_path}?token={site.token('lobby', 'ann')}") is None
    caller.line()
    site.server.get_channel("lobby").remove_user("ann")
    assert caller.closing() == KICKED

    caller.send(close_frame())

    assert caller.at_end()


def test_cookies_and_origins_go_with_the_handshake(site: Site) -> None:
    caller = site.dial()

    with pytest.raises(Refused) as caught:
        caller.shake_hands(site.chat.socket_path, headers={"Origin": "https://evil.example", "Cookie": "a=b"})

    assert caught.value.answer.code == "foreign_origin"


def test_a_text_that_never_comes_is_named_by_the_close_that_came(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    site.server.get_channel("lobby").close()

    with pytest.raises(AssertionError, match=r"the server closed.*channel closed"):
        ann.hear("message")


def test_an_application_is_put_away_and_can_be_served_again(app: Flask) -> None:
    url = app.extensions["chat"].settings.database_url
    for _ in range(2):
        with serve(app, database="sqlite:///:memory:") as site:
            site.server.create_channel("lobby")
            site.enter("lobby", "ann")
            site.enter_plain("lobby", "bob")
            assert site.chat.is_ready
        with pytest.raises(ServerClosed):
            site.server.channels()

    assert app.extensions["chat"].settings.database_url == url


def test_one_that_failed_inside_is_put_away_too(app: Flask) -> None:
    with pytest.raises(ZeroDivisionError), serve(app) as site:  # noqa: PT012
        site.server.create_channel("lobby")
        ann = site.enter("lobby", "ann")
        1 / 0  # noqa: B018

    with pytest.raises(OSError):  # noqa: PT011 (ours is closed)
        ann.say("hello")


def test_a_test_may_drain_it_itself(site: Site) -> None:
    ann = site.enter("lobby", "ann")
    draining = gevent.spawn(site.chat.drain)

    assert ann.closing().code == CloseCode.RESTART
    draining.get(timeout=5)


def test_the_database_is_in_memory_unless_said_otherwise(app: Flask, serve_chat: ServeChat, tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/kept.sqlite"

    assert serve_chat(app, database=url).chat.settings.database_url == url
    assert (tmp_path / "kept.sqlite").exists()


def test_what_has_no_chat_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="call Chat"), serve(Flask("host")):
        pass


@pytest.mark.parametrize("body", [b"null", b'{"error": "x"}', b'{"error": {"code": "x"}}'])
def test_an_answer_that_is_no_error_has_no_code(body: bytes) -> None:
    with pytest.raises(AssertionError, match="no error"):
        Answer(400, {"content-type": "application/json"}, body).code  # noqa: B018


def test_an_answer_that_is_no_json_says_so() -> None:
    with pytest.raises(AssertionError, match="no JSON"):
        Answer(400, {"content-type": "text/html"}, b"{}").json  # noqa: B018


def test_a_frame_that_closes_nothing_has_no_closing() -> None:
    with pytest.raises(AssertionError, match="no close frame"):
        Frame(TEXT, b"x").closing  # noqa: B018
