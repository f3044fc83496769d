"""Channels over HTTP: each answer, to the letter."""

from collections.abc import Mapping
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text
from werkzeug.test import TestResponse

from chat import ChatServer, PipeConn
from tests.web.conftest import MakeHost
from tests.web.routes import ANN, FOREIGN, OWN, error, said
from web.extension import BURST
from web.routes.api import MAX_BODY


@pytest.fixture
def app(make_host: MakeHost) -> Flask:
    return make_host(ORIGINS="https://friend.example")


def create(client: FlaskClient, name: object, headers: Mapping[str, str] = ANN) -> TestResponse:
    return client.post("/chat/channels", json={"name": name}, headers=headers)


# Which there are


def test_at_first_there_are_none(client: FlaskClient) -> None:
    assert said(client.get("/chat/channels", headers=ANN)) == (200, {"channels": []})


def test_channels_are_listed_sorted_with_how_many_users_are_in_them(client: FlaskClient, server: ChatServer) -> None:
    for name in ("lobby", "attic"):
        create(client, name)
    for username in ("ann", "bob"):
        server.get_channel("lobby").connect_user(username, PipeConn())

    response = client.get("/chat/channels", headers=ANN)

    waiting = {"unread": 0, "mentions": 0}
    channels = [{"name": "attic", "count": 0, **waiting}, {"name": "lobby", "count": 2, **waiting}]
    assert said(response) == (200, {"channels": channels})


def test_a_channel_that_was_closed_is_listed_no_more(client: FlaskClient, server: ChatServer) -> None:
    create(client, "lobby")
    server.get_channel("lobby").close()

    assert said(client.get("/chat/channels", headers=ANN)) == (200, {"channels": []})


def test_nothing_new_is_answered_without_a_body(client: FlaskClient, server: ChatServer) -> None:
    create(client, "lobby")
    first = client.get("/chat/channels", headers=ANN)
    etag = first.headers["ETag"]
    again = client.get("/chat/channels", headers={**ANN, "If-None-Match": etag})

    assert etag.startswith('W/"')
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "private, no-cache"


def test_whatever_has_changed_is_told(client: FlaskClient, server: ChatServer) -> None:
    create(client, "lobby")
    etags = [client.get("/chat/channels", headers=ANN).headers["ETag"]]

    for change in (
        lambda: server.get_channel("lobby").connect_user("ann", PipeConn()),
        lambda: create(client, "attic"),
        lambda: server.get_channel("lobby").close(),
    ):
        change()
        answer = client.get("/chat/channels", headers={**ANN, "If-None-Match": ", ".join(etags)})
        assert answer.status_code == 200
        etags.append(answer.headers["ETag"])

    assert len(set(etags)) == 4


def test_who_has_logged_out_is_not_told_that_nothing_has_changed(client: FlaskClient) -> None:
    etag = client.get("/chat/channels", headers=ANN).headers["ETag"]

    assert client.get("/chat/channels", headers={"If-None-Match": etag}).status_code == 401


def test_a_list_costs_few_queries_however_many_channels_there_are(client: FlaskClient, server: ChatServer) -> None:
    for number in range(50):
        server.create_channel(f"channel {number}")
    queries: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        queries.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        response = client.get("/chat/channels", headers=ANN)
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert response.json is not None
    assert len(response.json["channels"]) == 50
    assert len([query for query in queries if not query.startswith("BEGIN")]) <= 4


@pytest.mark.parametrize(("wanting", "mentions"), [("publish", 1), ("join", 0), ("history", 0)])
def test_what_waits_where_one_may_not_read_is_not_told(make_host: MakeHost, wanting: str, mentions: int) -> None:
    app = make_host(ARCHIVE=True, authorize=lambda _user, _channel, action: action != wanting)
    lobby = app.extensions["chat"].server.create_channel("lobby")
    lobby.new_broadcast("hi @ann", "bob")
    lobby.flush()

    (listed,) = app.test_client().get("/chat/channels", headers=ANN).json["channels"]

    assert (listed["name"], listed["mentions"]) == ("lobby", mentions)


def test_who_is_not_logged_in_is_told_nothing(client: FlaskClient) -> None:
    create(client, "lobby")

    assert said(client.get("/chat/channels")) == (401, error("not_logged_in", "log in first"))


