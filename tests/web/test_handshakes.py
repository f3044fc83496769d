"""Every handshake that is malformed or hostile: the answer to the letter, in the log nothing, and the token is kept.

Through Flask and ahead of it; one server each for the whole table.
"""

import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import gevent
import pytest
from flask import Flask
from gevent.pywsgi import WSGIServer

from chat.errors import InvalidToken
from tests.chat.steps import wait_until
from tests.web.fakes import HANDSHAKE, KEY, Answer, Caller, client_frame
from web import Chat
from web.websocket.handler import WebSocketHandler
from web.websocket.limits import HttpLimits
from web.websocket.refusal import GUARDS
from web.websocket.serving import limited


class Door:
    """An application that is served twice: as it is, and by a server that waits for no more than a moment."""

    def __init__(self, app: Flask) -> None:
        self.chat: Chat = app.extensions["chat"]
        self.chat.server.create_channel("lobby")
        self.errors = StringIO()
        self.port = self._serve(app, HttpLimits())
        self.hasty_port = self._serve(app, HttpLimits(header_timeout=0.05))

    def _serve(self, app: Flask, limits: HttpLimits) -> int:
        handler = limited(WebSocketHandler, {limits})
        server = WSGIServer(("127.0.0.1", 0), app, handler_class=handler, log=None, error_log=self.errors)
        server.start()
        self._servers = [*getattr(self, "_servers", ()), server]
        return int(server.server_port)

    def token(self, channel: str = "lobby") -> str:
        return self.chat.server.request_token("ann", channel)

    def close(self) -> None:
        for server in self._servers:
            server.stop(timeout=1)
        self.chat.drain()


@pytest.fixture(scope="module", params=[False, True], ids=["through-flask", "ahead-of-flask"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder: Path = tmp_path_factory.mktemp("instance")
    app = Flask("host", instance_path=str(folder))
    app.config.update(SECRET_KEY="host", CHAT_DATABASE_URL="sqlite://", CHAT_DRAIN_TIMEOUT=1)
    app.config.update(CHAT_FAST_HANDSHAKE=request.param, CHAT_ORIGINS="https://friend.example")
    Chat(app, identify=lambda: None)
    door = Door(app)
    yield door
    with gevent.Timeout(10):
        door.close()


@pytest.fixture
def quiet(door: Door, caplog: pytest.LogCaptureFixture, no_crash: None) -> Iterator[None]:
    """Fails a test after which there is anything in a log that somebody should look at."""
    caplog.set_level(logging.INFO)
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []
    assert door.errors.getvalue() == ""


class Row(NamedTuple):
    """What is sent, with `{token}` for a fresh token, and what is answered."""

    name: str
    sent: str
    status: int
    code: str
    message: str


LINE = "GET /chat/ws?token={token} HTTP/1.1"


def shake(*more: str, line: str = LINE, **changed: str | None) -> str:
    """A handshake with other headers, None for without; `more` are whole lines."""
    headers = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None), *more, "", ""]
    return "\r\n".join(lines)


def query(arguments: str) -> str:
    return shake(line=f"GET /chat/ws?{arguments} HTTP/1.1")


def bare(*more: str) -> str:
    """One without a query."""
    return shake(*more, line="GET /chat/ws HTTP/1.1")


def bad_request(name: str, sent: str, message: str) -> Row:
    return Row(name, sent, 400, "bad_request", message)


def bad_handshake(name: str, sent: str, message: str) -> Row:
    return Row(name, sent, 400, "bad_handshake", message)


def wrong_key(name: str, key: str | None) -> Row:
    return bad_handshake(name, shake(Sec_WebSocket_Key=key), NO_KEY)


def wrong_version(name: str, version: str | None) -> Row:
    message = "only version 13 of the WebSocket protocol is spoken here"
    return Row(name, shake(Sec_WebSocket_Version=version), 426, "bad_version", message)


def foreign(name: str, *more: str, **changed: str) -> Row:
    return Row(name, shake(*more, **changed), 403, "foreign_origin", "this origin may not connect here")


def two_tokens(name: str, sent: str) -> Row:
    return bad_request(name, sent, "the token comes in more than one place")


def no_token(name: str, sent: str) -> Row:
    return Row(name, sent, 401, "invalid_token", InvalidToken.text)


def too_large(name: str, *more: str) -> Row:
    return Row(name, shake(*more), 431, "headers_too_large", "the headers are too long, or too many")


def wrong_offset(offset: str) -> Row:
    message = "offset: a whole number, 0 or more, is wanted"
    return bad_request(f"offset {offset}", query(f"token={{token}}&epoch=e&offset={offset}"), message)


