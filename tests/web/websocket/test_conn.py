"""A WebSocket as a `Conn`: what a peer says becomes requests, and how much one may say."""

import json
import sys

import gevent
import pytest

from chat.closing import FLOOD, GONE, NOT_TEXT, Closing
from chat.conn import DirectConn
from chat.errors import ConnEOF
from chat.event import Message
from chat.frames import Limits
from chat.member import Member
from chat.requests import Delete, Edit, History, Join, Leave, Publish, Read, Typing
from chat.testing import TurnedClock
from chat.tokens import Grant
from tests.chat.fakes import HomeFake
from tests.chat.steps import never_yields
from tests.web.fakes import BINARY, CLOSE, PING, PONG, TEXT, Frame, SocketFake, client_frame, close_frame, deflated
from web.websocket.conn import Move, PlainConn, V1Conn, V1Peer, V1Rules
from web.websocket.formats import PLAIN, V1Formats
from web.websocket.limits import SocketLimits
from web.websocket.peer import Peer, Rules

LIMITS = SocketLimits(message_rate=1.0)
ABUSE = LIMITS.max_refused


def member(channel: str) -> Member:
    return Member("1", Grant("ann", channel), HomeFake())


class Talk:
    """A started connection, its peer, and all that the channel and the gate hear of it."""

    def __init__(
        self, clock: TurnedClock, *, v1: bool, limits: SocketLimits = LIMITS, started: bool = True, deflates: bool = False
    ) -> None:
        self.clock = clock
        self.heard: list[object] = []  # requests, then the end
        self.ended: list[Peer] = []
        self.moves: list[Move] = []
        self.socket = SocketFake(clock, deflates=deflates)
        rules = Rules.of(limits, clock, self.ended.append)
        self.peer: Peer
        self.conn: PlainConn | V1Conn
        if v1:
            formats = V1Formats(Limits(4096, 2.0), 25.0)
            more = V1Rules.beyond(rules, formats, lambda _, move: self.moves.append(move))
            self.peer = V1Peer(self.socket, more, Grant("ann", "lobby"))
            self.conn = self.peer.add(member("lobby"))
        else:
            self.peer = self.conn = PlainConn(self.socket, rules)
        if started:
            self.start()

    def start(self) -> None:
        self.conn.start(self.heard.append, self.heard.append)
        gevent.sleep(0)  # reading begins in the hub's next turn

    def ask(self, **request: object) -> None:
        self.socket.say(json.dumps({"channel": "lobby", **request}))


@pytest.fixture
def plain(clock: TurnedClock) -> Talk:
    return Talk(clock, v1=False)


@pytest.fixture
def v1(clock: TurnedClock) -> Talk:
    return Talk(clock, v1=True)


@pytest.fixture(params=["plain", "v1"])
def talk(request: pytest.FixtureRequest, clock: TurnedClock) -> Talk:
    return Talk(clock, v1=request.param == "v1")


def error(code: str, message: str, *, retry: bool = False, id: str | None = None, to: str = "") -> dict[str, object]:
    """What is told of a request, which names the channel that `to` names."""
    found = {"type": "error", "code": code, "message": message, "retry": retry}
    named = next((channel for channel in ("lobby", "attic") if f'"{channel}"' in to), None)
    return found | ({"channel": named} if named else {}) | ({"id": id} if id else {})


# What is said


def test_a_plain_frame_is_what_the_user_says(plain: Talk) -> None:
    for text in ("hello", "", '{"type": "publish"}', "two\nlines", "\U0001f600"):
        plain.socket.say(text)
        plain.clock.advance(1)

    assert plain.heard == [
        Publish("hello"),
        Publish(""),
        Publish('{"type": "publish"}'),
        Publish("two\nlines"),
        Publish("\U0001f600"),
    ]


def test_chat_v1_asks_in_json(v1: Talk) -> None:
    v1.ask(type="publish", text="hello", id="1")
    v1.ask(type="publish", text="psst", to="bob")
    v1.ask(type="publish", text="", more="fields")

    assert v1.heard == [
        Publish("hello", "lobby", "1"),
        Publish("psst", "lobby", None, "bob"),
        Publish("", "lobby"),
    ]
    assert v1.socket.frames == []


