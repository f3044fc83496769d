"""Requests before they reach the application: limits, deadlines, and what is said and logged about bad ones."""

import json
import logging
from contextlib import suppress

import pytest
from gevent import pywsgi, ssl
from gevent.event import Event
from gevent.socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

from tests.web.websocket.peers import HANDSHAKE, read_reply, request, until
from web.websocket.handler import WebSocketHandler
from web.websocket.limits import HttpLimits


def echo(environ, start_response):
    """Says how much came in."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {len(body)}".encode()]


def ignore_body(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ignored"]


def error_of(reply) -> str:
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["connection"] == "close"
    error = json.loads(reply.rest)["error"]
    assert error["message"]
    return error["code"]


def test_a_plain_request_is_served(serve):
    reply = serve(echo).ask(request("/a%20b?c", "POST", Host="h", Content_Length="5") + b"hello")

    assert (reply.status, reply.rest) == (200, b"POST /a b 5")


def test_a_chunked_body_is_read(serve):
    site = serve(echo)

    reply = site.ask(request("/", "POST", Host="h", Transfer_Encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n")

    assert reply.rest == b"POST / 5"


def test_a_connection_serves_one_request_after_another(serve):
    client = serve(echo).connect()

    for path in ("/a", "/b"):
        client.sendall(request(path, Host="h"))
        assert read_reply(client).rest == f"GET {path} 0".encode()


def test_a_request_to_upgrade_has_no_endless_body(serve):
    assert serve(echo).ask(request("/", **HANDSHAKE)).rest == b"GET / 0"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET /secret\r\n\r\n", 400, "bad_request"),
        (b"secret\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nsecret\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_request"),
        (b"HEAD / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400, "bad_request"),
        (b"GET /" + b"secret" * 2000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"X: secret\r\n" * 101 + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"secret" * 6000 + b"\r\n\r\n", 431, "headers_too_large"),
    ],
)
def test_what_is_no_request_is_refused_and_not_repeated(serve, caplog, data, status, code):
    caplog.set_level(logging.INFO)
    site = serve(echo)

    reply = site.ask(data)

    assert (reply.status, error_of(reply)) == (status, code)
    until(lambda: f" {status} " in site.log.getvalue())
    assert "secret" not in site.log.getvalue() + site.errors.getvalue() + caplog.text
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_refusal_arrives_though_more_was_sent(serve):
    client = serve(echo).connect()

    client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000)
    reply = read_reply(client)

    assert reply.status == 431


def test_headers_have_a_deadline(serve):
    site = serve(echo, limits=HttpLimits(header_timeout=0.05))
    client = site.connect()
    client.sendall(b"GET /secret HTTP/1.1\r\nHost")

    reply = read_reply(client)

    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert client.recv(1) == b""


def test_a_drop_now_and_then_does_not_move_the_deadline(serve):
    site = serve(echo, limits=HttpLimits(header_timeout=0.1))
    client = site.connect()
    client.settimeout(0.01)
    reply = b""
    for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 1000:
        client.send(bytes([byte]))
        try:
            reply = client.recv(100)
        except TimeoutError:
            continue
        break

    assert reply.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_ends_in_silence(serve):
    site = serve(echo, limits=HttpLimits(keepalive=0.05))
    client = site.connect()
    client.sendall(request("/", Host="h"))
    assert read_reply(client).status == 200

    assert client.recv(1) == b""
    assert site.log.getvalue().count("\n") == 1


def test_a_client_that_says_nothing_is_dropped(serve):
    assert serve(echo, limits=HttpLimits(header_timeout=0.05)).connect().recv(1) == b""


def test_limits_are_settings(serve):
    site = serve(echo, limits=HttpLimits(request_line=50, header_bytes=100, header_count=2))

    assert site.ask(request("/" + "x" * 50, Host="h")).status == 414
    assert site.ask(request("/", Host="h", A="b", C="d")).status == 431
    assert site.ask(request("/", Host="h", A="b")).status == 200


def chunked(*chunks, last=b"0\r\n\r\n"):
    """A request whose body comes in chunks, and the size of that body on the wire."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + last
    return request("/", "POST", Host="h", Transfer_Encoding="chunked") + body, len(body)


