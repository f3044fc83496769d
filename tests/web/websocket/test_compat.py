"""Routes that were written for gevent-websocket."""

import gevent
import pytest
from gevent.event import Event
from geventwebsocket.exceptions import WebSocketError
from websockets.frames import Opcode

from chat.closing import Closing
from tests.web.websocket.peers import HANDSHAKE, PATIENCE, farewell, masked, request, text, turn_hub, until
from web.websocket.protocol import text_frame


class Route:
    """An application around `on_websocket`, which writes down what that returned or raised."""

    def __init__(self, on_websocket):
        self.on_websocket = on_websocket
        self.outcome = []

    def __call__(self, environ, start_response):
        websocket = environ.get("wsgi.websocket")
        try:
            self.outcome.append(self.on_websocket(websocket))
        except WebSocketError as exc:
            self.outcome.append(exc)
        start_response("200 OK", [("Content-Length", "9")])
        return [b"my answer"]


def echo(websocket):
    while True:
        message = websocket.receive()
        if message is None:
            return "ended"
        websocket.send(message)


def test_text_and_binary_are_echoed_as_what_they_are(serve):
    _, peer = serve(Route(echo)).upgrade("/echo")

    peer.send(text("grüße"), masked(Opcode.BINARY, b"\xff"))

    frames = [peer.recv() for _ in range(2)]
    assert [(frame.opcode, bytes(frame.data)) for frame in frames] == [
        (Opcode.TEXT, "grüße".encode()),
        (Opcode.BINARY, b"\xff"),
    ]


def test_frames_right_behind_the_handshake_are_not_lost(serve):
    _, peer = serve(Route(echo)).upgrade("/echo", text("first"), text("second"))

    assert [peer.recv().data for _ in range(2)] == [b"first", b"second"]


def test_a_large_message_goes_both_ways(serve):
    _, peer = serve(Route(echo)).upgrade("/echo")
    writer = gevent.spawn(peer.send, masked(Opcode.BINARY, b"x" * 3_000_000))

    assert len(peer.recv().data) == 3_000_000
    writer.get(timeout=PATIENCE)


def test_the_peers_close_is_answered_and_ends_the_route(serve):
    route = Route(echo)
    site = serve(route)
    _, peer = site.upgrade("/echo")

    peer.send(text("last"), farewell(4321, "bye"))

    assert peer.recv().data == b"last"
    assert peer.recv_close() == Closing(4321, "bye")
    assert peer.at_eof()
    assert route.outcome == ["ended"]
    until(lambda: '"GET /echo HTTP/1.1" 101 ' in site.log.getvalue())


def test_receive_says_the_end_once(serve):
    def twice(websocket):
        assert websocket.receive() is None
        assert websocket.closed
        return websocket.receive()

    route = Route(twice)
    _, peer = serve(route).upgrade("/")
    peer.send(farewell(1000))
    assert peer.at_eof()

    assert isinstance(route.outcome[0], WebSocketError)


def test_a_peer_that_goes_without_a_word_ends_the_route(serve):
    route = Route(echo)
    _, peer = serve(route).upgrade("/echo")

    peer.sock.close()

    until(lambda: route.outcome == ["ended"])


def test_sending_after_the_end_raises(serve):
    def late(websocket):
        websocket.receive()
        websocket.send("late")

    route = Route(late)
    _, peer = serve(route).upgrade("/")
    peer.send(farewell(1000))
    assert peer.at_eof()

    assert isinstance(route.outcome[0], WebSocketError)


def test_what_came_before_the_close_is_still_received(serve):
    route = Route(lambda websocket: [websocket.receive() for _ in range(3)])
    _, peer = serve(route).upgrade("/", text("a") + text("b") + farewell(1000))

    assert peer.at_eof()
    assert route.outcome == [["a", "b", None]]


def test_a_route_that_returns_closes_with_1000(serve):
    _, peer = serve(Route(lambda websocket: websocket.send("hello"))).upgrade("/")

    assert peer.recv().data == b"hello"
    assert peer.recv_close() == Closing(1000)
    peer.send(farewell(1000))
    assert peer.at_eof()


def test_the_routes_response_is_nobodys(serve):
    _, peer = serve(Route(lambda websocket: websocket.send("hello"))).upgrade("/")
    peer.recv()
    peer.recv_close()
    peer.send(farewell(1000))

    assert peer.sock.recv(100) == b""


