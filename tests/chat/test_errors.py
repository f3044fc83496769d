import pickle
import re
import traceback

import pytest

import chat
from chat import errors


def every_error() -> list[type[errors.ChatError]]:
    found, todo = [], [errors.ChatError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__ == "chat.errors" and not kind.__name__.startswith("_"):
            found.append(kind)
    return sorted(set(found), key=lambda kind: kind.__name__)


EVERY = pytest.mark.parametrize("kind", every_error())


@EVERY
def test_it_can_be_raised_without_facts(kind):
    with pytest.raises(kind) as caught:
        raise kind

    assert re.fullmatch(r"[a-z].{9,}", str(caught.value))


@EVERY
def test_its_code_is_a_stable_word(kind):
    assert re.fullmatch("[a-z_]{3,32}", kind.code)
    assert isinstance(kind.retry, bool)


def test_no_two_share_a_code():
    codes = [kind.code for kind in every_error()]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    "name",
    [
        "InvalidToken",
        "IdleChannel",
        "DuplicatedChannel",
        "InvalidChannel",
        "ChannelClosed",
        "UserAlreadyConnected",
        "ConnEOF",
        "TestTimeout",
        "InvalidUser",
        "MessageTooBig",
        "BadText",
        "ChannelBusy",
        "SlowConsumer",
        "RateLimited",
        "TooManyTokens",
        "BrokerUnavailable",
    ],
)
def test_it_is_public_and_below_chat_error(name):
    kind = getattr(chat, name)

    assert issubclass(kind, chat.ChatError)
    assert kind is not chat.ChatError
    assert name in chat.__all__


@pytest.mark.parametrize("kind", ["IdleChannel", "ChannelBusy", "SlowConsumer", "RateLimited", "BrokerUnavailable"])
def test_it_may_succeed_later(kind):
    assert getattr(errors, kind).retry is True


@pytest.mark.parametrize(
    "kind",
    [
        "InvalidToken",
        "DuplicatedChannel",
        "InvalidChannel",
        "ChannelClosed",
        "InvalidUser",
        "UserNotHere",
        "UserAlreadyConnected",
        "MessageTooBig",
        "BadText",
        "BadRequest",
        "Forbidden",
        "HookFailed",
    ],
)
def test_it_will_not_succeed_later(kind):
    assert getattr(errors, kind).retry is False


@pytest.mark.parametrize(
    ("error", "facts", "words"),
    [
        (errors.ExpiredToken(1.26), {"late_by": 1.26}, "1.3 s past"),
        (errors.DuplicatedChannel("lobby"), {"channel": "lobby"}, "'lobby' exists already"),
        (errors.InvalidChannel("lobby", "is odd"), {"channel": "lobby", "why": "is odd"}, "'lobby' is odd"),
        (errors.ChannelClosed("lobby"), {"channel": "lobby"}, "'lobby' is closed"),
        (errors.InvalidUser("ada", "is odd"), {"username": "ada", "why": "is odd"}, "'ada' is odd"),
        (errors.InvalidUser(why="is odd"), {"username": "", "why": "is odd"}, "the user is odd"),
        (errors.UserAlreadyConnected("ada", "lobby"), {"username": "ada", "channel": "lobby"}, "already"),
        (errors.MessageTooBig(5000, 4096), {"size": 5000, "limit": 4096}, "5000 bytes, at most 4096"),
        (errors.RateLimited("a-1", retry_after=1.5), {"id": "a-1", "retry_after": 1.5}, "too many"),
        (errors.BadRequest("the field id is odd", "a-1"), {"why": "the field id is odd", "id": "a-1"}, "id is odd"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_facts_are_attributes_and_the_words_are_the_text(error, facts, words):
    assert {name: getattr(error, name) for name in facts} == facts
    assert words in str(error)


def test_why_a_log_cannot_be_reached_is_for_whoever_sees_the_traceback_and_not_for_peers():
    error = errors.BrokerUnavailable("Redis attic cannot be reached")

    assert "attic" in "".join(traceback.format_exception(error))
    assert "attic" not in str(error)


def test_an_expired_token_is_an_invalid_one():
    assert issubclass(errors.ExpiredToken, errors.InvalidToken)


def test_a_closed_server_has_closed_channels():
    assert issubclass(errors.ServerClosed, errors.ChannelClosed)


@EVERY
def test_it_can_be_pickled(kind):
    again = pickle.loads(pickle.dumps(kind()))

    assert type(again) is kind
    assert str(again) == str(kind())