def short_of_memory(environ, start_response):
    """Takes what reading raises for a client that has gone, as Flask does."""
    try:
        body = environ["wsgi.input"].read()
    except OSError:
        start_response("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"gone"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(body)).encode()]


def by_lines(environ, start_response):
    lines = sum(len(line) for line in environ["wsgi.input"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(lines).encode()]


@pytest.mark.parametrize(("size", "status"), [(99, 200), (100, 200), (101, 413)])
def test_a_body_may_have_just_the_limit(serve, size, status):
    site = serve(echo, limits=HttpLimits(max_body=100))

    reply = site.ask(request("/", "POST", Host="h", Content_Length=str(size)) + b"x" * size)

    assert reply.status == status
    assert status == 200 or error_of(reply) == "body_too_large"


@pytest.mark.parametrize("app", [echo, short_of_memory, by_lines])
def test_so_may_one_that_does_not_say_how_long_it_is(serve, caplog, app):
    data, size = chunked(b"x" * 50, b"y\n" * 20, b"z")

    for more, status in [(1, 200), (0, 200), (-1, 413)]:
        reply = serve(app, limits=HttpLimits(max_body=size + more)).ask(data)

        assert reply.status == status
    assert error_of(reply) == "body_too_large"
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    "endless",
    [{"chunks": [b"x" * 100_000]}, {"last": b"0\r\n" + b"X: y\r\n" * 100_000}, {"last": b"0" * 10 + b"1;" + b"x" * 8000}],
)
def test_what_never_ends_is_refused_whatever_it_is_that_does_not(serve, endless):
    data, _ = chunked(*endless.pop("chunks", ()), **endless)

    reply = serve(echo, limits=HttpLimits(max_body=1000)).ask(data)

    assert (reply.status, error_of(reply)) == (413, "body_too_large")


def test_after_a_body_of_just_the_limit_comes_the_next_request(serve):
    data, size = chunked(b"x" * 50)
    client = serve(echo, limits=HttpLimits(max_body=size)).connect()

    for _ in range(3):
        client.sendall(data)
        assert read_reply(client).rest == b"POST / 50"


def test_of_what_nobody_reads_no_more_is_thrown_away_than_the_limit(serve):
    data, size = chunked(b"x" * 50)
    client = serve(ignore_body, limits=HttpLimits(max_body=size - 1)).connect()

    client.sendall(data + request("/", Host="h"))

    assert read_reply(client).rest == b"ignored"
    assert client.recv(1) == b""


def test_a_malformed_body_is_400(serve, caplog):
    caplog.set_level(logging.INFO)
    site = serve(echo)

    reply = site.ask(request("/", "POST", Host="h", Transfer_Encoding="chunked") + b"secret\r\n")

    assert (reply.status, error_of(reply)) == (400, "bad_request")
    until(lambda: " 400 " in site.log.getvalue())
    assert "secret" not in site.log.getvalue() + site.errors.getvalue() + caplog.text


def test_an_application_that_fails_is_500(serve, crashes):
    def fail(environ, start_response):
        raise ZeroDivisionError

    site = serve(fail)

    reply = site.ask(request("/?token=secret", Host="h"))

    assert (reply.status, error_of(reply)) == (500, "internal_error")
    until(site.log.getvalue)
    assert "ZeroDivisionError" in crashes.getvalue()
    assert "secret" not in crashes.getvalue() + site.log.getvalue()
    crashes.truncate(0)


def test_a_body_that_nobody_reads_is_not_the_next_request(serve):
    client = serve(ignore_body).connect()

    client.sendall(request("/", "POST", Host="h", Content_Length="30") + request("/smuggled")[:30].ljust(30))
    assert read_reply(client).rest == b"ignored"
    client.sendall(request("/", Host="h"))

    assert read_reply(client).rest == b"ignored"


def test_a_body_that_never_comes_does_not_hold_up_the_server(serve):
    site = serve(ignore_body, limits=HttpLimits(discard_timeout=0.05))
    client = site.connect()

    client.sendall(request("/", "POST", Host="h", Content_Length="30"))

    assert read_reply(client).rest == b"ignored"
    assert client.recv(1) == b""


def tick(client) -> bytes:
    """Wait for 20 ms, or for what the server says meanwhile."""
    client.settimeout(0.02)
    try:
        return client.recv(1000)
    except TimeoutError:
        return b""


def trickle(client, data: bytes) -> bytes:
    """Send a byte every 20 ms until the server answers; return the answer's first bytes."""
    for byte in data:
        client.send(bytes([byte]))
        if said := tick(client):
            return said
    client.settimeout(5)
    return client.recv(1000)


CHUNKED = request("/", "POST", Host="h", Transfer_Encoding="chunked")
SIZED = request("/", "POST", Host="h", Content_Length="1000")


@pytest.mark.parametrize("app", [echo, short_of_memory, by_lines])
@pytest.mark.parametrize(
    ("head", "body"),
    [(SIZED, b"x" * 1000), (CHUNKED, b"3e8\r\n" + b"x" * 1000), (CHUNKED, b"1;" + b"x" * 1000), (SIZED, b"")],
)
def test_a_body_that_trickles_in_is_408(serve, caplog, app, head, body):
    site = serve(app, limits=HttpLimits(io_timeout=0.05))
    client = site.connect()
    client.sendall(head)

    said = trickle(client, body)

    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in said
    until(lambda: " 408 " in site.log.getvalue())
    assert site.errors.getvalue() == ""
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(("app", "rate"), [(echo, 0), (by_lines, 20)])
def test_one_that_keeps_the_pace_may_take_longer_than_any_silence(serve, app, rate):
    site = serve(app, limits=HttpLimits(io_timeout=0.5, io_rate=rate))
    client = site.connect()
    client.sendall(request("/", "POST", Host="h", Content_Length="30"))

    assert trickle(client, b"x" * 30).startswith(b"HTTP/1.1 200 ")  # after 600 ms


@pytest.mark.parametrize(("before", "record"), [(b"", SIZED), (SIZED, b"x" * 50)])
def test_over_tls_a_record_that_trickles_in_moves_no_deadline(serve, server_tls, client_tls, before, record):
    client = serve(echo, tls=server_tls, limits=HttpLimits(header_timeout=0.1, io_timeout=0.1)).connect()
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls.wrap_bio(arrived, leaving, server_hostname="localhost")
    while leaving.pending or tls.version() is None:
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        client.sendall(leaving.read())
        if tls.version() is None:
            arrived.write(client.recv(65536))
    if before:
        tls.write(before)
        client.sendall(leaving.read())
    tls.write(record)
    client.settimeout(0.02)

    def is_over(byte: int) -> bool:
        try:
            client.send(bytes([byte]))
            return client.recv(1000) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    assert any(is_over(byte) for byte in leaving.read())


def test_an_answer_that_was_begun_is_cut_when_its_request_goes_on_too_slowly(serve):
    def talk(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"begun"
        yield environ["wsgi.input"].read()

    client = serve(talk, limits=HttpLimits(io_timeout=0.05)).connect()
    client.sendall(SIZED)

    until(lambda: (said := tick(client)) and said.startswith(b"HTTP/1.1 200 "))
    client.settimeout(5)
    rest = b"".join(iter(lambda: client.recv(1000), b""))
    assert b"408" not in rest
    assert not rest.endswith(b"0\r\n\r\n")


def read_slowly(site, client) -> int:
    """Read 64 KiB every 20 ms, and return how much there was."""
    quiet = site.connect()
    size = 0
    while piece := client.recv(65536):
        size += len(piece)
        tick(quiet)
    return size


@pytest.mark.parametrize(("rate", "is_whole"), [(0, True), (1000, True), (1e9, False)])
def test_an_answer_may_be_read_slowly_but_not_too_slowly(serve, rate, is_whole):
    def much(environ, start_response):
        start_response("200 OK", [("Content-Length", "2000000")])
        return [b"x" * 2_000_000]

    site = serve(much, limits=HttpLimits(io_timeout=0.3, io_rate=rate))
    site.server.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 65536)  # its connections inherit it
    client = site.connect()
    client.setsockopt(SOL_SOCKET, SO_RCVBUF, 65536)
    client.sendall(request("/", Host="h", Connection="close"))

    assert (read_slowly(site, client) > 2_000_000) is is_whole


def test_an_application_may_take_its_time_to_read_and_to_say_something(serve):
    go_on = Event()

    def slow(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for _ in range(3):
            yield environ["wsgi.input"].read(1)
            go_on.wait(5)
            go_on.clear()

    client = serve(slow, limits=HttpLimits(io_timeout=0.015)).connect()
    client.sendall(request("/", "POST", Host="h", Content_Length="3", Connection="close") + b"abc")
    heard = b""
    for letter in b"abc":
        while b"\r\n%c\r\n" % letter not in heard:
            heard += client.recv(1000)
        assert tick(client) == b""  # longer than a peer may take
        go_on.set()
        client.settimeout(5)
    heard += b"".join(iter(lambda: client.recv(1000), b""))
    assert heard.endswith(b"0\r\n\r\n")


def test_a_client_that_reads_nothing_is_left(serve):
    def much(environ, start_response):
        start_response("200 OK", [])
        for _ in range(1000):
            yield b"x" * 100_000

    site = serve(much, limits=HttpLimits(io_timeout=0.05))
    client = site.connect()

    client.sendall(request("/", Host="h"))

    until(lambda: site.log.getvalue())
    assert site.errors.getvalue() == ""


def test_a_server_that_drains_takes_no_request(serve):
    site = serve(echo)
    client = site.connect()
    client.sendall(request("/", Host="h"))
    assert read_reply(client).status == 200
    site.server.draining = True

    client.sendall(request("/", **HANDSHAKE))
    reply = read_reply(client)

    assert (reply.status, reply.headers["retry-after"], error_of(reply)) == (503, "1", "draining")
    assert client.recv(1) == b""


def test_the_access_log_shows_no_token(serve):
    site = serve(echo)

    site.ask(request("/ws?a=1&token=secret&b=2", Host="h"))

    until(lambda: '"GET /ws?a=1&token=[redacted]&b=2 HTTP/1.1" 200' in site.log.getvalue())


def test_a_handler_mixed_in_is_called_and_not_gevent_websockets(serve):
    class Gunicornish(pywsgi.WSGIHandler):
        def log_request(self):
            self.server.log.write(f"mixed in: {self.environ['PATH_INFO']} {self.environ['mark']}\n")

        def get_environ(self):
            return {**super().get_environ(), "mark": "!"}

    site = serve(echo, bases=(WebSocketHandler, Gunicornish))

    assert site.ask(request("/a", Host="h")).status == 200
    until(lambda: site.log.getvalue() == "mixed in: /a !\n")