def test_reading_is_allowed_from_anywhere_for_nobody_else_can_read_the_answer(client: FlaskClient) -> None:
    headers = {**ANN, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    response = client.get("/chat/channels", headers=headers)

    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response.headers


# A new one


def test_a_channel_is_made_once(client: FlaskClient, server: ChatServer) -> None:
    assert said(create(client, "lobby")) == (201, {"name": "lobby"})
    assert said(create(client, "lobby")) == (409, error("duplicated_channel", "channel 'lobby' exists already"))
    assert server.channels() == ["lobby"]


def test_the_name_of_a_closed_channel_is_free_again(client: FlaskClient, server: ChatServer) -> None:
    create(client, "lobby")
    server.get_channel("lobby").close()

    assert said(create(client, "lobby")) == (201, {"name": "lobby"})


def test_a_name_in_another_normal_form_is_the_same_name(client: FlaskClient) -> None:
    assert said(create(client, "cafe\u0301 \U0001f600")) == (201, {"name": "caf\u00e9 \U0001f600"})
    assert create(client, "caf\u00e9 \U0001f600").status_code == 409
    assert said(client.get("/chat/channels", headers=ANN)) == (
        200,
        {"channels": [{"name": "caf\u00e9 \U0001f600", "count": 0, "unread": 0, "mentions": 0}]},
    )


def test_the_longest_name_and_one_longer(client: FlaskClient) -> None:
    assert create(client, "\U0001f600" * 64).status_code == 201
    assert said(create(client, "x" * 65)) == (
        400,
        error("bad_request", f"channel '{'x' * 65}' has a name of 65 characters, at most 64 are allowed"),
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "the channel has an empty name"),
        (" a", "channel ' a' has white space at the start or end of its name"),
        ("a/b", "channel 'a/b' has a / in its name"),
        ("a\nb", "channel 'a\\nb' has the character U+000A in its name, which is not allowed"),
        ("a\u202eb", "channel 'a\\u202eb' has the character U+202E in its name, which is not allowed"),
        ("\0", "channel '\\x00' has the character U+0000 in its name, which is not allowed"),
    ],
)
def test_a_name_that_no_channel_can_have_is_the_callers_mistake(client: FlaskClient, name: str, why: str) -> None:
    assert said(create(client, name)) == (400, error("bad_request", why))


def test_a_lone_surrogate_is_no_text(client: FlaskClient, server: ChatServer) -> None:
    response = client.post("/chat/channels", data=rb'{"name": "\ud800"}', content_type="application/json", headers=ANN)

    assert response.status_code == 400
    assert server.channels() == []


def test_who_is_not_logged_in_can_make_none(client: FlaskClient, server: ChatServer) -> None:
    assert said(create(client, "lobby", {})) == (401, error("not_logged_in", "log in first"))
    assert server.channels() == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the body is no JSON"),
        (b"{", "the body is no JSON"),
        (b'{"name": "a"} more', "the body is no JSON"),
        (b"\xff", "the body is no JSON"),
        (b'{"x": ' + b"[" * 50_000, "the body is no JSON"),
        (b"{}", "Object missing required field `name`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'"lobby"', "Expected `object`, got `str`"),
        (b"null", "Expected `object`, got `null`"),
        (b'{"name": 7}', "Expected `str`, got `int` - at `name`"),
        (b'{"name": null}', "Expected `str`, got `null` - at `name`"),
        (b'{"name": ["a"]}', "Expected `str`, got `array` - at `name`"),
        (b'{"name": ' + b"9" * 5000 + b"}", "Number out of range - at `name`"),
    ],
)
def test_a_body_that_is_not_what_is_wanted_is_refused_saying_why(client: FlaskClient, body: bytes, why: str) -> None:
    response = client.post("/chat/channels", data=body, content_type="application/json", headers=ANN)

    assert said(response) == (400, error("bad_request", why))


def test_a_body_that_is_too_long_is_not_read(client: FlaskClient, server: ChatServer) -> None:
    body = b'{"name": "lobby"}' + b" " * MAX_BODY

    response = client.post("/chat/channels", data=body, content_type="application/json", headers=ANN)

    assert response.status_code == 413
    assert server.channels() == []


