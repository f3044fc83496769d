"""What the errors of the core are in HTTP."""

from collections.abc import Iterator

import pytest
from flask import Flask

import web.app  # noqa: F401 (all errors there are)
from chat import errors
from chat.errors import BrokerUnavailable, ChannelBusy, ChatError, DatabaseUnavailable, ExpiredToken, RateLimited
from web.answers import STATUS, answer, refusal, status_of
from web.routes.api import NotLoggedIn
from web.websocket.census import TooManyConnections


@pytest.fixture(autouse=True)
def _in_a_request() -> Iterator[None]:
    with Flask("host").test_request_context():
        yield


EXPECTED = [
    (errors.BadRequest("why"), 400, "bad_request", "why"),
    (errors.NotJoined(), 400, "not_joined", "this connection has not joined that channel"),
    (errors.BadText(), 400, "bad_text", "the text holds U+0000 or a lone surrogate"),
    (errors.InvalidUser("a/b", "is wrong"), 400, "invalid_user", "user 'a/b' is wrong"),
    (errors.UserNotHere(), 400, "not_here", "that user is not here"),
    (errors.InvalidToken(), 401, "invalid_token", "this token was never issued, was used already, or is too old"),
    (ExpiredToken(0.25), 401, "expired_token", "token is 0.2 s past its deadline"),
    (errors.Forbidden(), 403, "forbidden", "you are not allowed to do this here"),
    (errors.InvalidChannel("attic"), 404, "invalid_channel", "channel 'attic' does not exist"),
    (errors.DuplicatedChannel("lobby"), 409, "duplicated_channel", "channel 'lobby' exists already"),
    (errors.UserAlreadyConnected("ann"), 409, "user_already_connected", "a user of that name is in the channel already"),
    (errors.IdleChannel("lobby"), 410, "idle_channel", "channel 'lobby' was closed because nobody used it"),
    (errors.ChannelClosed("lobby"), 410, "channel_closed", "channel 'lobby' is closed"),
    (RateLimited(), 429, "rate_limited", "too many messages in too short a time"),
    (errors.ServerClosed(), 503, "server_closed", "the channel cannot be reached: the chat server is closed"),
    (ChannelBusy("lobby"), 503, "channel_busy", "channel 'lobby' has more waiting than it can take"),
    (BrokerUnavailable(), 503, "broker_unavailable", "the log cannot be reached; try again"),
    (DatabaseUnavailable(), 503, "database_unavailable", "the database cannot be reached; try again"),
    (TooManyConnections("of this user"), 503, "too_many_connections", "there are too many connections of this user"),
    (errors.HookFailed(), 500, "hook_failed", "the application failed while it handled this message"),
    (ChatError(), 500, "chat_error", "the chat refused this"),
]


@pytest.mark.parametrize(("error", "status", "code", "message"), EXPECTED)
def test_an_error_is_answered_with_its_status_code_and_sentence(
    error: ChatError, status: int, code: str, message: str
) -> None:
    response = answer(error)

    assert (response.status_code, response.json) == (status, {"error": {"code": code, "message": message}})
    assert response.headers["Cache-Control"] == "no-store"


def test_whoever_may_try_again_is_told_when() -> None:
    for error, status, _, _ in EXPECTED:
        assert ("Retry-After" in answer(error).headers) == (status in (429, 503)), error


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(RateLimited(), "1"), (RateLimited(retry_after=0.2), "1"), (RateLimited(retry_after=1.01), "2"), (ChannelBusy(), "1")],
)
def test_the_time_to_wait_is_in_whole_seconds_and_never_none(error: ChatError, seconds: str) -> None:
    assert answer(error).headers["Retry-After"] == seconds


def below(kind: type[ChatError]) -> Iterator[type[ChatError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from below(inner)


@pytest.mark.parametrize("kind", list(below(ChatError)), ids=lambda kind: kind.__name__)
def test_every_error_can_be_answered_bare(kind: type[ChatError]) -> None:
    response = answer(kind())

    assert response.status_code == status_of(kind())
    assert response.json is not None
    assert response.json["error"] == {"code": kind.code, "message": str(kind())}


@pytest.mark.parametrize("kind", [kind for kind in below(ChatError) if kind.retry], ids=lambda kind: kind.__name__)
def test_what_may_succeed_later_is_never_the_callers_fault(kind: type[ChatError]) -> None:
    assert status_of(kind()) in (410, 429, 503)


def test_the_table_has_no_status_that_is_none_of_an_error() -> None:
    assert {status for status in STATUS.values() if not 400 <= status < 600} == set()


def test_a_refusal_carries_the_headers_it_is_given() -> None:
    response = refusal(426, "bad_version", "13", {"Sec-WebSocket-Version": "13"})

    assert (response.status_code, response.headers["Sec-WebSocket-Version"]) == (426, "13")
    assert (response.mimetype, response.json) == ("application/json", {"error": {"code": "bad_version", "message": "13"}})


def test_who_is_not_logged_in_has_an_error_of_its_own() -> None:
    assert (NotLoggedIn.code, str(NotLoggedIn())) == ("not_logged_in", "log in first")