@pytest.mark.parametrize(
    ("said", "code", "message", "id"),
    [
        ("", "bad_request", "this is not JSON, or it is nested too deeply", None),
        ("hello", "bad_request", "this is not JSON, or it is nested too deeply", None),
        ('{"type":', "bad_request", "this is not JSON, or it is nested too deeply", None),
        ("[" * 50_000, "bad_request", "a JSON object is wanted", None),
        ('{"x":' + "[" * 50_000, "bad_request", "this is not JSON, or it is nested too deeply", None),
        ('"hello"', "bad_request", "a JSON object is wanted", None),
        ("[]", "bad_request", "a JSON object is wanted", None),
        ("null", "bad_request", "a JSON object is wanted", None),
        ("{}", "bad_request", "the field type is missing, or no string", None),
        ('{"type": 7, "id": "1"}', "bad_request", "the field type is missing, or no string", "1"),
        ('{"type": "dance", "id": "1"}', "bad_request", "the type is unknown", "1"),
        ('{"type": "publish", "id": "1"}', "bad_request", "Object missing required field `text`", "1"),
        ('{"type": "publish", "text": 7, "id": "1"}', "bad_request", "Expected `str`, got `int` - at `text`", "1"),
        ('{"type": "publish", "text": "x", "id": "1"}', "bad_request", "the field channel is missing", "1"),
        (
            '{"type": "publish", "text": "x", "channel": "attic", "id": "1"}',
            "not_joined",
            "this connection has not joined that channel",
            "1",
        ),
    ],
)
def test_what_is_no_request_is_refused_and_the_socket_stays_open(
    v1: Talk, said: str, code: str, message: str, id: str | None
) -> None:
    v1.socket.say(said)

    assert v1.socket.events == [error(code, message, id=id, to=said)]
    assert (v1.heard, v1.socket.closing) == ([], None)
    v1.ask(type="publish", text="still here")
    assert v1.heard == [Publish("still here", "lobby")]


@pytest.mark.parametrize("id", ["", "x" * 65, "two words", "\u00e9", "\n"])
def test_an_id_that_cannot_be_one_is_refused(v1: Talk, id: str) -> None:
    v1.ask(type="publish", text="x", id=id)

    [said] = v1.socket.events
    assert (said["type"], said["code"]) == ("error", "bad_request")
    assert v1.heard == []


def test_a_pong_is_heard_by_nobody_but_the_heartbeat(v1: Talk) -> None:
    v1.clock.advance(5)
    v1.socket.say('{"type": "pong"}')

    assert (v1.heard, v1.socket.frames, v1.socket.last_heard) == ([], [], 5.0)


def test_a_ping_of_a_page_is_answered_and_counts_like_one_of_the_sockets_own(v1: Talk) -> None:
    v1.socket.say('{"type": "ping", "id": "1"}')
    v1.socket.say('{"type": "ping"}')
    assert (v1.heard, v1.socket.events) == ([], [{"type": "pong", "id": "1"}, {"type": "pong"}])

    for _ in range(59):
        v1.socket.say('{"type": "ping"}')

    assert v1.socket.frames[-1].closing == FLOOD
    assert len(v1.socket.events) == 60


def test_requests_are_heard_in_order_and_never_before_the_start(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=False, started=False)
    assert not talk.socket.reading

    talk.start()
    talk.socket.hear(client_frame("one") + client_frame("two"))
    talk.socket.say("three")

    assert talk.heard == [Publish("one"), Publish("two"), Publish("three")]


@pytest.mark.parametrize("data", [b"", b"\xff", b"hello"])
def test_a_binary_frame_ends_it(talk: Talk, data: bytes) -> None:
    talk.socket.hear(client_frame(data, BINARY))

    assert talk.socket.frames == [Frame(CLOSE, b"\x03\xeb" + NOT_TEXT.reason.encode())]
    assert (talk.heard, talk.ended) == ([NOT_TEXT], [talk.peer])


def test_what_came_with_a_binary_frame_is_heard_before_it_and_not_behind(plain: Talk) -> None:
    plain.socket.hear(client_frame("one") + client_frame(b"", BINARY) + client_frame("two"))

    assert plain.heard == [Publish("one"), NOT_TEXT]


# How much