def test_a_route_closes_with_a_code_and_a_reason(serve):
    def bye(websocket):
        websocket.close(4000, b"your turn")
        websocket.close(4001)
        return websocket.closed

    route = Route(bye)
    _, peer = serve(route).upgrade("/")

    assert peer.recv_close() == Closing(4000, "your turn")
    peer.send(farewell(4000))
    assert peer.at_eof()
    assert route.outcome == [True]


def test_a_route_that_fails_closes_with_1011(serve, crashes):
    def fail(websocket):
        websocket.send("hello")
        raise ZeroDivisionError

    site = serve(Route(fail))
    _, peer = site.upgrade("/")

    assert peer.recv_close().code == 1011
    peer.sock.close()
    until(site.log.getvalue)
    assert "ZeroDivisionError" in crashes.getvalue()
    crashes.truncate(0)


def test_a_server_that_stops_goes_away_and_waits_for_nobody(serve, clock):
    site = serve(Route(echo), clock=clock)
    _, peer = site.upgrade("/echo")
    peer.send(text("hello"))
    peer.recv()

    with gevent.Timeout(1):  # not the 5 s of a closing handshake
        site.server.stop(timeout=0)

    assert peer.recv_close().code == 1001
    assert len(site.server.pool) == 0


def test_a_framework_that_turns_the_failure_into_a_response_does_too(serve):
    def framework(environ, start_response):
        environ["wsgi.websocket"].send("hello")
        start_response("500 Internal Server Error", [])
        return [b"oops"]

    _, peer = serve(framework).upgrade("/")

    assert peer.recv_close().code == 1011


def test_a_websocket_error_that_escapes_is_nothing_to_log(serve):
    def careless(environ, start_response):
        environ["wsgi.websocket"].receive()
        environ["wsgi.websocket"].send("into the void")

    site = serve(careless)
    _, peer = site.upgrade("/")
    peer.send(farewell(1000))
    peer.recv_close()
    peer.sock.close()

    until(lambda: " 101 " in site.log.getvalue())


def test_pings_are_answered(serve):
    _, peer = serve(Route(echo)).upgrade("/echo")

    peer.send(masked(Opcode.PING, b"?"))

    assert peer.recv().opcode is Opcode.PONG


@pytest.mark.parametrize(
    ("data", "code"),
    [(text_frame(b"unmasked"), 1002), (masked(Opcode.TEXT, b"\xff"), 1007), (masked(Opcode.TEXT, b"x" * 101), 1009)],
    ids=["no mask", "no UTF-8", "too long"],
)
def test_a_violation_is_told_and_ends_the_route(serve, data, code):
    route = Route(echo)
    _, peer = serve(route, max_message=100).upgrade("/echo")

    peer.send(data, text("more") * 10_000)

    assert peer.recv_close().code == code
    assert peer.at_eof()
    assert route.outcome == ["ended"]


def test_the_number_of_fragments_is_limited_where_it_is_set(serve):
    data = masked(Opcode.TEXT, fin=False) + masked(Opcode.CONT, fin=False) * 10

    _, peer = serve(Route(echo), max_fragments=10).upgrade("/echo", data)

    assert peer.recv_close().code == 1008


def test_another_greenlet_may_send_while_the_route_receives(serve):
    def both(websocket):
        def talk():
            for number in range(20):
                websocket.send(f"{number}:" + "x" * 200_000)

        talker = gevent.spawn(talk)
        while (message := websocket.receive()) is not None:
            websocket.send(message)
        talker.get(timeout=PATIENCE)

    _, peer = serve(Route(both)).upgrade("/")
    for number in range(20):
        peer.send(text(f"echo {number}"))

    said = [bytes(peer.recv().data).decode() for _ in range(40)]
    assert [line.split(":")[0] for line in said if ":" in line] == [str(n) for n in range(20)]
    assert [line for line in said if ":" not in line] == [f"echo {n}" for n in range(20)]
    assert all(len(line) > 200_000 for line in said if ":" in line)
    peer.send(farewell(1000))
    peer.recv_close()


def test_a_route_may_return_while_another_greenlet_receives(serve):
    heard = []

    def leave_the_reader_behind(websocket):
        websocket.send("ready")
        gevent.spawn(lambda: heard.append(websocket.receive()))
        gevent.idle()  # it waits in recv() now

    _, peer = serve(Route(leave_the_reader_behind)).upgrade("/")

    assert peer.recv().data == b"ready"
    assert peer.recv_close().code == 1000
    peer.send(farewell(1000))
    assert peer.at_eof()
    until(lambda: heard == [None])


