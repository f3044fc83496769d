"""Tokens over HTTP: each answer, to the letter, and what a token is good for."""

from collections.abc import Mapping

import pytest
from flask import Flask, request, session
from flask.testing import FlaskClient
from gevent.event import Event
from sqlalchemy import text
from werkzeug.test import TestResponse

from chat import ChatServer
from chat.errors import InvalidToken
from tests.web.conftest import Dial, MakeHost, Serve
from tests.web.routes import ANN, FOREIGN, OWN, error, said
from web.extension import BURST


@pytest.fixture
def app(make_host: MakeHost) -> Flask:
    app = make_host(TOKEN_DEADLINE=12.5)
    app.extensions["chat"].server.create_channel("lobby")
    return app


def ask(client: FlaskClient, channel: object = "lobby", headers: Mapping[str, str] = ANN) -> TestResponse:
    return client.post("/chat/token", json={"channel": channel}, headers=headers)


def token_of(response: TestResponse) -> str:
    assert response.json is not None
    return str(response.json["token"])


def test_a_token_comes_with_what_it_is_good_for(client: FlaskClient) -> None:
    response = ask(client)

    token = token_of(response)
    assert said(response) == (
        200,
        {"token": token, "channel": "lobby", "username": "ann", "expires_in": 12.5, "moderator": False},
    )
    assert len(bytes.fromhex(token)) == 32
    assert response.headers["Cache-Control"] == "no-store"


def test_a_moderator_is_told_so(make_host: MakeHost) -> None:
    app = make_host(authorize=lambda username, channel, action: action != "moderate" or username == "ann")
    app.extensions["chat"].server.create_channel("lobby")

    for username, expected in (("ann", True), ("bob", False)):
        answer = ask(app.test_client(), headers={"X-User": username}).json
        assert answer is not None
        assert answer["moderator"] is expected


@pytest.mark.parametrize(
    ("path", "wanted"), [("/chat/token", b'{"channel": "lobby"}'), ("/chat/channels", b'{"name": "attic"}')]
)
def test_who_logs_out_while_the_body_is_still_to_come_is_a_stranger_when_it_has_come(
    make_host: MakeHost, serve: Serve, dial: Dial, path: str, wanted: bytes
) -> None:
    users, begun = ["ann"], Event()
    app = make_host(identify=lambda: users[0] if users else None)
    app.extensions["chat"].server.create_channel("lobby")
    app.before_request(begun.set)
    caller = dial(serve(app))

    caller.request(path, {"Host": "h", "Content-Type": "application/json", "Content-Length": str(len(wanted))}, "POST")
    caller.send(wanted[:5])
    assert begun.wait(5)
    users.clear()
    caller.send(wanted[5:])

    answer = caller.answer()
    assert (answer.status, answer.code) == (401, "not_logged_in")


def test_a_token_lets_its_user_into_its_channel_once(client: FlaskClient, server: ChatServer) -> None:
    token = token_of(ask(client))

    grant = server.redeem(token)

    assert (grant.username, grant.channel, grant.session) == ("ann", "lobby", None)
    with pytest.raises(InvalidToken):
        server.redeem(token)


def test_each_token_is_another_one(client: FlaskClient) -> None:
    assert len({token_of(ask(client)) for _ in range(10)}) == 10


def test_the_login_rides_along(app: Flask, client: FlaskClient, server: ChatServer) -> None:
    def log_in() -> str:
        session["sid"] = "the login"
        return ""

    app.add_url_rule("/login", "login", log_in)
    client.get("/login")

    assert server.redeem(token_of(ask(client))).session == "the login"


def test_the_display_name_rides_along(make_host: MakeHost) -> None:
    app = make_host(display_name=lambda: f"The {request.headers['X-User']}")
    server = app.extensions["chat"].server
    server.create_channel("lobby")

    assert server.redeem(token_of(ask(app.test_client()))).data == {"name": "The ann"}


def test_a_display_name_that_nobody_can_have_costs_nobody_the_token(make_host: MakeHost) -> None:
    app = make_host(display_name=lambda: "An\nn")
    server = app.extensions["chat"].server
    server.create_channel("lobby")

    assert server.redeem(token_of(ask(app.test_client()))).data is None


def test_names_are_normalised(client: FlaskClient, server: ChatServer) -> None:
    server.create_channel("caf\u00e9")

    response = ask(client, "cafe\u0301")

    assert response.status_code == 200
    assert server.redeem(token_of(response)).channel == "caf\u00e9"


def test_who_is_not_logged_in_gets_none(client: FlaskClient) -> None:
    assert said(ask(client, headers={})) == (401, error("not_logged_in", "log in first"))