def test_a_burst_is_heard_and_what_goes_beyond_is_refused(plain: Talk) -> None:
    for number in range(5):
        plain.socket.say(str(number))

    assert plain.heard == [Publish("0"), Publish("1"), Publish("2")]
    refused = "2026-01-02 - 15:04:05 (+0000) > Not sent: too many messages in too short a time"
    assert plain.socket.texts == [refused, refused]


def test_a_refusal_of_chat_v1_names_the_request(v1: Talk) -> None:
    for number in range(4):
        v1.ask(type="publish", text="x", id=f"id{number}")

    assert v1.socket.events == [
        error("rate_limited", "too many messages in too short a time", retry=True, id="id3", to='"lobby"'),
    ]


@pytest.mark.parametrize(
    ("said", "id"),
    [
        ('{"type": "publish", "text": "x", "channel": "lobby"}', None),
        ('{"type": "publish", "text": "x", "channel": "attic", "id": "1"}', "1"),
        ('{"type": "dance", "id": "1"}', "1"),
        ("no json", None),
        ("", None),
    ],
)
def test_whatever_it_is_too_much_is_too_much(v1: Talk, said: str, id: str | None) -> None:
    for _ in range(3):
        v1.ask(type="publish", text="x")

    v1.socket.say(said)

    assert v1.socket.events == [error("rate_limited", "too many messages in too short a time", retry=True, id=id, to=said)]


def test_what_cannot_be_read_counts_too(v1: Talk) -> None:
    for _ in range(4):
        v1.socket.say("no json")

    assert [said["code"] for said in v1.socket.events] == ["bad_request"] * 3 + ["rate_limited"]


def test_after_a_while_more_is_heard(plain: Talk) -> None:
    for _ in range(10):
        plain.socket.say("x")
    plain.heard.clear()

    plain.clock.advance(0.99)
    plain.socket.say("too early")
    plain.clock.advance(0.01)
    plain.socket.say("in time")

    assert plain.heard == [Publish("in time")]


def test_a_rate_of_zero_is_no_limit(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=False, limits=SocketLimits(message_rate=0.0))

    for _ in range(1000):
        talk.socket.say("x")

    assert len(talk.heard) == 1000


def test_a_peer_that_floods_on_is_closed(talk: Talk) -> None:
    for _ in range(3 + ABUSE):
        talk.ask(type="publish", text="x")
    assert (talk.socket.closing, len(talk.socket.texts)) == (None, ABUSE)

    talk.ask(type="publish", text="x")

    assert talk.socket.frames[-1].closing == FLOOD
    assert talk.heard[-1] == FLOOD
    assert talk.ended == [talk.peer]


def test_a_peer_that_is_too_fast_now_and_then_is_not_closed(plain: Talk) -> None:
    for _ in range(10 * ABUSE):
        plain.socket.say("allowed")
        plain.socket.say("allowed, or refused")
        plain.clock.advance(1)

    assert plain.socket.closing is None


def test_a_peer_that_is_always_refused_a_little_more_than_it_is_allowed_is_closed_in_the_end(plain: Talk) -> None:
    rounds = 0
    while plain.socket.closing is None:
        plain.clock.advance(1)
        for _ in range(3):
            if plain.socket.closing is None:
                plain.socket.say("x")
        rounds += 1
        assert rounds <= 2 * ABUSE

    assert plain.socket.closing == FLOOD


def test_pings_are_answered_up_to_a_burst(talk: Talk) -> None:
    talk.socket.hear(client_frame(b"x", PING) * 60)

    assert talk.socket.frames == [Frame(PONG, b"x")] * 60
    assert talk.socket.closing is None


def test_one_ping_more_ends_it(talk: Talk) -> None:
    talk.socket.hear(client_frame(b"x", PING) * 60)
    talk.socket.hear(client_frame(b"x", PING))

    assert talk.socket.frames[-1].closing == FLOOD
    assert talk.heard == [FLOOD]


def test_pongs_are_no_way_to_flood_either(talk: Talk) -> None:
    talk.socket.hear(client_frame(b"x", PONG) * 61)

    assert talk.socket.frames[-1].closing == FLOOD


def test_ten_pings_a_second_are_endured_for_ever(talk: Talk) -> None:
    for _ in range(1000):
        talk.socket.hear(client_frame(b"", PING))
        talk.clock.advance(0.1)

    assert talk.socket.closing is None


