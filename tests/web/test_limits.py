"""The limits of one socket, each set through the settings and tried at its border, over a real server."""

from collections.abc import Callable

import pytest

from chat.closing import FLOOD, SLOW, Closing
from chat.testing import TurnedClock
from tests.web.conftest import Dial, MakeHost, Serve
from tests.web.fakes import HANDSHAKE, PING, Caller, SocketFake, client_frame, close_frame
from web.websocket.limits import Bounds

Enter = Callable[..., Caller]


@pytest.fixture
def enter(make_host: MakeHost, serve: Serve, dial: Dial) -> Enter:
    """Lets a plain client into an application with these settings."""

    def enter(**settings: object) -> Caller:
        app = make_host(**settings)
        server = app.extensions["chat"].server
        server.create_channel("lobby")
        caller = dial(serve(app))
        caller.request(f"/chat/ws?token={server.request_token('ann', 'lobby')}", HANDSHAKE)
        assert caller.answer().status == 101
        assert caller.line() == "ann entered lobby!"
        return caller

    return enter


def fragments(count: int) -> bytes:
    """A text of so many letters, each in a frame of its own."""
    middle = b"\x00\x81" + bytes(4) + b"x"
    return b"\x01" + middle[1:] + middle * (count - 2) + b"\x80" + middle[1:]


def test_a_frame_may_have_just_the_limit(enter: Enter) -> None:
    ann = enter(MAX_FRAME=2054, MAX_MESSAGE=1)

    for size in (2053, 2054):
        ann.say("x" * size)
        assert ann.line() == f"Not sent: the message has {size} bytes, at most 1 are allowed"
    ann.say("x" * 2055)

    assert ann.closing().code == 1009


def test_the_longest_text_comes_through_however_it_is_escaped_and_one_that_is_longer_costs_nobody_the_socket(
    make_host: MakeHost, serve: Serve, dial: Dial
) -> None:
    app = make_host(MAX_MESSAGE=20_000)
    name, channel = "\U0001f600" * 64, "\U0001f601" * 64
    server = app.extensions["chat"].server
    server.create_channel(channel)
    caller = dial(serve(app))
    caller.shake_hands(f"/chat/ws?token={server.request_token(name, channel)}", subprotocols=["chat.v1"])
    longest: dict[str, object] = {
        "type": "publish",
        "channel": channel,
        "id": "i" * 64,
        "text": "\x01" * 20_000,
        "to": name,
    }

    caller.ask(**longest)

    assert caller.events_until("whisper")[-1]["text"] == longest["text"]
    caller.ask(**longest | {"text": "x" * 20_001})
    assert caller.events_until("error")[-1]["code"] == "message_too_big"


def test_a_message_may_have_just_so_many_fragments(enter: Enter) -> None:
    ann = enter(MAX_FRAGMENTS=4)

    for count in (3, 4):
        ann.send(fragments(count))
        assert ann.line() == f"ann: {'x' * count}"
    ann.send(fragments(5))

    assert ann.closing() == Closing(1008, "too many fragments")


def test_a_text_may_have_just_the_limit_in_bytes_and_what_is_longer_costs_nobody_the_socket(enter: Enter) -> None:
    ann = enter(MAX_MESSAGE=6)

    for text in ("x" * 5, "x" * 6, "\u00e9" * 3):
        ann.say(text)
        assert ann.line() == f"ann: {text}"
    for text in ("x" * 7, "\u00e9" * 3 + "x"):
        ann.say(text)
        assert ann.line() == "Not sent: the message has 7 bytes, at most 6 are allowed"


@pytest.mark.parametrize(("waiting", "closing"), [(99, None), (100, None), (101, Closing(*SLOW))])
def test_a_peer_that_does_not_read_may_have_just_so_much_waiting(
    clock: TurnedClock, waiting: int, closing: Closing | None
) -> None:
    socket = SocketFake(clock, Bounds(write_buf=100))
    socket.stuck = True

    socket.write(b"x" * waiting)
    socket.write(b"x")

    assert socket.closing == closing


def test_pings_may_come_in_a_burst_of_six_seconds_worth(enter: Enter) -> None:
    ann = enter(PING_RATE=0.5)  # three at once

    ann.send(client_frame(b"", PING) * 2)
    ann.send(client_frame(b"", PING))
    assert [ann.frame().payload for _ in range(3)] == [b""] * 3
    ann.send(client_frame(b"", PING))

    assert ann.closing() == FLOOD


def test_pings_without_a_limit_are_all_answered(enter: Enter) -> None:
    ann = enter(PING_RATE=0)

    ann.send(client_frame(b"", PING) * 1000)

    assert {ann.frame().payload for _ in range(1000)} == {b""}


def test_so_many_messages_may_be_refused_and_no_more(enter: Enter) -> None:
    ann = enter(MESSAGE_RATE=0.01, MAX_REFUSED=3)  # one at once

    ann.say("heard")
    assert ann.line() == "ann: heard"
    for _ in range(3):
        ann.say("refused")
        assert ann.line() == "Not sent: too many messages in too short a time"
    ann.say("one too many")

    assert ann.closing() == FLOOD


def test_who_never_finishes_its_close_is_cut_off(enter: Enter) -> None:
    ann = enter(CLOSE_TIMEOUT=0.05, MAX_REFUSED=1, MESSAGE_RATE=0.01)
    for _ in range(3):
        ann.say("x")
    assert ann.closing() == FLOOD

    assert ann.at_end()


def test_who_finishes_it_is_let_go_at_once(enter: Enter) -> None:
    ann = enter(CLOSE_TIMEOUT=3600)
    ann.send(close_frame())

    assert ann.closing() == Closing(1000)
    assert ann.at_end()
