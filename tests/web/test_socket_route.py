"""The WebSocket's way in, over a real server: in which order is refused, and what is said afterwards.

What is malformed is in test_handshakes.py.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from time import monotonic

import gevent
import pytest
from flask import Flask, Response
from sqlalchemy import text
from werkzeug.middleware.proxy_fix import ProxyFix

from chat.closing import CHANNEL_CLOSED, FLOOD, LOGGED_OUT, NOT_ALLOWED, NOT_TEXT, Closing
from chat.errors import ExpiredToken
from tests.chat.steps import wait_until
from tests.web.conftest import Dial, MakeHost, Serve
from tests.web.fakes import BINARY, HANDSHAKE, PING, PONG, TEXT, Answer, Caller, Frame, client_frame, close_frame, deflated
from web import Chat
from web.websocket.limits import SocketLimits
from web.websocket.upgrade import KEY, Upgrade

ABUSE = SocketLimits().max_refused
V1 = {"Sec-WebSocket-Protocol": "chat.v1"}
WELCOME = {"type", "channel", "user", "users", "count", "epoch", "offset", "recovered", "ping", "limits"}


class House:
    """An application that is served, with one channel, and callers."""

    def __init__(self, app: Flask, port: int, dial: Dial) -> None:
        self.chat: Chat = app.extensions["chat"]
        self._port = port
        self._dial = dial

    def token(self, username: str = "ann", channel: str = "lobby", session: str | None = None) -> str:
        return self.chat.server.request_token(username, channel, session=session)

    def caller(self) -> Caller:
        return self._dial(self._port)

    def ask(
        self,
        token: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        query: str = "",
        **request: str,
    ) -> tuple[Answer, Caller]:
        """Shake hands; a header that is None is left out."""
        caller = self.caller()
        arguments = [f"token={token}"] if token is not None else []
        path = "/chat/ws?" + "&".join([*arguments, query])
        merged = {**HANDSHAKE, "X-Forwarded-For": "192.0.2.1", **(headers or {})}
        caller.request(path, {name: value for name, value in merged.items() if value is not None}, **request)
        return caller.answer(), caller

    def plain(self, username: str = "ann", **more: str) -> Caller:
        """In, by a plain client."""
        answer, caller = self.ask(self.token(username), **more)
        assert answer.status == 101, answer
        return caller

    def v1(self, username: str = "ann", query: str = "", session: str | None = None) -> Caller:
        """In, by chat.v1."""
        answer, caller = self.ask(self.token(username, session=session), V1, query)
        assert answer.status == 101, answer
        return caller

    @property
    def counted(self) -> tuple[int, int]:
        return len(self.chat.gate), len(self.chat.gate.census)

    def until_empty(self) -> None:
        wait_until(lambda: self.counted == (0, 0), timeout=5)


MakeHouse = Callable[..., House]


@pytest.fixture(params=[False, True], ids=["through-flask", "ahead-of-flask"])
def make_house(request: pytest.FixtureRequest, make_host: MakeHost, serve: Serve, dial: Dial) -> MakeHouse:
    def make(**given: object) -> House:
        app = make_host(FAST_HANDSHAKE=request.param, **given)
        app.extensions["chat"].server.create_channel("lobby")
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]  # so that callers have addresses
        return House(app, serve(app), dial)

    return make


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    return make_house(ORIGINS="https://friend.example")


# The order of the refusals


@pytest.mark.parametrize("query", ["token=twice", "epoch=e&offset=-1"])
def test_all_that_is_malformed_is_told_before_the_version(house: House, query: str) -> None:
    answer, _ = house.ask("none", {"Sec-WebSocket-Version": "8"}, query)

    assert (answer.status, answer.code) == (400, "bad_request")


def test_what_stands_in_the_way_first_is_told_first(make_house: MakeHouse) -> None:
    house = make_house(CONNECTIONS=1, DUPLICATE_USER="reject")
    bob = house.plain("bob")
    wrong: dict[str, str | None] = {
        "Sec-WebSocket-Key": "short",
        "Sec-WebSocket-Version": "8",
        "Origin": "https://evil.example",
    }

    told = [house.ask("none", wrong)[0]]
    for header in list(wrong):
        wrong[header] = {**HANDSHAKE, "Origin": None}[header]
        told.append(house.ask("none", wrong)[0])
    house.chat.server.get_channel("lobby").close()
    bob.hang_up()
    house.until_empty()
    told.append(house.ask("none", wrong)[0])

    assert [(answer.status, answer.code) for answer in told] == [
        (400, "bad_handshake"),
        (426, "bad_version"),
        (403, "foreign_origin"),
        (503, "too_many_connections"),
        (401, "invalid_token"),
    ]


def test_the_token_is_looked_at_before_the_name(make_house: MakeHouse) -> None:
    house = make_house(DUPLICATE_USER="reject")
    house.plain("ann")

    spent = house.token("ann")
    assert house.ask(spent)[0].code == "user_already_connected"
    assert house.ask(spent)[0].code == "invalid_token"


def test_a_refused_version_is_told_which_one_is_spoken(house: House) -> None:
    answer, _ = house.ask(house.token(), {"Sec-WebSocket-Version": "8"})

    assert answer.headers["sec-websocket-version"] == "13"
    assert answer.json == {
        "error": {"code": "bad_version", "message": "only version 13 of the WebSocket protocol is spoken here"}
    }


def test_who_does_not_ask_for_a_websocket_is_told_to(house: House) -> None:
    answer, _ = house.ask(house.token(), {"Upgrade": None, "Connection": None})

    assert (answer.headers["upgrade"], answer.headers["connection"].lower()) == ("websocket", "upgrade")
    assert answer.json == {"error": {"code": "upgrade_required", "message": "this address speaks WebSocket only"}}


def test_a_server_that_cannot_carry_websockets_says_which_one_can(house: House) -> None:
    client = house.chat.app.test_client()

    response = client.get("/chat/ws?token=x", headers=[(name, value) for name, value in HANDSHAKE.items()])

    assert response.status_code == 501
    assert response.json is not None
    assert response.json["error"]["code"] == "no_websocket"
    assert "gunicorn -k web.websocket.worker.ChatWorker" in response.json["error"]["message"]


@pytest.mark.parametrize("origin", ["http://chat.test", "http://CHAT.test:80", "https://friend.example", None])
def test_the_own_origin_those_allowed_and_none_are_let_in(house: House, origin: str | None) -> None:
    assert house.ask(house.token(), {"Origin": origin})[0].status == 101


# The token


def test_a_token_is_good_once(house: House) -> None:
    token = house.token()

    assert house.ask(token)[0].status == 101
    assert house.ask(token)[0].code == "invalid_token"


def test_a_token_that_is_too_old_is_told_so(make_house: MakeHouse) -> None:
    house = make_house(TOKEN_DEADLINE=0.001)
    token = house.token()
    over = monotonic() + 0.001
    while monotonic() <= over:  # it passes while what is asked is refused, and the token not spent
        assert house.ask(token, {"Sec-WebSocket-Version": "8"})[0].status == 426

    answer, _ = house.ask(token)

    assert (answer.status, answer.code) == (401, ExpiredToken.code)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_may_come_as_authorization(house: House, scheme: str) -> None:
    assert house.ask(None, {"Authorization": f"{scheme} {house.token()}"})[0].status == 101


def test_another_kind_of_authorization_is_none_of_ours(house: House) -> None:
    assert house.ask(house.token(), {"Authorization": "Basic YW5uOng="})[0].status == 101
    assert house.ask(None, {"Authorization": f"Basic {house.token()}"})[0].status == 401


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("chat.v1, chat.token.{token}", "chat.v1"),
        ("chat.token.{token},chat.v1", "chat.v1"),
        ("other, chat.v1, chat.token.{token}", "chat.v1"),
        ("chat.token.{token}", None),
        ("chat.v2, chat.token.{token}", None),
    ],
)
def test_the_token_may_come_as_a_subprotocol_and_is_never_echoed(house: House, offered: str, chosen: str | None) -> None:
    token = house.token()

    answer, _ = house.ask(None, {"Sec-WebSocket-Protocol": offered.replace("{token}", token)})

    assert answer.status == 101
    assert answer.headers.get("sec-websocket-protocol") == chosen
    assert token not in str(answer.headers)


def test_of_subprotocols_that_are_all_unknown_none_is_chosen_and_plain_text_is_spoken(house: House) -> None:
    answer, caller = house.ask(house.token(), {"Sec-WebSocket-Protocol": "soap, chat.v2"})

    assert answer.status == 101
    assert "sec-websocket-protocol" not in answer.headers
    assert caller.line() == "ann entered lobby!"


def test_a_token_for_a_channel_that_ended_is_404_and_for_one_that_never_was(house: House) -> None:
    token = house.token()
    house.chat.server.get_channel("lobby").close()

    for used in (token, house.token(channel="attic")):
        answer, _ = house.ask(used)
        assert (answer.status, answer.code) == (404, "invalid_channel")
    assert house.counted == (0, 0)


def test_a_name_that_is_taken_is_409_and_costs_no_place(make_house: MakeHouse) -> None:
    house = make_house(DUPLICATE_USER="reject")
    first = house.plain("ann")

    answer, _ = house.ask(house.token("ann"))

    assert (answer.status, answer.json) == (
        409,
        {"error": {"code": "user_already_connected", "message": "a user of that name is in the channel already"}},
    )
    assert house.counted == (1, 1)
    first.hang_up()
    house.until_empty()
    assert house.ask(house.token("ann"))[0].status == 101


def test_who_may_not_join_any_more_is_refused_though_there_is_a_token(make_house: MakeHouse) -> None:
    allowed = {"join"}
    house = make_house(authorize=lambda username, channel, action: action in allowed)
    token = house.token()
    allowed.clear()

    answer, _ = house.ask(token)

    assert (answer.status, answer.code) == (403, "forbidden")
    assert house.counted == (0, 0)


# Full, and draining


def busy(answer: Answer, of: str) -> None:
    message = f"there are too many connections{of}"
    assert (answer.status, answer.json) == (503, {"error": {"code": "too_many_connections", "message": message}})
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(("setting", "of"), [("CONNECTIONS", ""), ("CONNECTIONS_PER_ADDRESS", " from this address")])
def test_a_full_house_refuses_spending_no_token_until_somebody_leaves(make_house: MakeHouse, setting: str, of: str) -> None:
    house = make_house(**{setting: 2})
    first, second = house.plain("ann"), house.v1("bob")
    token = house.token("cid")

    for _ in range(3):
        busy(house.ask(token)[0], of)
    assert house.counted == (2, 2)
    first.send(close_frame())
    assert first.closing() == Closing(1000)
    first.hang_up()
    wait_until(lambda: house.counted == (1, 1))

    assert house.ask(token)[0].status == 101
    second.hang_up()
    wait_until(lambda: house.counted == (1, 1))


def test_a_user_with_too_many_connections_is_refused_until_one_has_ended(make_house: MakeHouse) -> None:
    house = make_house(CONNECTIONS_PER_USER=2)
    first, _ = house.plain("ann"), house.v1("ann")

    busy(house.ask(house.token("ann"))[0], " of this user")
    assert house.ask(house.token("bob"))[0].status == 101
    first.hang_up()
    wait_until(lambda: house.counted == (2, 2))

    assert house.ask(house.token("ann"))[0].status == 101


HERE = "127.0.0.1"


@pytest.mark.parametrize(
    ("addresses", "statuses"),
    [
        (["192.0.2.1", "192.0.2.1", "192.0.2.2"], [101, 503, 101]),
        (["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1"], [101, 503, 101]),  # a customer has a /64
        ([HERE, HERE, HERE], [101, 101, 101]),  # a proxy that was not made known, which would lock everybody out
    ],
)
def test_one_address_is_one_network_and_no_proxy(make_house: MakeHouse, addresses: list[str], statuses: list[int]) -> None:
    house = make_house(CONNECTIONS_PER_ADDRESS=1)

    answers = [house.ask(house.token(), {"X-Forwarded-For": address})[0] for address in addresses]

    assert [answer.status for answer in answers] == statuses


def test_an_address_that_comes_too_often_has_to_wait_and_no_token_is_spent(make_house: MakeHouse) -> None:
    house = make_house(HANDSHAKE_RATE=0.2, CONNECTIONS_PER_USER=0)
    for _ in range(2):  # ten seconds' worth
        assert house.ask(house.token())[0].status == 101
    token = house.token()

    answers = [house.ask(token)[0], house.ask("none")[0]]

    for answer in answers:
        message = "too many requests in too short a time"
        assert (answer.status, answer.json) == (429, {"error": {"code": "rate_limited", "message": message}})
        assert answer.headers["retry-after"] == "5"
    assert house.ask(token, {"X-Forwarded-For": "192.0.2.2"})[0].status == 101
    for _ in range(5):
        assert house.ask(house.token(), {"X-Forwarded-For": HERE})[0].status == 101


def test_a_full_house_is_told_before_the_rate_and_does_not_count(make_house: MakeHouse) -> None:
    house = make_house(HANDSHAKE_RATE=0.2, CONNECTIONS=1)
    first = house.plain()
    for _ in range(5):
        busy(house.ask(house.token())[0], "")
    first.hang_up()
    house.until_empty()

    assert [house.ask(house.token())[0].status for _ in range(2)] == [101, 503]


def test_a_house_that_sees_everybody_off_lets_nobody_in_and_spends_no_token(house: House) -> None:
    token = house.token()
    house.chat.gate.hush()

    busy(house.ask(token)[0], " while the server restarts")

    house.chat.server.redeem(token)


# Whatever becomes of a handshake, its place is given back


def test_a_database_that_fails_meanwhile_costs_no_place(house: House) -> None:
    token = house.token(channel="attic")
    house.chat.database.run(lambda session: session.execute(text("DROP TABLE chat_channels")) and None)

    answer, _ = house.ask(token)

    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert house.counted == (0, 0)


def test_an_authorize_that_fails_costs_no_place(make_house: MakeHouse) -> None:
    def authorize(username: str, channel: str, action: str) -> bool:
        raise RuntimeError("no answer")

    house = make_house(authorize=authorize)

    assert house.ask(house.token())[0].status == 500
    assert house.counted == (0, 0)


def test_a_handshake_that_is_killed_while_it_waits_costs_no_place(house: House) -> None:
    go_on = threading.Event()
    holding = gevent.spawn(house.chat.database.run, lambda session: go_on.wait(5))
    client = house.chat.app.test_client()
    path = f"/chat/ws?token={house.token(channel='attic')}"  # which has to be looked up
    asking = gevent.spawn(client.get, path, headers=HANDSHAKE, environ_overrides={KEY: Upgrade(True)})
    wait_until(lambda: house.counted == (0, 1))

    asking.kill(timeout=5)

    assert house.counted == (0, 0)
    go_on.set()
    holding.get(timeout=5)


def test_a_client_that_has_gone_before_it_is_let_in_costs_no_place_and_no_name(make_house: MakeHouse) -> None:
    asked, go_on = gevent.event.Event(), gevent.event.Event()

    def authorize(username: str, channel: str, action: str) -> bool:
        asked.set()
        return go_on.wait(5)

    house = make_house(authorize=authorize, DUPLICATE_USER="reject")
    caller = house.caller()
    caller.request(f"/chat/ws?token={house.token()}", HANDSHAKE)
    assert asked.wait(5)
    caller.reset()
    go_on.set()

    assert house.ask(house.token())[0].status == 101  # the first was answered before, with a 101 for nobody
    wait_until(lambda: house.counted == (1, 1))


@pytest.mark.parametrize("make_house", [False], ids=["through-flask"], indirect=True)
def test_a_response_that_the_host_replaces_costs_no_place_and_no_name(make_house: MakeHouse) -> None:
    def prepare(app: Flask) -> None:
        app.config["CHAT_DUPLICATE_USER"] = "reject"
        app.after_request(lambda response: app.make_response(("sorry", 418)) if replacing else response)

    replacing = [True]
    house = make_house(prepare=prepare)

    assert house.ask(house.token())[0].status == 418
    assert house.counted == (0, 0)
    replacing.clear()
    assert house.ask(house.token())[0].status == 101


@pytest.mark.parametrize("make_house", [False], ids=["through-flask"], indirect=True)
def test_a_response_whose_status_the_host_changes_lets_nobody_in(make_house: MakeHouse) -> None:
    ended: list[str] = []

    def forbid(response: Response) -> Response:
        response.status_code = 403 if replacing else 101
        response.call_on_close(lambda: ended.append(response.status))
        return response

    replacing = [True]
    house = make_house(prepare=lambda app: app.after_request(forbid), DUPLICATE_USER="reject")

    assert house.ask(house.token())[0].status == 403
    assert house.counted == (0, 0)
    replacing.clear()
    assert house.ask(house.token())[0].status == 101
    assert ended == ["403 FORBIDDEN", "101 SWITCHING PROTOCOLS"]


@pytest.mark.parametrize("leave", ["hangs up", "resets", "says goodbye", "breaks the rules", "is closed with its channel"])
@pytest.mark.parametrize("enter", [House.plain, House.v1], ids=["plain", "v1"])
def test_whoever_leaves_gives_the_place_and_the_name_back(
    make_house: MakeHouse, enter: Callable[[House], Caller], leave: str
) -> None:
    house = make_house(DUPLICATE_USER="reject", CONNECTIONS=1)
    for _ in range(3):
        caller = enter(house)
        caller.text()
        match leave:
            case "hangs up":
                caller.hang_up()
            case "resets":
                caller.reset()
            case "says goodbye":
                caller.send(close_frame(1001))
                assert caller.closing() == Closing(1001)
                assert caller.at_end()
            case "breaks the rules":
                caller.send(b"\x81\x01x")
                assert caller.closing().code == 1002
            case _:
                house.chat.server.get_channel("lobby").close()
                assert caller.closing() == CHANNEL_CLOSED
                house.chat.server.create_channel("lobby")
        caller.hang_up()
        house.until_empty()


# What is said: plain


def test_plain_clients_talk(house: House) -> None:
    ann = house.plain("ann")
    line = ann.text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d - \d\d:\d\d:\d\d \(\+0000\) > ann entered lobby!", line)
    bob = house.plain("bob")
    assert [ann.line(), bob.line()] == ["bob entered lobby!"] * 2

    ann.say("h\u00e9llo")
    assert [ann.line(), bob.line()] == ["ann: h\u00e9llo"] * 2
    bob.say('{"type": "publish"}')
    assert [ann.line(), bob.line()] == ['bob: {"type": "publish"}'] * 2
    ann.hang_up()
    assert bob.line() == "ann exited lobby..."


@pytest.mark.parametrize("early", ["early", "early\r\n\r\n", "early\n\r\n"])
@pytest.mark.parametrize("blank", ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"])
def test_frames_that_came_with_the_handshake_are_not_lost(house: House, blank: str, early: str) -> None:
    caller = house.caller()
    lines = [f"GET /chat/ws?token={house.token()} HTTP/1.1", *(f"{name}: {value}" for name, value in HANDSHAKE.items())]
    caller.send("\r\n".join(lines).encode() + blank.encode() + client_frame(early))

    assert caller.answer().status == 101
    assert caller.line() == "ann entered lobby!"
    assert caller.line().startswith("ann: early")


def test_a_plain_client_is_told_what_was_not_sent_and_stays(make_house: MakeHouse) -> None:
    house = make_house(MAX_MESSAGE=5)
    ann = house.plain("ann")
    ann.line()

    for said, why in [
        ("123456", "the message has 6 bytes, at most 5 are allowed"),
        ("\U0001f600\U0001f600", "the message has 8 bytes, at most 5 are allowed"),
        ("a\0b", "the text holds U+0000 or a lone surrogate"),
    ]:
        ann.say(said)
        assert ann.line() == f"Not sent: {why}"
    ann.say("12345")
    assert ann.line() == "ann: 12345"


def test_binary_is_not_spoken(house: House) -> None:
    for caller in (house.plain("ann"), house.v1("bob")):
        caller.send(client_frame(b"\x00", BINARY))
        assert caller.closing() == NOT_TEXT
        caller.send(close_frame(1003))
        assert caller.at_end()
        caller.hang_up()
    house.until_empty()


def test_a_frame_over_64_kib_ends_it(house: House) -> None:
    ann = house.plain("ann")

    size = 64 * 1024 + 1
    ann.send(bytes([0x81, 0xFF]) + size.to_bytes(8, "big") + bytes(4))

    assert ann.closing().code == 1009
    house.until_empty()


# What is said: chat.v1


def test_chat_v1_begins_with_a_welcome(house: House) -> None:
    ann = house.v1("ann")

    welcome, joined = ann.event(), ann.event()

    assert welcome.keys() == WELCOME
    assert welcome == {
        "type": "welcome",
        "channel": "lobby",
        "user": {"user": "ann"},
        "users": [{"user": "ann"}],
        "count": 1,
        "epoch": house.chat.server.get_channel("lobby").epoch,
        "offset": 0,
        "recovered": False,
        "ping": 25.0,
        "limits": {"message": 4096, "rate": 10.0, "channels": 100, "history": 200},
    }
    assert joined == {"type": "joined", "channel": "lobby", "user": {"user": "ann"}}


def test_chat_v1_tells_the_display_name_of_who_comes_and_the_username_of_who_speaks_and_goes(house: House) -> None:
    server = house.chat.server
    bob = house.v1("bob")
    bob.events_until("joined")
    named = {"user": "ann", "name": "Ann Example"}
    _, ann = house.ask(server.request_token("ann", "lobby", data={"name": "Ann Example", "plan": "free"}), V1)

    welcome = ann.event()
    ann.ask(type="publish", channel="lobby", text="hi")
    ann.events_until("message")
    ann.hang_up()
    joined, message, left = bob.events_until("left")

    assert (welcome["user"], welcome["users"]) == (named, [named, {"user": "bob"}])
    assert (joined["user"], message["from"], left["user"]) == (named, "ann", {"user": "ann"})
    assert "name" not in message


def test_chat_v1_talks_and_is_told_what_became_of_it(house: House) -> None:
    ann, bob = house.v1("ann"), house.v1("bob")
    ann.events_until("joined")
    bob.events_until("joined")
    assert ann.event()["user"] == {"user": "bob"}

    ann.ask(type="publish", channel="lobby", text="hi", id="1")
    said = ann.event()
    assert said.pop("date")
    assert said == {"type": "message", "channel": "lobby", "offset": 1, "id": "1", "from": "ann", "text": "hi"}
    assert ann.event() == {"type": "ack", "channel": "lobby", "id": "1", "offset": 1}
    assert bob.event()["text"] == "hi"

    ann.ask(type="publish", channel="lobby", text="psst", id="2", to="bob")
    for caller in (ann, bob):
        said = caller.event()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(said.pop("date")))
        assert said == {"type": "whisper", "channel": "lobby", "id": "2", "from": "ann", "to": "bob", "text": "psst"}
    assert ann.event() == {"type": "ack", "channel": "lobby", "id": "2", "offset": None}

    ann.hang_up()
    assert bob.event() == {"type": "left", "channel": "lobby", "user": {"user": "ann"}}


@pytest.mark.parametrize(
    ("said", "code", "id", "retry"),
    [
        ("no json", "bad_request", None, False),
        ('{"type": "publish"', "bad_request", None, False),
        ("[" * 60_000, "bad_request", None, False),
        ('{"x":' * 10_000, "bad_request", None, False),
        ('{"type": "dance", "channel": "lobby", "id": "1"}', "bad_request", "1", False),
        ('{"type": "publish", "channel": "lobby", "text": 7, "id": "1"}', "bad_request", "1", False),
        ('{"type": "publish", "channel": "lobby", "text": "\\ud800", "id": "1"}', "bad_request", None, False),
        ('{"type": "publish", "text": "x", "id": "1"}', "bad_request", "1", False),
        ('{"type": "publish", "channel": "attic", "text": "x", "id": "1"}', "not_joined", "1", False),
        ('{"type": "publish", "channel": "lobby", "text": "a\\u0000b", "id": "1"}', "bad_text", "1", False),
        (json.dumps({"type": "publish", "channel": "lobby", "text": "x" * 4097, "id": "1"}), "message_too_big", "1", False),
        ('{"type": "publish", "channel": "lobby", "text": "x", "id": "1", "to": "bob"}', "not_here", "1", False),
        ('{"type": "publish", "channel": "lobby", "text": "x", "id": "1", "to": ""}', "invalid_user", "1", False),
    ],
    ids=lambda given: str(given)[:60],
)
def test_chat_v1_is_told_what_was_refused_and_stays(
    house: House, said: str, code: str, id: str | None, retry: bool
) -> None:
    ann = house.v1("ann")
    ann.events_until("joined")

    ann.say(said)

    error = ann.event()
    assert error.pop("message")
    if "channel" in error:
        assert f'"channel": "{error.pop("channel")}"' in said
    assert error == {"type": "error", "code": code, "retry": retry, **({"id": id} if id else {})}
    ann.ask(type="publish", channel="lobby", text="still here")
    assert ann.event()["text"] == "still here"


def test_what_somebody_may_not_do_is_refused_by_name(make_house: MakeHouse) -> None:
    house = make_house(authorize=lambda username, channel, action: action in ("join", "whisper"))
    ann = house.v1("ann")
    ann.events_until("joined")

    ann.ask(type="publish", channel="lobby", text="x", id="1")
    assert ann.event()["code"] == "forbidden"
    ann.ask(type="publish", channel="lobby", text="x", id="2", to="ann")
    assert ann.events_until("ack")[-1]["id"] == "2"


# Compressed

OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
FIN, RSV1 = 0x80, 0x40


@pytest.mark.parametrize("headers", [{}, V1], ids=["plain", "v1"])
def test_compression_is_for_those_who_offer_it(make_house: MakeHouse, headers: dict[str, str | None]) -> None:
    house = make_house(COMPRESSION=True)
    long = "hear, hear " * 100

    answer, ann = house.ask(house.token("ann"), {**headers, **OFFER})
    assert answer.headers["sec-websocket-extensions"] == AGREED
    answer, bob = house.ask(house.token("bob"), headers)
    assert "sec-websocket-extensions" not in answer.headers

    said = json.dumps({"type": "publish", "channel": "lobby", "text": long}) if headers else long
    ann.send(client_frame(deflated(said.encode()), first=FIN | RSV1))
    heard = {
        caller: next(frame for frame in iter(caller.frame, None) if long in frame.payload.decode()) for caller in (ann, bob)
    }
    assert heard[ann] == Frame(TEXT, heard[bob].payload, deflated=True)
    assert not heard[bob].deflated


def test_nobody_is_compressed_where_it_is_not_set(house: House) -> None:
    answer, ann = house.ask(house.token("ann"), OFFER)

    assert "sec-websocket-extensions" not in answer.headers
    ann.send(client_frame(deflated(b"x"), first=FIN | RSV1))
    assert ann.closing() == Closing(1002, "reserved bits must be 0")


def test_what_inflates_to_more_than_64_kib_ends_it(make_house: MakeHouse) -> None:
    house = make_house(COMPRESSION=True)
    _, ann = house.ask(house.token("ann"), OFFER)

    ann.send(client_frame(deflated(b"x" * (64 * 1024 + 1)), first=FIN | RSV1))

    assert ann.closing() == Closing(1009, "frame exceeds limit of 65536 bytes")
    house.until_empty()


# Coming back


def talked(house: House, many: int) -> str:
    """Let something be said, and return the epoch."""
    channel = house.chat.server.get_channel("lobby")
    for number in range(1, many + 1):
        channel.new_broadcast(f"message {number}", "bob")
    channel.flush()
    return channel.epoch


@pytest.mark.parametrize(("offset", "missed"), [(0, [1, 2, 3]), (2, [3]), (3, [])])
def test_who_comes_back_gets_what_was_missed_before_anything_else(house: House, offset: int, missed: list[int]) -> None:
    epoch = talked(house, 3)

    ann = house.v1("ann", f"epoch={epoch}&offset={offset}")

    welcome = ann.event()
    assert (welcome["recovered"], welcome["offset"]) == (True, 3)
    events = ann.events_until("joined")[:-1]
    assert [(event["offset"], event["text"]) for event in events] == [(at, f"message {at}") for at in missed]


@pytest.mark.parametrize(
    "query",
    ["epoch=other&offset=1", "epoch={epoch}&offset=4", "epoch={epoch}&offset=123456789012345678", "epoch=&offset=0"],
)
def test_what_cannot_be_told_is_told_to_be_unrecovered(house: House, query: str) -> None:
    epoch = talked(house, 3)

    ann = house.v1("ann", query.replace("{epoch}", epoch))

    welcome, then = ann.event(), ann.event()
    assert (welcome["recovered"], welcome["offset"], then["type"]) == (False, 3, "joined")


def test_too_much_is_not_told_again(make_house: MakeHouse) -> None:
    house = make_house(RESUME_LIMIT=2)
    epoch = talked(house, 3)

    assert house.v1("ann", f"epoch={epoch}&offset=1").event()["recovered"] is True
    assert house.v1("bob", f"epoch={epoch}&offset=0").event()["recovered"] is False


@pytest.mark.parametrize("query", ["epoch={epoch}", "offset=1", "offset=nonsense"])
def test_half_of_what_is_needed_is_none_of_it(house: House, query: str) -> None:
    epoch = talked(house, 3)

    assert house.v1("ann", query.replace("{epoch}", epoch)).event()["recovered"] is False


# How much


def test_too_many_messages_are_refused_with_their_ids_and_a_flood_is_closed(make_house: MakeHouse) -> None:
    house = make_house(MESSAGE_RATE=0.1)
    ann = house.v1("ann")
    ann.events_until("joined")

    for number in range(ABUSE + 1):
        ann.ask(type="publish", channel="lobby", text="x", id=str(number))
    events = [ann.event() for _ in range(2 + ABUSE)]
    errors = [event for event in events if event["type"] == "error"]
    assert [event["id"] for event in events if event["type"] == "ack"] == ["0"]
    assert [event["id"] for event in errors] == [str(number) for number in range(1, ABUSE + 1)]
    assert {(event["code"], event["retry"]) for event in errors} == {("rate_limited", True)}

    ann.ask(type="publish", channel="lobby", text="x", id="last")
    assert ann.closing() == FLOOD
    ann.hang_up()
    house.until_empty()


def test_a_flood_of_pings_is_closed(house: House) -> None:
    ann = house.plain("ann")
    ann.line()

    ann.send(client_frame(b"p", PING))
    assert ann.frame() == Frame(PONG, b"p")
    ann.send(client_frame(b"", PING) * 200)

    assert ann.closing() == FLOOD
    ann.hang_up()
    house.until_empty()


def test_one_who_floods_costs_nobody_else_anything(make_house: MakeHouse) -> None:
    house = make_house(MESSAGE_RATE=1)
    ann, bob = house.plain("ann"), house.plain("bob")
    for _ in range(3 + ABUSE + 1):
        ann.say("x")
    assert ann.closing() == FLOOD

    bob.say("at last")

    lines = []
    while not lines or lines[-1] != "bob: at last":
        lines.append(bob.line())
    assert lines.count("ann: x") == 3


# What the application decides meanwhile


def test_a_login_that_ends_ends_its_sockets_alone(house: House) -> None:
    ended, other = house.v1("ann", session="one"), house.v1("ann", session="two")
    wait_until(lambda: house.counted == (2, 2))

    house.chat.close_session("one")

    assert ended.closing() == LOGGED_OUT
    house.chat.server.get_channel("lobby").new_system_broadcast("hello")
    assert other.events_until("message")[-1]["text"] == "hello"


def test_authorize_is_asked_again_and_who_may_not_stay_is_closed(make_house: MakeHouse) -> None:
    banned: set[str] = set()
    house = make_house(
        authorize=lambda username, channel, action: (username, action) != ("ann", "join") or "ann" not in banned,
        REAUTHORIZE=0.02,
    )
    ann, bob = house.v1("ann"), house.v1("bob")
    ann.events_until("joined")

    banned.add("ann")

    assert ann.closing() == NOT_ALLOWED
    assert bob.events_until("left")[-1]["user"] == {"user": "ann"}


def test_an_authorize_that_fails_later_changes_nothing(make_house: MakeHouse, caplog: pytest.LogCaptureFixture) -> None:
    fails: list[bool] = []

    def authorize(username: str, channel: str, action: str) -> bool:
        if fails:
            fails.append(True)
            raise RuntimeError("no answer")
        return True

    house = make_house(authorize=authorize, REAUTHORIZE=0.02)
    ann = house.plain("ann")
    ann.line()
    fails.append(True)
    wait_until(lambda: len(fails) > 2)

    ann.say("still here")

    assert ann.line() == "ann: still here"
    assert "authorize() failed; this user keeps what it had" in caplog.text


# The end


def test_everybody_is_seen_off_with_the_time_to_come_back(house: House) -> None:
    callers = [house.v1("ann"), house.plain("bob")]
    callers[0].ask(type="publish", channel="lobby", text="last words", id="1")
    wait_until(lambda: house.chat.server.get_channel("lobby").offset == 1)
    draining = gevent.spawn(house.chat.drain)

    for caller in callers:
        closing = caller.closing()
        assert closing.code == 1012
        assert re.fullmatch(r"retry=[01]\.\d{3}", closing.reason)
        caller.send(close_frame(1012))
        assert caller.at_end()
        caller.hang_up()
    draining.get(timeout=5)


def test_a_short_time_for_draining_is_enough_to_say_goodbye(make_house: MakeHouse) -> None:
    house = make_house(DRAIN_TIMEOUT=1.0)
    caller = house.v1()
    wait_until(lambda: house.chat.server.get_channel("lobby").get_users() == ["ann"])
    caller.ask(type="publish", channel="lobby", text="unheard")  # and unread, so closing hard would be a reset
    draining = gevent.spawn(house.chat.drain)

    assert caller.closing().code == 1012
    caller.send(close_frame(1012))
    assert caller.at_end()
    caller.hang_up()
    draining.get(timeout=5)