def test_the_pongs_of_a_page_are_no_messages_and_no_way_to_flood(v1: Talk) -> None:
    for _ in range(60):
        v1.socket.say('{"type": "pong"}')
    v1.ask(type="publish", text="hello")

    assert v1.heard == [Publish("hello", "lobby")]
    v1.socket.say('{"type": "pong"}')
    assert v1.socket.frames[-1].closing == FLOOD


def test_who_answers_our_pings_is_never_too_fast_however_few_pings_are_allowed(clock: TurnedClock) -> None:
    v1 = Talk(clock, v1=True, limits=SocketLimits(message_rate=0.01, ping_rate=0.001))
    for _ in range(100):
        v1.conn.probe()
        v1.socket.hear(client_frame(b"", PONG))
        v1.socket.say('{"type": "pong"}')
        clock.advance(25)

    assert v1.socket.closing is None
    v1.socket.hear(client_frame(b"", PONG) * 3)
    assert v1.socket.closing == FLOOD


# What is told


def test_what_is_written_goes_to_the_peer_as_it_is(talk: Talk) -> None:
    message = Message("ann", "hi", talk.clock.now())

    talk.conn.write(talk.conn.format.encode([message]))

    assert [frame.opcode for frame in talk.socket.frames] == [TEXT]
    assert "hi" in talk.socket.texts[0]


def test_all_plain_connections_look_alike(clock: TurnedClock) -> None:
    assert Talk(clock, v1=False).conn.format is Talk(clock, v1=False).conn.format is PLAIN


def test_a_plain_peer_is_probed_by_a_ping(plain: Talk) -> None:
    plain.conn.probe()

    assert plain.socket.frames == [Frame(PING, b"")]


def test_a_peer_of_chat_v1_is_probed_so_that_a_browsers_page_sees_it(v1: Talk) -> None:
    v1.conn.probe()

    assert v1.socket.frames == [Frame(PING, b""), Frame(TEXT, b'{"type":"ping"}')]


def test_a_text_can_be_sent_without_a_channel(talk: Talk) -> None:
    talk.conn.send_str("h\u00e9")
    talk.conn.send_str("")

    assert talk.socket.frames[:2] == [Frame(TEXT, "h\u00e9".encode()), Frame(PING, b"")]


@pytest.mark.parametrize("v1", [False, True], ids=["plain", "v1"])
def test_over_a_compressed_socket_all_is_said_as_ever_and_long_things_in_less(clock: TurnedClock, v1: bool) -> None:
    talk = Talk(clock, v1=v1, deflates=True)
    long = "all is said " * 100

    talk.conn.send_str(long)
    talk.conn.send_str("short")
    talk.conn.write(talk.conn.format.encode([Message("ann", long, clock.now())]))
    talk.conn.probe()
    talk.socket.hear(client_frame("\xff" * 1000, BINARY))

    deflated, short, message, *probe, farewell = talk.socket.frames
    assert deflated == Frame(TEXT, long.encode(), deflated=True)
    assert short == Frame(TEXT, b"short")
    assert message.deflated
    assert long in message.payload.decode()
    assert Frame(PING, b"") in probe
    assert not any(frame.deflated for frame in probe)
    assert farewell.closing == NOT_TEXT


@pytest.mark.parametrize("v1", [False, True], ids=["plain", "v1"])
def test_what_comes_compressed_is_what_was_said(clock: TurnedClock, v1: bool) -> None:
    talk = Talk(clock, v1=v1, deflates=True)
    said = '{"type": "publish", "channel": "lobby", "text": "hi"}' if v1 else "hi"

    talk.socket.hear(client_frame(deflated(said.encode()), first=0xC0) + client_frame(said))

    assert talk.heard == [Publish("hi", "lobby" if v1 else "")] * 2


def test_a_text_can_be_received_without_a_channel(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=False, started=False)
    texts = gevent.spawn(lambda: [talk.conn.recv(), talk.conn.recv()])
    gevent.sleep(0)
    gevent.sleep(0)

    talk.socket.hear(client_frame("one") + client_frame("two"))

    assert texts.get(timeout=2) == ["one", "two"]
    talk.socket.hang_up()
    with pytest.raises(ConnEOF), gevent.Timeout(2):
        talk.conn.recv()