def test_a_long_body_that_says_nothing_of_its_length_is_read_no_further_than_that(
    client: FlaskClient, server: ChatServer
) -> None:
    stream = BytesIO(b" " * 10 * MAX_BODY + b'{"name": "lobby"}')

    response = client.post(
        "/chat/channels",
        input_stream=stream,
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        content_type="application/json",
        headers=ANN,
    )

    assert response.status_code == 400
    assert stream.tell() <= MAX_BODY
    assert server.channels() == []


def test_unknown_fields_are_passed_over(client: FlaskClient) -> None:
    response = client.post("/chat/channels", json={"name": "lobby", "topic": "cats"}, headers=ANN)

    assert said(response) == (201, {"name": "lobby"})


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", ""]
)
def test_only_json_is_taken_for_a_foreign_page_could_send_the_others(
    client: FlaskClient, server: ChatServer, kind: str
) -> None:
    response = client.post("/chat/channels", data=b'{"name": "lobby"}', content_type=kind, headers=ANN)

    assert said(response) == (400, error("bad_request", "the content type application/json is wanted"))
    assert server.channels() == []


def test_the_content_type_may_name_its_charset(client: FlaskClient) -> None:
    kind = "Application/JSON; charset=utf-8"
    response = client.post("/chat/channels", data=b'{"name": "lobby"}', content_type=kind, headers=ANN)

    assert response.status_code == 201


# From where


@pytest.mark.parametrize("where", FOREIGN, ids=str)
def test_a_foreign_page_can_make_none(client: FlaskClient, server: ChatServer, where: dict[str, str]) -> None:
    response = create(client, "lobby", {**ANN, **where})

    assert response.status_code == 403
    assert response.json is not None
    assert response.json["error"]["code"] == "foreign_origin"
    assert server.channels() == []


@pytest.mark.parametrize("where", OWN, ids=str)
def test_the_own_pages_and_what_is_no_browser_can(client: FlaskClient, where: dict[str, str]) -> None:
    assert create(client, "lobby", {**ANN, **where}).status_code == 201


def test_an_origin_that_was_allowed_can_too(client: FlaskClient) -> None:
    assert create(client, "lobby", {**ANN, "Origin": "https://friend.example"}).status_code == 201


def test_what_a_browser_calls_foreign_stays_so_for_other_origins_are_allowed_sockets_alone(client: FlaskClient) -> None:
    headers = {**ANN, "Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}

    assert create(client, "lobby", headers).status_code == 403


def test_behind_tls_the_own_origin_is_https(client: FlaskClient) -> None:
    headers = {**ANN, "Origin": "https://chat.example"}

    response = client.post("/chat/channels", json={"name": "lobby"}, headers=headers, base_url="https://chat.example")

    assert response.status_code == 201


# How often


def test_after_a_burst_of_new_channels_one_has_to_wait(client: FlaskClient, server: ChatServer) -> None:
    burst, number = BURST, 0
    while (response := create(client, f"channel {number}")).status_code == 201 and number < 2 * burst:
        number += 1

    assert burst <= number < 2 * burst  # time goes on meanwhile, and so some more may pass
    assert said(response) == (429, error("rate_limited", "too many requests in too short a time"))
    assert response.headers["Retry-After"] == "1"
    assert len(server.channels()) == number
    assert create(client, "of somebody else", {"X-User": "bob"}).status_code == 201


def test_what_is_refused_for_its_form_does_not_count(client: FlaskClient) -> None:
    for _ in range(2 * BURST):
        create(client, "a/b")

    assert create(client, "lobby").status_code == 201


# When the database has gone


def test_without_its_database_it_says_that_one_should_try_again(app: Flask, client: FlaskClient) -> None:
    app.extensions["chat"].database.run(lambda session: session.execute(text("DROP TABLE chat_channels")) and None)

    for response in (client.get("/chat/channels", headers=ANN), create(client, "lobby")):
        assert said(response) == (503, error("database_unavailable", "the database cannot be reached; try again"))
        assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_there_is_nothing_else_to_do_with_channels(client: FlaskClient, method: str) -> None:
    assert client.open("/chat/channels", method=method, headers=ANN).status_code == 405
