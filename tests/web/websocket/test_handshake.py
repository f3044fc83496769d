"""Which requests are handshakes, and what the others are told."""

import pytest

from tests.web.websocket.peers import KEY
from web.websocket.handshake import (
    HandshakeError,
    accept_headers,
    check,
    check_origin,
    negotiate_deflate,
    offered_subprotocols,
    requested,
)

GOOD = {
    "REQUEST_METHOD": "GET",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "chat.example:8000",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": KEY,
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


def refused(environ: dict[str, str]) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        check(environ)
    return caught.value


def test_a_handshake_is_taken():
    check(GOOD)


@pytest.mark.parametrize(
    "change",
    [
        {"HTTP_UPGRADE": "WebSocket"},
        {"HTTP_CONNECTION": "keep-alive, upgrade"},
        {"CONTENT_LENGTH": "0"},
        {"CONTENT_LENGTH": ""},
        {"HTTP_SEC_WEBSOCKET_PROTOCOL": "unknown.v9"},
    ],
)
def test_what_clients_do_differently_is_taken_too(change):
    check({**GOOD, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "HEAD"},
        {"SERVER_PROTOCOL": "HTTP/1.0"},
        {"HTTP_HOST": ""},
        {"HTTP_CONNECTION": "keep-alive"},
        {"HTTP_CONNECTION": "upgraded"},
        {"HTTP_UPGRADE": "h2c"},
        {"HTTP_SEC_WEBSOCKET_KEY": ""},
        {"HTTP_SEC_WEBSOCKET_KEY": f"{KEY},{KEY}"},
        {"HTTP_SEC_WEBSOCKET_KEY": "!" * 24},
        {"HTTP_SEC_WEBSOCKET_KEY": "AAAA"},
        {"HTTP_SEC_WEBSOCKET_KEY": "é" * 24},
        {"CONTENT_LENGTH": "5"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
    ],
    ids=lambda change: "-".join(map(str, *change.items())),
)
def test_what_is_malformed_is_400_whatever_its_version(change):
    for version in ("13", "12"):
        error = refused({**GOOD, "HTTP_SEC_WEBSOCKET_VERSION": version, **change})
        assert (error.status, error.code) == (400, "bad_handshake")


@pytest.mark.parametrize("key", ["HTTP_HOST", "HTTP_CONNECTION", "HTTP_UPGRADE", "HTTP_SEC_WEBSOCKET_KEY"])
def test_what_is_missing_is_400(key):
    assert refused({name: value for name, value in GOOD.items() if name != key}).status == 400


@pytest.mark.parametrize("version", [None, "", "8", "12", "013", "13,13", "+13"])
def test_another_version_is_426_and_told_ours(version):
    environ = {name: value for name, value in GOOD.items() if name != "HTTP_SEC_WEBSOCKET_VERSION"}
    if version is not None:
        environ["HTTP_SEC_WEBSOCKET_VERSION"] = version

    error = refused(environ)

    assert error.status == 426
    assert error.headers == {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


def test_asking_is_enough_to_be_answered_as_one_who_asks():
    assert requested({"HTTP_UPGRADE": "WebSocket"})
    assert requested({"HTTP_UPGRADE": "h2c, websocket"})
    assert not requested({"HTTP_UPGRADE": "h2c"})
    assert not requested({})


def test_the_accept_key_is_that_of_the_rfc():
    headers = dict(accept_headers(GOOD, "chat.v1", None))

    assert headers == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol": "chat.v1",
    }


def test_nothing_is_promised_that_was_not_agreed_on():
    assert len(accept_headers(GOOD, None, None)) == 3


def test_subprotocols_come_in_the_clients_order():
    environ = {"HTTP_SEC_WEBSOCKET_PROTOCOL": "chat.v1, chat.token.abc ,, no token(,x"}

    assert offered_subprotocols(environ) == ["chat.v1", "chat.token.abc", "x"]
    assert offered_subprotocols({}) == []


# Origins


def origin(value: str | None, *allowed: str, host: str = "chat.example:8000", scheme: str = "http") -> None:
    environ = {"HTTP_HOST": host, "wsgi.url_scheme": scheme}
    check_origin(environ if value is None else {**environ, "HTTP_ORIGIN": value}, allowed)


def test_who_sends_no_origin_is_no_browser():
    origin(None)


@pytest.mark.parametrize(
    ("value", "host", "scheme"),
    [
        ("http://chat.example:8000", "chat.example:8000", "http"),
        ("http://CHAT.example:8000", "chat.EXAMPLE:8000", "http"),
        ("http://chat.example", "chat.example", "http"),
        ("http://chat.example:80", "chat.example", "http"),
        ("https://chat.example", "chat.example:443", "https"),
        ("http://[::1]:8000", "[::1]:8000", "http"),
        ("http://[::1]", "[::1]:80", "http"),
    ],
)
def test_the_same_origin_may_connect(value, host, scheme):
    origin(value, host=host, scheme=scheme)


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "",
        "http://evil.example",
        "http://chat.example",
        "http://chat.example:8001",
        "https://chat.example:8000",
        "http://chat.example:8000.evil.example",
        "http://chat.example:8000@evil.example",
        "http://chat.example:8000,http://evil.example",
        "http://chat.example:8000, http://chat.example:8000",
        "http://chat.example:8000 http://evil.example",
        "http://chat.example:99999",
        "http://[::1",
        "file://",
        "chat.example:8000",
    ],
)
def test_a_foreign_origin_is_403(value):
    with pytest.raises(HandshakeError) as caught:
        origin(value)

    assert (caught.value.status, caught.value.code) == (403, "foreign_origin")


def test_further_origins_may_be_allowed():
    origin("https://app.example", "https://other.example", "HTTPS://App.Example:443/")
    with pytest.raises(HandshakeError):
        origin("http://app.example", "https://app.example")


def test_a_host_that_is_none_equals_no_origin():
    with pytest.raises(HandshakeError):
        origin("null", host="null")
    with pytest.raises(HandshakeError):
        origin("null", "null", host="")


# Compression


def deflate(offer: str, *, shared: bool = True) -> str | None:
    header, extensions = negotiate_deflate({"HTTP_SEC_WEBSOCKET_EXTENSIONS": offer}, shared=shared)
    assert len(extensions) == (header is not None)
    return header


def test_compression_keeps_no_context():
    agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    assert deflate("permessage-deflate") == agreed
    assert deflate("permessage-deflate; client_max_window_bits") == agreed


def test_a_smaller_window_than_that_of_the_copies_is_declined_where_they_are_shared():
    offer = "permessage-deflate; server_max_window_bits=11"

    assert deflate(offer.replace("11", "12")) is not None

    assert deflate(offer) is None
    assert deflate(offer, shared=False) is not None
    assert deflate(f"{offer}, permessage-deflate") is not None


@pytest.mark.parametrize(
    "offer", ["", "x-webkit-deflate-frame", "permessage-deflate; unknown", "permessage-deflate; ;", "=", "\x00"]
)
def test_what_we_do_not_speak_leaves_the_connection_uncompressed(offer):
    assert deflate(offer) is None