def test_there_is_none_for_a_channel_that_does_not_exist(client: FlaskClient) -> None:
    assert said(ask(client, "attic")) == (404, error("invalid_channel", "channel 'attic' does not exist"))


def test_there_is_none_for_a_channel_that_was_closed(client: FlaskClient, server: ChatServer) -> None:
    server.get_channel("lobby").close()

    assert said(ask(client)) == (404, error("invalid_channel", "channel 'lobby' does not exist"))


@pytest.mark.parametrize("name", ["", "a/b", " lobby", "a\nb", "x" * 65])
def test_a_channel_that_cannot_exist_does_not(client: FlaskClient, name: str) -> None:
    response = ask(client, name)

    assert response.status_code == 404
    assert response.json is not None
    assert response.json["error"]["code"] == "invalid_channel"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the body is no JSON"),
        (b"{", "the body is no JSON"),
        (b'{"channel": "\\ud800"}', "the body is no JSON"),
        (b'{"x": ' + b"[" * 50_000, "the body is no JSON"),
        (b"{}", "Object missing required field `channel`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"channel": 7}', "Expected `str`, got `int` - at `channel`"),
        (b'{"channel": null}', "Expected `str`, got `null` - at `channel`"),
    ],
)
def test_a_body_that_is_not_what_is_wanted_is_refused_saying_why(client: FlaskClient, body: bytes, why: str) -> None:
    response = client.post("/chat/token", data=body, content_type="application/json", headers=ANN)

    assert said(response) == (400, error("bad_request", why))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(client: FlaskClient, kind: str) -> None:
    response = client.post("/chat/token", data=b'{"channel": "lobby"}', content_type=kind, headers=ANN)

    assert said(response) == (400, error("bad_request", "the content type application/json is wanted"))


@pytest.mark.parametrize("where", FOREIGN, ids=str)
def test_a_foreign_page_gets_none(client: FlaskClient, where: dict[str, str]) -> None:
    response = ask(client, headers={**ANN, **where})

    assert response.status_code == 403
    assert response.json is not None
    assert response.json["error"]["code"] == "foreign_origin"


@pytest.mark.parametrize("where", OWN, ids=str)
def test_the_own_pages_and_what_is_no_browser_get_one(client: FlaskClient, where: dict[str, str]) -> None:
    assert ask(client, headers={**ANN, **where}).status_code == 200


def test_who_may_not_join_is_not_told_whether_there_is_such_a_channel(make_host: MakeHost) -> None:
    app = make_host(authorize=lambda username, channel, action: False)
    app.extensions["chat"].server.create_channel("lobby")

    answers = [said(ask(app.test_client(), name)) for name in ("lobby", "attic")]

    assert answers == 2 * [(403, error("forbidden", "you are not allowed to do this here"))]


def test_after_a_burst_one_has_to_wait(client: FlaskClient) -> None:
    burst, count = BURST, 0
    while (response := ask(client)).status_code == 200 and count < 2 * burst:
        count += 1

    assert burst <= count < 2 * burst  # time goes on meanwhile, and so some more may pass
    assert said(response) == (429, error("rate_limited", "too many requests in too short a time"))
    assert response.headers["Retry-After"] == "1"
    assert ask(client, headers={"X-User": "bob"}).status_code == 200


def test_who_uses_none_of_them_has_to_wait_for_more(make_host: MakeHost) -> None:
    app = make_host(TOKENS_PER_USER=3)
    server = app.extensions["chat"].server
    server.create_channel("lobby")
    client = app.test_client()
    tokens = [token_of(ask(client)) for _ in range(3)]

    refused = ask(client)
    server.redeem(tokens[0])

    assert said(refused) == (429, error("too_many_tokens", "too many tokens of this user wait to be used"))
    assert refused.headers["Retry-After"] == "30"
    assert [ask(client).status_code for _ in range(2)] == [200, 429]


def test_guessing_names_of_channels_counts_too(client: FlaskClient) -> None:
    statuses = [ask(client, f"room {number}").status_code for number in range(2 * BURST)]

    assert set(statuses) == {404, 429}
    assert statuses.index(429) >= BURST


def test_without_its_database_it_says_that_one_should_try_again(app: Flask, client: FlaskClient) -> None:
    app.extensions["chat"].database.run(lambda session: session.execute(text("DROP TABLE chat_channels")) and None)

    response = ask(client, "attic")

    assert said(response) == (503, error("database_unavailable", "the database cannot be reached; try again"))
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_token_is_asked_for_by_post_alone(client: FlaskClient, method: str) -> None:
    assert client.open("/chat/token", method=method, headers=ANN).status_code == 405
