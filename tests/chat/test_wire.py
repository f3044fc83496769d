import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequest
from chat.event import Ack, Joined, Left, Message, Presence, Refusal, User, Welcome, Whisper
from chat.frames import Limits
from chat.requests import Ping, Pong, Publish, decode
from chat.wire import Dialect, ping, pong, rfc3339

DATE = datetime(2026, 1, 2, 15, 4, 5, 67000, tzinfo=UTC)


def frame(**fields: object) -> str:
    return json.dumps({"type": "publish", "channel": "lobby", "text": "hello"} | fields)


def test_a_publish_is_read():
    assert decode(frame()) == Publish("hello", "lobby")
    assert decode(frame(id="a-1", to="bob")) == Publish("hello", "lobby", "a-1", "bob")


def test_a_pong_is_read():
    assert decode('{"type":"pong"}') == Pong()


@pytest.mark.parametrize("id", [None, "a-1"])
def test_a_ping_is_read_and_its_pong_has_the_same_id(id):
    request = decode(json.dumps({"type": "ping"} | ({"id": id} if id else {})))

    assert request == Ping(id)
    assert json.loads(pong(id)) == {"type": "pong"} | ({"id": id} if id else {})


def test_unknown_fields_are_ignored():
    assert decode(frame(mood="glad", nested={"deep": [1, {"er": None}]})) == Publish("hello", "lobby")
    assert decode('{"type":"pong","at":5}') == Pong()


def test_null_stands_for_a_field_that_is_not_there():
    assert decode(frame(id=None, to=None)) == Publish("hello", "lobby")


def test_any_text_is_read():
    for text in ("", "zwei\nZeilen", "🦊", '"\\'):
        assert decode(frame(text=text)).text == text


@pytest.mark.parametrize("id", ["a", "~", "!", "x" * 64, "".join(map(chr, range(0x21, 0x61)))])
def test_an_id_is_1_to_64_visible_characters(id):
    assert decode(frame(id=id)).id == id


@pytest.mark.parametrize("id", ["", "x" * 65, "a b", " a", "a\n", "\n", "a\x7f", "é", "🦊", "a\0"])
def test_another_id_is_refused(id):
    with pytest.raises(BadRequest, match="id"):
        decode(frame(id=id))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "{",
        "{]",
        "[]",
        "null",
        "true",
        "5",
        '"publish"',
        '{"type":"publish","channel":"lobby","text":"x"} more',
        "[" * 100_000,
        '{"type":' * 100_000,
        '{"type":"publish","channel":"lobby","text":"x","id":' + "9" * 5000 + "}",
        "9" * 5000,
        '{"type":"publish","channel":"lobby","text":"\\ud800"}',
        '{"type":"publish","channel":"lobby","text":"\\ud800\\ud800"}',
        '{"type":"publish","channel":"\\udfff","text":"x"}',
        "NaN",
        "\0",
        "\ufeff{}",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(BadRequest):
        decode(text)


@pytest.mark.parametrize("type", ["", "shout", "PUBLISH", "welcome", "message", "publish "])
def test_an_unknown_type_is_refused_with_the_id(type):
    with pytest.raises(BadRequest, match="type is unknown") as caught:
        decode(frame(type=type, id="a-1"))

    assert caught.value.id == "a-1"


@pytest.mark.parametrize("type", [None, 5, [], {}, True])
def test_a_type_that_is_no_string_is_refused(type):
    with pytest.raises(BadRequest, match="type is missing"):
        decode(frame(type=type))


def test_a_missing_type_is_refused():
    with pytest.raises(BadRequest, match="type is missing"):
        decode('{"channel":"lobby","text":"hello"}')


@pytest.mark.parametrize("field", ["text", "channel", "to"])
@pytest.mark.parametrize("value", [5, True, [], {}])
def test_a_field_of_the_wrong_type_is_named(field, value):
    with pytest.raises(BadRequest, match=f"`{field}`") as caught:
        decode(frame(id="a-1", **{field: value}))

    assert caught.value.id == "a-1"


@pytest.mark.parametrize("field", ["text", "channel"])
def test_a_missing_field_is_named(field):
    fields = json.loads(frame(id="a-1"))
    del fields[field]

    with pytest.raises(BadRequest, match=field) as caught:
        decode(json.dumps(fields))

    assert caught.value.id == "a-1"


def test_an_empty_channel_is_a_missing_one():
    with pytest.raises(BadRequest, match="channel") as caught:
        decode(frame(channel="", id="a-1"))

    assert caught.value.id == "a-1"


def test_an_id_that_is_too_long_is_not_sent_back():
    with pytest.raises(BadRequest) as caught:
        decode(frame(type="shout", id="x" * 65))

    assert caught.value.id is None


