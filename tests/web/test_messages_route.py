"""What was said, over HTTP: each answer, to the letter."""

from collections.abc import Mapping
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chat import ChatChannel, ChatServer
from chat.wire import rfc3339
from tests.web.conftest import MakeHost
from tests.web.routes import ANN
from web.extension import BURST


@pytest.fixture
def lobby(server: ChatServer) -> ChatChannel:
    return server.create_channel("lobby")


def say(channel: ChatChannel, *texts: str) -> None:
    for text in texts:
        channel.new_broadcast(text, "bob")
    channel.flush()


def read(client: FlaskClient, query: str = "", name: str = "lobby", headers: Mapping[str, str] = ANN) -> TestResponse:
    return client.get(f"/chat/channels/{quote(name, safe='')}/messages{query}", headers=headers)


def offsets(response: TestResponse) -> tuple[list[int], bool]:
    assert response.status_code == 200, response.text
    assert response.json is not None
    return [event["offset"] for event in response.json["events"]], response.json["more"]


def refused(response: TestResponse) -> tuple[int, str, str]:
    assert response.json is not None
    error = response.json["error"]
    return response.status_code, error["code"], error["message"]


def test_messages_are_told_as_over_a_socket(client: FlaskClient, lobby: ChatChannel) -> None:
    say(lobby, "one")
    (said,), _ = lobby.history()

    response = read(client)

    assert response.json == {
        "channel": "lobby",
        "events": [{"offset": 1, "id": None, "from": "bob", "text": "one", "date": rfc3339(said.date)}],
        "more": False,
    }
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def test_where_nothing_was_said_there_is_nothing(client: FlaskClient, lobby: ChatChannel) -> None:
    assert offsets(read(client)) == ([], False)


def test_the_newest_come_first_page_by_page_each_in_the_order_of_saying(client: FlaskClient, lobby: ChatChannel) -> None:
    say(lobby, *map(str, range(1, 8)))

    assert offsets(read(client, "?limit=3")) == ([5, 6, 7], True)
    assert offsets(read(client, "?limit=3&before=5")) == ([2, 3, 4], True)
    assert offsets(read(client, "?limit=3&before=2")) == ([1], False)


def test_one_can_read_on_from_where_one_was(client: FlaskClient, lobby: ChatChannel) -> None:
    say(lobby, *map(str, range(1, 8)))

    assert offsets(read(client, "?after=0&limit=4")) == ([1, 2, 3, 4], True)
    assert offsets(read(client, "?after=4")) == ([5, 6, 7], False)
    assert offsets(read(client, "?after=7")) == ([], False)


def test_without_a_limit_50_are_told_and_200_at_most(client: FlaskClient, lobby: ChatChannel) -> None:
    say(lobby, *map(str, range(1, 204)))

    assert offsets(read(client)) == (list(range(154, 204)), True)
    assert offsets(read(client, "?limit=200")) == (list(range(4, 204)), True)


@pytest.mark.parametrize("field", ["before", "after"])
@pytest.mark.parametrize("value", ["x", "", "-1", "1.0", "1e3", "null", "+1", " 1", "٣", "9" * 5000, str(2**53)])
def test_an_offset_that_is_none_is_refused_naming_the_field(
    client: FlaskClient, lobby: ChatChannel, field: str, value: str
) -> None:
    status, code, message = refused(read(client, f"?{field}={quote(value)}"))

    assert (status, code) == (400, "bad_request")
    assert message.endswith(f"at `{field}`")


@pytest.mark.parametrize("value", ["0", "-1", "201", "many", ""])
def test_a_limit_that_is_none_is_refused_naming_the_field(client: FlaskClient, lobby: ChatChannel, value: str) -> None:
    status, code, message = refused(read(client, f"?limit={value}"))

    assert (status, code) == (400, "bad_request")
    assert message.endswith("at `limit`")


def test_one_cannot_look_both_ways(client: FlaskClient, lobby: ChatChannel) -> None:
    wanted = (400, "bad_request", "before, after: at most one of them is wanted")

    assert refused(read(client, "?before=3&after=1")) == wanted


def test_unknown_fields_are_passed_over(client: FlaskClient, lobby: ChatChannel) -> None:
    assert offsets(read(client, "?_=17&beforehand=x")) == ([], False)


@pytest.mark.parametrize(
    "name", ["50% off", "a?b#c&d=e", "漢字 \U0001f600", "..", ".", "a\\b", "%2F", "a;b", "'\"<>", "+", "x" * 64]
)
def test_a_channel_of_any_name_can_be_read(client: FlaskClient, server: ChatServer, name: str) -> None:
    say(server.create_channel(name), "one")

    response = read(client, name=name)

    assert offsets(response) == ([1], False)
    assert response.json is not None
    assert response.json["channel"] == name


def test_names_are_the_same_in_another_normal_form(client: FlaskClient, server: ChatServer) -> None:
    say(server.create_channel("caf\u00e9"), "one")

    assert offsets(read(client, name="cafe\u0301")) == ([1], False)


@pytest.mark.parametrize("name", ["nowhere", " lobby", "x" * 65, "a\nb"])
def test_a_channel_that_does_not_exist_is_not_found(client: FlaskClient, name: str) -> None:
    assert refused(read(client, name=name))[:2] == (404, "invalid_channel")


def test_bytes_that_are_no_text_are_no_channels_name(client: FlaskClient) -> None:
    assert client.get("/chat/channels/%ff%fe/messages", headers=ANN).status_code == 404


def test_who_is_not_logged_in_is_told_nothing(client: FlaskClient, lobby: ChatChannel) -> None:
    say(lobby, "one")

    assert refused(read(client, headers={})) == (401, "not_logged_in", "log in first")


@pytest.mark.parametrize("wanting", ["join", "history"])
def test_who_may_not_read_it_does_not_even_learn_whether_it_exists(make_host: MakeHost, wanting: str) -> None:
    app = make_host(authorize=lambda username, channel, action: action != wanting)
    say(app.extensions["chat"].server.create_channel("lobby"), "one")
    answers = [refused(read(app.test_client(), name=name)) for name in ("lobby", "nowhere")]

    assert answers == [(403, "forbidden", "you are not allowed to do this here")] * 2


def test_the_application_is_asked_for_that_user_and_that_channel(make_host: MakeHost) -> None:
    asked: list[tuple[str, str, str]] = []

    def authorize(username: str, channel: str, action: str) -> bool:
        asked.append((username, channel, action))
        return True

    app = make_host(authorize=authorize)
    app.extensions["chat"].server.create_channel("caf\u00e9")
    read(app.test_client(), name="cafe\u0301")

    assert asked == [("ann", "caf\u00e9", "join"), ("ann", "caf\u00e9", "history")]


def test_of_a_channel_that_was_closed_nothing_is_told(client: FlaskClient, lobby: ChatChannel) -> None:
    say(lobby, "one", "two")
    lobby.close()

    assert refused(read(client))[:2] == (404, "invalid_channel")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_there_is_nothing_else_to_do_with_messages(client: FlaskClient, lobby: ChatChannel, method: str) -> None:
    assert client.open("/chat/channels/lobby/messages", method=method, headers=ANN).status_code == 405


def test_after_a_burst_of_pages_one_has_to_wait(client: FlaskClient, lobby: ChatChannel) -> None:
    number = 0
    while (response := read(client)).status_code == 200 and number < 10 * BURST:
        number += 1

    assert number >= BURST
    assert refused(response) == (429, "rate_limited", "too many requests in too short a time")
    assert response.headers["Retry-After"] == "1"
    assert read(client, headers={"X-User": "bob"}).status_code == 200