def test_pausing_and_resuming_is_the_sockets(talk: Talk) -> None:
    talk.conn.pause()
    assert (talk.socket.paused, talk.socket.reading) == (True, False)
    talk.conn.resume()
    gevent.sleep(0)
    assert (talk.socket.paused, talk.socket.reading) == (False, True)


def test_what_came_in_one_go_with_what_made_us_pause_is_heard_when_it_goes_on(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=False, started=False)

    def hear_one(request: object) -> None:
        talk.heard.append(request)
        talk.conn.pause()

    talk.conn.start(hear_one, talk.heard.append)
    gevent.sleep(0)
    talk.socket.hear(client_frame("one") + client_frame("two"))
    assert talk.heard == [Publish("one")]

    talk.conn.resume()
    gevent.sleep(0)

    assert talk.heard == [Publish("one"), Publish("two")]


# The end


@pytest.mark.parametrize(
    ("end", "closing"),
    [
        (lambda talk: talk.socket.hang_up(), GONE),
        (lambda talk: talk.socket.hear(close_frame(1000, "bye")), Closing(1000, "bye")),
        (lambda talk: talk.socket.hear(client_frame(b"", CLOSE)), Closing(1005)),
        (lambda talk: talk.conn.close(4503, "kicked"), Closing(4503, "kicked")),
        (lambda talk: talk.conn.close(), Closing(1000)),
        (lambda talk: talk.socket.abort(), GONE),
        (lambda talk: talk.socket.hear(b"\x81\x00"), Closing(1002, "incorrect masking")),
        (lambda talk: talk.socket.hear(client_frame(b"\xff")), Closing(1007, "invalid start byte at position 0")),
    ],
    ids=["hangs up", "closes", "closes without a code", "is closed", "is let go", "is cut off", "unmasked", "no UTF-8"],
)
def test_whoever_ends_it_the_channel_and_the_gate_hear_of_it_once(talk: Talk, end: object, closing: Closing) -> None:
    assert callable(end)
    end(talk)
    talk.conn.close(1000)
    talk.socket.abort()
    gevent.sleep(0)

    assert talk.heard == [closing]
    assert set(talk.ended) == {talk.peer}


def test_the_gate_hears_of_it_before_the_channel_does(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=False, started=False)
    seen: list[int] = []
    talk.conn.start(talk.heard.append, lambda closing: seen.append(len(talk.ended)))
    gevent.sleep(0)

    talk.socket.hang_up()

    assert seen == [1]


def test_nothing_is_heard_behind_the_end(plain: Talk) -> None:
    plain.conn.close(1000)

    plain.socket.hear(client_frame("too late"))

    assert plain.heard == [Closing(1000)]


def test_what_was_said_before_the_end_is_heard(plain: Talk) -> None:
    plain.socket.hear(client_frame("last words") + close_frame())

    assert plain.heard == [Publish("last words"), Closing(1000)]


def test_one_that_is_closed_before_it_was_started_is_given_up_by_the_gate_all_the_same(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=False, started=False)

    talk.conn.close(4001, "replaced")

    assert talk.ended == [talk.peer]
    assert talk.socket.frames[-1].closing == Closing(4001, "replaced")


def test_one_that_is_closed_before_it_was_started_tells_the_channel_when_it_is(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=False, started=False)
    talk.conn.close(4501, "logged out")

    talk.start()

    assert talk.heard == [Closing(4501, "logged out")]
    assert set(talk.ended) == {talk.peer}


def test_a_refusal_that_fills_the_queue_of_a_slow_peer_ends_it(clock: TurnedClock) -> None:
    talk = Talk(clock, v1=True, limits=SocketLimits(message_rate=0.0))
    talk.socket.stuck = True
    said = client_frame("no json") * 100

    for _ in range(200):
        if talk.socket.closing is None:
            talk.socket.hear(said)

    assert talk.socket.closing is not None
    assert talk.socket.closing.code == 4008


def test_nothing_of_it_yields(talk: Talk) -> None:
    with never_yields():
        talk.ask(type="publish", text="x")
        talk.socket.say("no json")
        talk.socket.hear(client_frame(b"", PING))
        talk.conn.write(b"\x81\x00")
        talk.conn.probe()
        talk.conn.pause()
        talk.conn.resume()
        talk.conn.close()


# Many channels