def test_a_refusal_does_not_quote_what_was_sent():
    for sent in (frame(text=["secret"]), frame(type="secret"), frame(id="sec ret"), "secret"):
        with pytest.raises(BadRequest) as caught:
            decode(sent)
        assert "sec" not in str(caught.value)


def test_dates_are_utc_with_milliseconds():
    assert rfc3339(DATE) == "2026-01-02T15:04:05.067Z"
    assert rfc3339(DATE.replace(microsecond=0)) == "2026-01-02T15:04:05.000Z"


def test_a_ping_is_a_frame_of_its_own():
    assert json.loads(ping()) == {"type": "ping"}


LIMITS = Limits(4096, 10.0)


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        (
            Message("ada", "hi", DATE, "a-1", 7, rendered=True),
            {"type": "message", "offset": 7, "id": "a-1", "from": "ada", "text": "hi", "date": "2026-01-02T15:04:05.067Z"},
        ),
        (
            Message("", "hi", DATE, offset=8),
            {"type": "message", "offset": 8, "id": None, "from": "", "text": "hi", "date": "2026-01-02T15:04:05.067Z"},
        ),
        (
            Whisper("ada", "bob", "psst", DATE, "a-2"),
            {
                "type": "whisper",
                "id": "a-2",
                "from": "ada",
                "to": "bob",
                "text": "psst",
                "date": "2026-01-02T15:04:05.067Z",
            },
        ),
        (Joined(User("ada"), DATE, "ada entered!"), {"type": "joined", "user": {"user": "ada"}}),
        (Joined(User("ada", "Ada L."), DATE), {"type": "joined", "user": {"user": "ada", "name": "Ada L."}}),
        (Left("ada", DATE, "ada exited..."), {"type": "left", "user": {"user": "ada"}}),
        (
            Presence((User("ada"), User("dan", "D")), ("bob", "cy"), 150, DATE, "some came"),
            {
                "type": "presence",
                "joined": [{"user": "ada"}, {"user": "dan", "name": "D"}],
                "left": [{"user": "bob"}, {"user": "cy"}],
                "count": 150,
            },
        ),
        (Ack("a-1", 7), {"type": "ack", "id": "a-1", "offset": 7}),
        (Ack("a-1"), {"type": "ack", "id": "a-1", "offset": None}),
        (
            Refusal("a-1", "bad_text", "the text is bad", False, DATE),
            {"type": "error", "id": "a-1", "code": "bad_text", "message": "the text is bad", "retry": False},
        ),
        (
            Refusal("", "channel_busy", "later", True, DATE),
            {"type": "error", "code": "channel_busy", "message": "later", "retry": True},
        ),
        (
            Welcome(User("ada", "Ada L."), (User("ada", "Ada L."), User("bob")), 2, "e1", 5, recovered=True),
            {
                "type": "welcome",
                "user": {"user": "ada", "name": "Ada L."},
                "users": [{"user": "ada", "name": "Ada L."}, {"user": "bob"}],
                "count": 2,
                "epoch": "e1",
                "offset": 5,
                "recovered": True,
                "ping": 25.0,
                "limits": {"message": 4096, "rate": 10.0, "channels": 100, "history": 200},
            },
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
def test_an_event_becomes_one_json_object_with_its_channel(event, sent):
    encoded = Dialect("lobby", LIMITS, 25.0).encode(event)

    assert json.loads(encoded) == {"channel": "lobby"} | sent
    assert encoded.startswith(b'{"type":')


def test_a_refusal_without_a_channel_names_none():
    assert "channel" not in json.loads(Dialect("", LIMITS, 25.0).encode(Refusal("", "bad_request", "no", False, DATE)))


def test_texts_go_out_in_utf_8():
    assert "🦊 é".encode() in Dialect("lobby", LIMITS, 25.0).encode(Message("ada", "🦊 é", DATE))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DATES = st.datetimes(timezones=st.just(UTC))


@given(TEXTS, TEXTS.filter(bool), TEXTS | st.none())
def test_what_is_asked_is_understood_as_it_was_meant(text: str, channel: str, to: str | None) -> None:
    frame = json.dumps({"type": "publish", "text": text, "channel": channel, "to": to, "id": "1"})

    assert decode(frame) == Publish(text, channel, "1", to)


@given(TEXTS, TEXTS, DATES, st.integers(1, 1 << 53))
def test_what_is_said_is_told_as_it_was_said(sender: str, text: str, date: datetime, offset: int) -> None:
    told = json.loads(Dialect("lobby", Limits(4096, 10.0), 25.0).encode(Message(sender, text, date, "1", offset)))

    assert (told["from"], told["text"], told["offset"]) == (sender, text, offset)
    assert abs(datetime.fromisoformat(told["date"]) - date) < timedelta(milliseconds=1)