def only_sockets(name: str, sent: str) -> Row:
    return Row(name, sent, 426, "upgrade_required", "this address speaks WebSocket only")


def no_post(name: str, sent: str) -> Row:
    return Row(name, sent, 405, "method_not_allowed", "this address speaks WebSocket only")


NO_KEY = "Sec-WebSocket-Key is missing or wrong"
NO_LINE = "this is no request line of HTTP/1.1"
HEADER = "a header line is malformed"
TWICE = "a header came twice that may come only once"
LENGTH = "the length of the body is in doubt"
BODY = "there is a body"
NO_UPGRADE = "no upgrade to a WebSocket is asked for"

ROWS = [
    # The key
    wrong_key("no key", None),
    wrong_key("an empty key", ""),
    wrong_key("a key of fifteen bytes", "dGhlIHNhbXBsZSBub25j"),
    wrong_key("a key of seventeen bytes", "dGhlIHNhbXBsZSBub25jZTE="),
    wrong_key("a key of 6000 bytes", "A" * 8000),
    wrong_key("a key without its padding", "dGhlIHNhbXBsZSBub25jZQ"),
    wrong_key("a key that is no base64", "!" * 22 + "=="),
    wrong_key("a key that is not ASCII", "\xe9" * 22 + "=="),
    wrong_key("two keys in one header", f"{KEY}, {KEY}"),
    bad_handshake("two keys", shake(f"Sec-WebSocket-Key: {KEY}"), NO_KEY),
    # The version
    wrong_version("version 8", "8"),
    wrong_version("version 14", "14"),
    wrong_version("version 013", "013"),
    wrong_version("version 13 in Arabic digits as latin-1", "\xd9\xa1\xd9\xa3"),
    wrong_version("no version", None),
    wrong_version("two versions in one header", "13, 8"),
    Row("the version twice", shake("Sec-WebSocket-Version: 13"), *wrong_version("", "")[2:]),
    # The protocol below
    bad_handshake("HTTP/1.0", shake(line=LINE.replace("1.1", "1.0")), "the protocol is not HTTP/1.1"),
    bad_handshake("HTTP/1.2", shake(line=LINE.replace("1.1", "1.2")), "the protocol is not HTTP/1.1"),
    bad_request("HTTP/0.9", "GET /chat/ws?token={token}\r\n\r\n", NO_LINE),
    bad_request("HTTP/2", shake(line=LINE.replace("1.1", "2")), NO_LINE),
    bad_request("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO_LINE),
    bad_request("the beginning of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x0a" * 32, NO_LINE),
    bad_request("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", NO_LINE),
    bad_request("two spaces in the line", shake(line=LINE.replace(" /", "  /")), NO_LINE),
    bad_request("a tab in the line", shake(line=LINE.replace(" /", "\t/")), NO_LINE),
    bad_request("NUL in the line", shake(line=LINE.replace("token", "\0token")), NO_LINE),
    bad_request("an empty line first", "\r\n" + shake(), NO_LINE),
    Row("a line that is too long", query("x" * 9000), 414, "uri_too_long", "the request line is too long"),
    # Headers
    bad_handshake("no Host", shake(Host=None), "there is no Host"),
    bad_handshake("an empty Host", shake(Host=""), "there is no Host"),
    bad_request("two Hosts", shake("Host: chat.test"), TWICE),
    bad_request("NUL in a header", shake("X: a\0b"), HEADER),
    bad_request("CR in a header", shake("X: a\rb"), HEADER),
    bad_request("a folded header", shake("X: a", " b"), HEADER),
    bad_request("a folded version", shake("X: a", "\tSec-WebSocket-Version: 13"), HEADER),
    bad_request("a space before the colon", shake("X : a"), HEADER),
    bad_request("a header without a colon", shake("X"), HEADER),
    bad_request("a header without a name", shake(": a"), HEADER),
    too_large("a header that is too long", "X: " + "x" * 40_000),
    too_large("200 headers", *["X: a"] * 200),
    bad_handshake("a key with underscores", shake(f"Sec_WebSocket_Key: {KEY}", Sec_WebSocket_Key=None), NO_KEY),
    # Bodies
    bad_handshake("a body", shake("Content-Length: 5") + "hello", BODY),
    bad_handshake("a body that never comes", shake("Content-Length: 05"), BODY),
    bad_handshake("a body in chunks", shake("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", BODY),
    bad_handshake("malformed chunks", shake("Transfer-Encoding: chunked") + "hello", BODY),
    bad_request("a body of another coding", shake("Transfer-Encoding: gzip"), "the only transfer coding is chunked"),
    bad_request("two lengths", shake("Content-Length: 0", "Content-Length: 0"), TWICE),
    bad_request("a length and chunks", shake("Content-Length: 5", "Transfer-Encoding: chunked"), LENGTH),
    bad_request("a negative length", shake("Content-Length: -1"), LENGTH),
    bad_request("a length with a sign", shake("Content-Length: +0"), LENGTH),
    Row("a body of a petabyte", shake("Content-Length: 999999999999999"), 413, "body_too_large", "the body is too large"),
    # What is asked for
    bad_handshake("Upgrade without Connection", shake(Connection=None), NO_UPGRADE),
    bad_handshake("Connection without the option", shake(Connection="keep-alive"), NO_UPGRADE),
    bad_handshake("an option that only resembles it", shake(Connection="Upgrades"), NO_UPGRADE),
    only_sockets("Connection without Upgrade", shake(Upgrade=None)),
    only_sockets("an upgrade to something else", shake(Upgrade="h2c")),
    only_sockets("no upgrade at all", shake(Upgrade=None, Connection=None)),
    bad_handshake("OPTIONS", shake(line=LINE.replace("GET", "OPTIONS")), "the method is not GET"),
    no_post("POST without Upgrade", shake(line=LINE.replace("GET", "POST"), Upgrade=None)),
    no_post("DELETE without anything", "DELETE /chat/ws HTTP/1.1\r\nHost: chat.test\r\n\r\n"),
    # The origin
    foreign("a foreign origin", Origin="https://evil.example"),
    foreign("the own one over TLS", Origin="https://chat.test"),
    foreign("another port of the own", Origin="http://chat.test:8080"),
    foreign("a name that only begins like the own", Origin="http://chat.test.evil.example"),
    foreign("a name before the own", Origin="http://evil@chat.test"),
    foreign("an origin with a path", Origin="http://chat.test/page"),
    foreign("an origin without a scheme", Origin="chat.test"),
    foreign("an origin that is no address", Origin="http://[chat.test"),
    foreign("an origin of no meaning", Origin="null"),
    foreign("an empty origin", Origin=""),
    foreign("two origins", "Origin: http://chat.test", Origin="http://chat.test"),
    foreign("two origins, one of them foreign", "Origin: https://evil.example", Origin="http://chat.test"),
    # The token, and where it comes
    no_token("no token", bare()),
    no_token("an empty token", query("token=")),
    no_token("a token that is too short", query("token=" + "a" * 63)),
    no_token("a token that is too long", query("token={token}a")),
    no_token("a token that is no number", query("token=" + "g" * 64)),
    no_token("a token that was never issued", query("token=" + "0" * 64)),
    no_token("a token with a space", query("token={token}%20")),
    no_token("a token with NUL", query("token={token}%00")),
    no_token("a token that is not UTF-8", query("token=%ff%fe")),
    no_token("a token in a field of another name", query("TOKEN={token}")),
    no_token("a token behind a fragment", query("x#token={token}")),
    no_token("a token as Basic", bare("Authorization: Basic {token}")),
    no_token("a token without its scheme", bare("Authorization: {token}")),
    no_token("Bearer without a token", bare("Authorization: Bearer")),
    no_token("an empty token as a subprotocol", bare("Sec-WebSocket-Protocol: chat.token.")),
    no_token("a token as a subprotocol of another name", bare("Sec-WebSocket-Protocol: chat.v1, {token}")),
    no_token("a token as a cookie", bare("Cookie: token={token}")),
    two_tokens("a token twice in the query", query("token={token}&token={token}")),
    two_tokens("an empty token beside the token", query("token=&token={token}")),
    two_tokens("a token in the query and as Bearer", shake("Authorization: Bearer {token}")),
    two_tokens("a token in the query and as a subprotocol", shake("Sec-WebSocket-Protocol: chat.v1, chat.token.{token}")),
    two_tokens("two subprotocols with it", bare("Sec-WebSocket-Protocol: chat.token.{token}, chat.token.{token}")),
    bad_request("Bearer twice", bare("Authorization: Bearer {token}", "Authorization: Bearer {token}"), TWICE),
    # The rest of the query
    *map(wrong_offset, ["-1", "1.5", "1.0", "%2B1", "", "one", "1e3", "0x1", "%D9%A1", "1_0", "9" * 19, "9" * 5000]),
    bad_request("a query of very many fields", query("&".join(["a=1"] * 101)), "the query string has too many fields"),
]  # fmt: skip


def answer_to(port: int, sent: str) -> tuple[Answer, Caller]:
    caller = Caller(port)
    caller.send(sent.encode("latin-1"))
    return caller.answer(), caller


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_no_good_handshake_is_told_so_and_costs_nothing(door: Door, quiet: None, row: Row) -> None:
    token = door.token()

    answer, caller = answer_to(door.port, row.sent.replace("{token}", token))
    caller.hang_up()

    assert (answer.status, answer.json) == (row.status, {"error": {"code": row.code, "message": row.message}})
    assert answer.headers["content-type"] == "application/json"
    assert {name: answer.headers[name.lower()] for name in GUARDS} == GUARDS
    assert token.encode() not in answer.body
    assert (len(door.chat.gate), len(door.chat.gate.census)) == (0, 0)
    assert door.chat.server.redeem(token).username == "ann"


def test_no_two_rows_are_alike() -> None:
    assert len(ROWS) >= 100
    assert len({row.name for row in ROWS}) == len({row.sent for row in ROWS}) == len(ROWS)


# What a table of single requests cannot say


@pytest.mark.parametrize("method", ["POST", "DELETE", "BREW"])
def test_a_handshake_of_another_method_is_the_applications_to_refuse(door: Door, quiet: None, method: str) -> None:
    token = door.token()

    answer, caller = answer_to(door.port, shake(line=LINE.replace("GET", method)).replace("{token}", token))
    caller.hang_up()

    assert answer.status == 405
    assert "GET" in answer.headers["allow"]
    assert door.chat.server.redeem(token).username == "ann"


@pytest.mark.parametrize(
    "changed",
    [
        {"Upgrade": "websocket, h2c"},
        {"Upgrade": "WebSocket"},
        {"Connection": "keep-alive,\tUpgrade ,x"},
        {"Sec_WebSocket_Protocol": "soap"},
        {"Sec_WebSocket_Extensions": "x" * 1000},
        {"Content_Length": "0"},
    ],
    ids=str,
)
def test_what_is_only_unusual_is_let_in(door: Door, quiet: None, changed: dict[str, str]) -> None:
    answer, caller = answer_to(door.port, shake(**changed).replace("{token}", door.token()))

    assert answer.status == 101
    assert caller.line() == "ann entered lobby!"
    leave(door, caller)


@pytest.mark.parametrize("token", ["spent", "of no channel"])
def test_a_token_that_was_good_once_is_told_what_it_is_now(door: Door, quiet: None, token: str) -> None:
    tokens = {"spent": door.token(), "of no channel": door.token("attic")}
    door.chat.server.redeem(tokens["spent"])

    answer, caller = answer_to(door.port, shake().replace("{token}", tokens[token]))
    caller.hang_up()

    expected = {"spent": (401, "invalid_token"), "of no channel": (404, "invalid_channel")}
    assert (answer.status, answer.code) == expected[token]
    assert (len(door.chat.gate), len(door.chat.gate.census)) == (0, 0)


@pytest.mark.parametrize(
    ("behind", "code"),
    [
        (b"\x81\x05hello", 1002),
        (b"\xf1\x80" + bytes(4), 1002),
        (b"\x81\xff" + (2**63 - 1).to_bytes(8, "big") + bytes(4), 1009),
        (b"GET /chat/ws HTTP/1.1\r\n\r\n", 1002),
    ],
    ids=["unmasked", "reserved bits", "giant", "another request"],
)
def test_what_comes_right_behind_a_handshake_is_taken_for_frames(door: Door, quiet: None, behind: bytes, code: int) -> None:
    answer, caller = answer_to(door.port, shake().replace("{token}", door.token()) + behind.decode("latin-1"))

    assert answer.status == 101
    assert caller.closing().code == code
    leave(door, caller)


def test_what_comes_behind_a_handshake_that_was_refused_lets_nobody_in(door: Door, quiet: None) -> None:
    token = door.token()
    refused = shake(Sec_WebSocket_Key=None) + client_frame(f"GET /chat/ws?token={token} HTTP/1.1\r\n\r\n").decode("latin-1")

    answer, caller = answer_to(door.port, refused.replace("{token}", token))

    assert answer.status == 400
    assert b" 101 " not in caller.until_end()
    caller.hang_up()
    assert door.chat.server.redeem(token).username == "ann"


def test_a_handshake_that_never_ends_is_ended(door: Door, quiet: None) -> None:
    token = door.token()
    begun = shake().removesuffix("\r\n").replace("{token}", token)

    answer, caller = answer_to(door.hasty_port, begun)

    message = "the request took too long to arrive"
    assert (answer.status, answer.json) == (408, {"error": {"code": "request_timeout", "message": message}})
    assert caller.at_end()
    caller.hang_up()
    assert door.chat.server.redeem(token).username == "ann"


def leave(door: Door, caller: Caller) -> None:
    caller.hang_up()
    wait_until(lambda: (len(door.chat.gate), len(door.chat.gate.census)) == (0, 0))