class Talks:
    """One peer of chat.v1 that is in several channels, and what each of them hears."""

    def __init__(self, clock: TurnedClock, *channels: str) -> None:
        self.talk = Talk(clock, v1=True, limits=SocketLimits(message_rate=0.0))
        assert isinstance(self.talk.peer, V1Peer)
        self.peer = self.talk.peer
        self.socket = self.talk.socket
        self.heard: dict[str, list[object]] = {"lobby": self.talk.heard}
        self.conns: dict[str, DirectConn] = {"lobby": self.talk.conn}
        for channel in channels:
            self.heard[channel] = []
            self.conns[channel] = self.peer.add(member(channel), f"join {channel}")
            self.conns[channel].start(self.heard[channel].append, self.heard[channel].append)

    def ask(self, **request: object) -> None:
        self.socket.say(json.dumps(request))


@pytest.fixture
def talks(clock: TurnedClock) -> Talks:
    return Talks(clock, "attic", "garden")


def test_each_request_is_heard_by_its_channel_alone(talks: Talks) -> None:
    talks.ask(type="publish", channel="attic", text="hi")
    talks.ask(type="edit", channel="garden", target=1, text="hi")
    talks.ask(type="delete", channel="lobby", target=2)
    talks.ask(type="typing", channel="attic")
    talks.ask(type="read", channel="garden", offset=3)
    talks.ask(type="history", channel="lobby", id="h")

    assert talks.heard == {
        "lobby": [Delete(2, "lobby"), History("h", "lobby")],
        "attic": [Publish("hi", "attic"), Typing("attic")],
        "garden": [Edit(1, "hi", "garden"), Read(3, "garden")],
    }


def test_a_join_is_acked_when_its_channel_starts_it(talks: Talks) -> None:
    assert talks.socket.events == [
        {"type": "ack", "channel": channel, "id": f"join {channel}", "offset": None} for channel in ("attic", "garden")
    ]


def test_joins_and_leaves_are_handed_on_and_a_channel_that_is_being_left_hears_no_more(talks: Talks) -> None:
    talks.ask(type="join", token="t", id="1")
    talks.ask(type="leave", channel="attic", id="2")
    talks.ask(type="publish", channel="attic", text="late", id="3")
    talks.ask(type="leave", channel="attic", id="4")

    assert talks.talk.moves == [Join("t", "1"), Leave("attic", "2")]
    assert talks.heard["attic"] == []
    assert [(event["code"], event["id"]) for event in talks.socket.events[2:]] == [("not_joined", "3"), ("not_joined", "4")]


def test_all_channels_write_to_the_one_socket(talks: Talks) -> None:
    assert {conn.sink for conn in talks.conns.values()} == {talks.socket}


def test_the_socket_is_read_only_while_no_channel_has_paused_it(talks: Talks) -> None:
    lobby, attic, garden = talks.conns.values()

    def reads() -> bool:
        gevent.sleep(0)
        return talks.socket.reading

    attic.pause()
    garden.pause()
    assert not reads()
    attic.resume()
    lobby.resume()
    assert not reads()
    garden.resume()
    assert reads()


@pytest.mark.parametrize("end", ["left", "closed"])
def test_a_channel_that_ends_while_it_pauses_lets_the_others_speak(talks: Talks, end: str) -> None:
    attic = talks.peer.conns[1]
    attic.pause()
    assert not talks.socket.reading

    if end == "left":
        talks.peer.part(Leave("attic", "1"))
    else:
        attic.close(4503, "kicked")
    gevent.sleep(0)

    assert talks.socket.reading


def test_who_is_hushed_is_not_heard_whatever_its_channels_do(talks: Talks) -> None:
    talks.peer.hush()

    for conn in talks.conns.values():
        conn.pause()
        conn.resume()
    talks.conns["attic"].close()
    gevent.sleep(0)

    assert not talks.socket.reading


def test_channels_that_are_idle_together_ask_for_one_sign_of_life(talks: Talks) -> None:
    talks.talk.clock.advance(300)
    for conn in talks.conns.values():
        conn.probe()
    assert talks.socket.pings == 1
    talks.socket.hear(client_frame(b"", PONG))
    talks.talk.clock.advance(300)
    talks.conns["garden"].probe()

    assert talks.socket.pings == 2