def test_two_greenlets_may_begin_at_once(serve):
    def both(websocket):
        senders = [gevent.spawn(websocket.send, name) for name in ("one", "two")]
        gevent.joinall(senders, timeout=PATIENCE, raise_error=True)

    _, peer = serve(Route(both)).upgrade("/")

    assert {bytes(peer.recv().data) for _ in range(2)} == {b"one", b"two"}


def test_closing_in_another_greenlet_ends_a_receive(serve):
    def closed_from_outside(websocket):
        websocket.send("ready")
        closer = gevent.spawn(websocket.close, 4000)
        message = websocket.receive()
        closer.join()
        return message

    route = Route(closed_from_outside)
    _, peer = serve(route).upgrade("/")

    assert peer.recv_close().code == 4000
    peer.send(farewell(4000))
    assert peer.at_eof()
    assert route.outcome == [None]


def test_it_ends_a_receive_even_if_the_peer_never_answers(serve, clock):
    def closed_from_outside(websocket):
        websocket.send("ready")
        gevent.spawn(websocket.close, 4000)
        return websocket.receive()

    route = Route(closed_from_outside)
    _, peer = serve(route, clock=clock).upgrade("/")
    assert peer.recv_close().code == 4000

    clock.advance(5)

    until(lambda: route.outcome == [None])


def test_another_greenlet_that_sends_too_late_is_told(serve):
    done = Event()
    errors = []

    def leave_one_behind(websocket):
        def talk():
            done.wait(PATIENCE)
            try:
                websocket.send("late")
            except WebSocketError as exc:
                errors.append(exc)

        gevent.spawn(talk)
        websocket.send("hello")

    site = serve(Route(leave_one_behind))
    _, peer = site.upgrade("/")
    peer.recv_close()
    peer.sock.close()
    until(site.log.getvalue)
    done.set()

    until(lambda: errors)


# Before the handshake


def test_reading_attributes_accepts_nothing(serve):
    def look(websocket):
        assert websocket
        return [
            websocket.path,
            websocket.origin,
            websocket.protocol,
            websocket.version,
            websocket.environ["REQUEST_METHOD"],
            websocket.closed,
            websocket.handler is not None,
        ]

    route = Route(look)
    reply, _ = serve(route).upgrade(
        "/a%20b", Origin="http://chat.example", **{"Sec-WebSocket-Protocol": "chat.v1", "Sec-WebSocket-Version": "13"}
    )

    assert (reply.status, reply.rest) == (200, b"my answer")
    assert route.outcome == [["/a b", "http://chat.example", "chat.v1", "13", "GET", False, True]]


def test_a_plain_request_has_none(serve):
    route = Route(lambda websocket: websocket)

    assert serve(route).ask(request("/", Host="h")).rest == b"my answer"
    assert route.outcome == [None]


@pytest.mark.parametrize("act", [lambda ws: ws.receive(), lambda ws: ws.send("hello")], ids=["receive", "send"])
@pytest.mark.parametrize(
    ("header", "status"), [({"Sec-WebSocket-Version": "8"}, 426), ({"Sec-WebSocket-Key": "short"}, 400)]
)
def test_a_bad_handshake_is_refused_when_it_is_to_be_accepted(serve, act, header, status):
    route = Route(act)
    site = serve(route)

    reply, _ = site.upgrade("/", **header)

    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert isinstance(route.outcome[0], WebSocketError)
    until(lambda: f" {status} " in site.log.getvalue())


def test_a_bad_handshake_that_nobody_accepts_is_the_views(serve):
    reply, _ = serve(Route(lambda websocket: None)).upgrade("/", **{"Sec-WebSocket-Version": "8"})

    assert (reply.status, reply.rest) == (200, b"my answer")


def test_a_client_that_has_gone_before_the_101_is_an_error_in_the_route(serve):
    def late(websocket):
        client.close()
        turn_hub()
        websocket.send("hello")
        return websocket.receive()

    route = Route(late)
    site = serve(route)
    client = site.connect()
    client.sendall(request("/", **HANDSHAKE) + text("unread"))

    until(lambda: route.outcome)
    until(site.log.getvalue)


def test_compressed_messages_go_both_ways(serve):
    reply, peer = serve(Route(echo), compression=True).upgrade(
        "/echo", **{"Sec-WebSocket-Extensions": "permessage-deflate"}
    )

    peer.send(text("not compressed"))

    frame = peer.sock.recv(1000)
    assert frame[0] == 0xC1  # text, and RSV1: compressed
    assert "permessage-deflate" in reply.headers["sec-websocket-extensions"]