def test_the_heartbeat_asks_whether_a_channel_has_asked_or_not(talks: Talks) -> None:
    talks.talk.clock.advance(300)
    talks.conns["attic"].probe()
    talks.peer.probe()

    assert talks.socket.pings == 2


def test_a_channel_that_is_closed_hears_of_it_once_and_the_others_do_not(talks: Talks) -> None:
    for _ in range(2):
        talks.conns["attic"].close(4503, "kicked")
    talks.conns["attic"].write(b"\x81\x00")

    assert talks.heard == {"lobby": [], "attic": [Closing(4503, "kicked")], "garden": []}
    assert talks.socket.events[2:] == [{"type": "closed", "channel": "attic", "code": 4503, "reason": "kicked"}]
    assert (talks.socket.closing, talks.talk.ended) == (None, [])


def test_the_last_channel_that_is_closed_closes_the_socket(talks: Talks) -> None:
    for channel in ("lobby", "garden", "attic"):
        talks.conns[channel].close(4503, f"kicked from {channel}")

    assert talks.socket.frames[-1].closing == Closing(4503, "kicked from attic")
    assert talks.heard["attic"] == [Closing(4503, "kicked from attic")]
    assert talks.peer.conns == ()


def test_whatever_ends_the_socket_ends_all_its_channels_and_the_gate_hears_of_it_first(clock: TurnedClock) -> None:
    talks = Talks(clock, "attic")
    seen: list[int] = []
    late = talks.peer.add(member("cellar"))
    last = talks.peer.add(member("garden"))
    last.start(talks.heard["lobby"].append, lambda _: seen.append(len(talks.talk.ended)))

    talks.socket.hear(close_frame(1000, "bye"))
    late.start(talks.heard["lobby"].append, talks.heard["lobby"].append)

    assert talks.heard == {"lobby": [Closing(1000, "bye")] * 2, "attic": [Closing(1000, "bye")]}
    assert seen == [1]


def test_what_fails_to_be_joined_was_never_there(talks: Talks) -> None:
    conn = talks.peer.add(member("cellar"))

    talks.peer.drop(conn)
    talks.ask(type="publish", channel="cellar", text="x")

    assert talks.socket.events[-1]["code"] == "not_joined"
    assert len(talks.peer.members) == 3


@pytest.mark.parametrize("signal", [{"type": "typing"}, {"type": "read", "offset": 1}])
def test_who_types_and_reads_may_still_speak_and_a_flood_of_it_is_refused_and_then_closed(
    clock: TurnedClock, signal: dict[str, object]
) -> None:
    talk = Talk(clock, v1=True)
    for _ in range(60):
        talk.ask(**signal)
    talk.ask(type="publish", text="hello")
    assert len(talk.heard) == 61

    talk.ask(**signal)
    assert talk.socket.events == [error("rate_limited", "too many messages in too short a time", retry=True, to='"lobby"')]
    for _ in range(ABUSE):
        talk.ask(**signal)
    assert talk.socket.closing == FLOOD


@pytest.mark.parametrize("request_", [{"type": "join", "token": "t"}, {"type": "leave"}, {"type": "history"}])
def test_whatever_else_is_asked_counts_as_a_message(clock: TurnedClock, request_: dict[str, object]) -> None:
    talk = Talk(clock, v1=True)
    for _ in range(3):
        talk.ask(type="publish", text="x")

    talk.ask(id="1", **request_)

    assert (talk.moves, len(talk.heard)) == ([], 3)
    assert [(event["code"], event["id"]) for event in talk.socket.events] == [("rate_limited", "1")]


def test_nothing_of_many_channels_yields(talks: Talks) -> None:
    with never_yields():
        talks.ask(type="join", token="t")
        talks.ask(type="leave", channel="attic")
        talks.conns["garden"].probe()
        talks.conns["garden"].pause()
        talks.conns["garden"].resume()
        talks.peer.part(Leave("attic", "1"))
        talks.conns["garden"].close()
        talks.peer.hush()
        talks.peer.close()


def test_an_idle_peer_of_one_channel_costs_no_more_than_it_has_to(v1: Talk) -> None:
    assert isinstance(v1.peer, V1Peer)

    sizes = [sys.getsizeof(part) for part in (v1.peer, v1.conn, v1.peer.conns)]

    assert sum(sizes) <= 272, sizes
    assert not any(hasattr(part, "__dict__") for part in (v1.peer, v1.conn))
