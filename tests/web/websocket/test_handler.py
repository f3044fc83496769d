"""Requests that become WebSockets, and those that do not after all."""

import gc
import socket

import pytest

from chat.closing import GONE, Closing
from tests.web.websocket.peers import HANDSHAKE, Recorder, farewell, read_reply, request, text, turn_hub, until
from web.websocket.handler import WebSocketHandler
from web.websocket.limits import Bounds
from web.websocket.protocol import text_frame


class View:
    """An application that agrees to every upgrade, and answers with `status` then."""

    def __init__(self, status="101 Switching Protocols", body=(), error=None, subprotocol=None, compression=False):
        self.status = status
        self.body = body
        self.error = error
        self.subprotocol = subprotocol
        self.compression = compression
        self.closed = 0
        self.abandoned = 0
        self.sockets = []
        self.recorder = Recorder(self.answer)

    def __call__(self, environ, start_response):
        environ["web.websocket"].accept(
            self.open,
            on_abandoned=self.abandon,
            subprotocol=self.subprotocol,
            bounds=Bounds(max_message=100, max_fragments=10),
            compression=self.compression,
        )
        if self.error is not None:
            raise self.error
        start_response(self.status, [("X-View", "was here"), ("Content-Length", str(sum(map(len, self.body))))])
        return self

    def __iter__(self):
        return iter(self.body)

    def close(self):
        self.closed += 1

    def open(self, socket):
        self.sockets.append(socket)
        socket.start(self.recorder)

    def abandon(self):
        self.abandoned += 1

    def answer(self, message):
        self.sockets[-1].write(text_frame(message.encode()))


@pytest.fixture
def view():
    view = View()
    yield view
    for each in view.sockets:
        each.abort()


def test_a_view_that_agrees_gets_a_socket(serve, view):
    reply, peer = serve(view).upgrade("/ws")

    assert reply.status == 101
    assert reply.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert not {"x-view", "content-length", "sec-websocket-protocol"} & set(reply.headers)
    peer.send(text("hello"))
    assert peer.recv().data == b"hello"
    assert (view.closed, view.abandoned) == (1, 0)


def test_the_subprotocol_of_the_view_is_the_answer(serve, view):
    view.subprotocol = "chat.v1"

    reply, _ = serve(view).upgrade("/ws", **{"Sec-WebSocket-Protocol": "chat.v1, chat.token.abc"})

    assert reply.headers["sec-websocket-protocol"] == "chat.v1"


def test_frames_right_behind_the_handshake_are_not_lost(serve, view):
    _, peer = serve(view).upgrade("/ws", text("first"), text("second") + text("third")[:4])
    peer.send(text("third")[4:])

    assert [bytes(peer.recv().data) for _ in range(2)] == [b"first", b"second"]


def test_what_is_sent_later_follows_what_was_read_ahead(serve, view):
    third = text("third")
    _, peer = serve(view).upgrade("/ws", text("first"), third[:4])
    peer.send(third[4:])

    assert [bytes(peer.recv().data) for _ in range(2)] == [b"first", b"third"]


def test_frames_are_sent_at_once(serve, view):
    prompt = []

    class Watched(WebSocketHandler):
        def send_switching(self, subprotocol, **terms):
            extensions = super().send_switching(subprotocol, **terms)
            prompt.append(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            return extensions

    serve(view, bases=(Watched,)).upgrade("/ws")

    assert all(prompt)
    assert len(prompt) == 1


def test_the_limits_are_those_of_the_view(serve, view):
    _, peer = serve(view).upgrade("/ws", text("x" * 101))

    assert peer.recv_close().code == 1009


def test_the_handler_has_ended_when_the_socket_is_open(serve, view):
    site = serve(view)
    _, peer = site.upgrade("/ws")
    peer.send(text("a"))
    peer.recv()

    until(lambda: len(site.server.pool) == 0)
    peer.send(text("still here"))
    assert peer.recv().data == b"still here"


def test_the_handshake_is_logged_once(serve, view):
    site = serve(view)

    _, peer = site.upgrade("/ws?token=secret")
    peer.send(farewell(1000))
    peer.recv_close()
    turn_hub()

    (line,) = site.log.getvalue().splitlines()
    assert '"GET /ws?token=[redacted] HTTP/1.1" 101 ' in line


def test_every_request_can_tell_whether_an_upgrade_is_asked_for(serve):
    seen = []

    def look(environ, start_response):
        seen.append(environ["web.websocket"].requested)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    site = serve(look)
    site.ask(request("/", Host="h"))
    site.ask(request("/", **HANDSHAKE))

    assert seen == [False, True]


def test_agreement_survives_middleware_that_copies_the_environ(serve, view):
    reply, peer = serve(lambda environ, start_response: view(dict(environ), start_response)).upgrade("/ws")

    assert reply.status == 101
    peer.send(text("hello"))
    assert peer.recv().data == b"hello"


def test_an_application_may_start_its_response_late(serve, view):
    def lazy(environ, start_response):
        yield from view(environ, start_response)

    reply, _ = serve(lazy).upgrade("/ws")

    assert reply.status == 101


# When it comes to nothing


def test_a_view_that_refuses_is_heard(serve):
    view = View("403 Forbidden", [b"not ", b"you"])

    reply, _ = serve(view).upgrade("/ws")

    assert (reply.status, reply.headers["x-view"], reply.rest) == (403, "was here", b"not you")
    until(lambda: view.abandoned)
    assert (view.abandoned, view.closed, view.sockets) == (1, 1, [])


def test_after_a_refusal_the_connection_goes_on(serve):
    client = serve(View("403 Forbidden", [b"no"])).connect()

    for _ in range(2):
        client.sendall(request("/ws", **HANDSHAKE))
        assert read_reply(client).rest == b"no"


def test_middleware_has_the_last_word(serve, view):
    def strict(environ, start_response):
        for _ in view(environ, lambda *args: None):
            pass
        view.close()
        start_response("418 I'm a teapot", [("Content-Length", "5")])
        return [b"no ws"]

    reply, _ = serve(strict).upgrade("/ws")

    assert (reply.status, reply.rest) == (418, b"no ws")
    until(lambda: view.abandoned == 1)


def test_an_error_after_the_101_is_a_500(serve, view):
    def change_of_mind(environ, start_response):
        start_response("101 Switching Protocols", [])
        view(environ, start_response)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as exc:
            start_response("500 Oh no", [("Content-Length", "4")], (type(exc), exc, exc.__traceback__))
        return [b"oops"]

    reply, _ = serve(change_of_mind).upgrade("/ws")

    assert (reply.status, reply.rest) == (500, b"oops")
    until(lambda: view.abandoned == 1)


def test_a_view_that_fails_abandons(serve):
    view = View(error=ConnectionResetError(104, "of something else"))  # one that pywsgi does not log

    site = serve(view)
    client = site.connect()
    client.sendall(request("/ws", **HANDSHAKE))

    assert client.recv(100) == b""
    until(lambda: view.abandoned)
    assert (view.abandoned, view.sockets) == (1, [])


def test_a_client_that_has_gone_before_the_101_abandons_or_is_told_gone(serve, view):
    def slow(environ, start_response):
        client.close()
        turn_hub()
        return view(environ, start_response)

    site = serve(slow)
    client = site.connect()
    client.sendall(request("/ws", **HANDSHAKE) + text("unread"))

    until(lambda: view.abandoned or view.recorder.endings)
    assert view.abandoned or view.recorder.endings == [GONE]


def test_a_request_that_is_no_handshake_is_told_so_even_if_the_view_agrees(serve, view):
    reply, _ = serve(view).upgrade("/ws", **{"Sec-WebSocket-Version": "8"})

    assert (reply.status, reply.headers["sec-websocket-version"]) == (426, "13")
    until(lambda: view.abandoned == 1)


def test_agreeing_without_being_asked_is_a_fault(serve, view):
    caught = []

    def eager(environ, start_response):
        try:
            view(environ, start_response)
        except RuntimeError as exc:
            caught.append(exc)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    assert serve(eager).ask(request("/", Host="h")).status == 200
    assert len(caught) == 1


def test_an_on_open_that_fails_closes_the_socket(serve, caplog, view):
    view.open = lambda socket: 1 / 0

    reply, peer = serve(view).upgrade("/ws")

    assert reply.status == 101
    assert peer.recv_close().code == 1011
    assert view.abandoned == 0
    assert len(caplog.records) == 1


def test_stopping_the_server_leaves_its_websockets_alone(serve, view):
    site = serve(view)
    _, peer = site.upgrade("/ws")
    site.server.stop(timeout=1)

    peer.send(text("hello"))

    assert peer.recv().data == b"hello"
    view.sockets[0].close(1012)
    assert peer.recv_close() == Closing(1012)


def test_compression_is_agreed_on_where_it_is_set(serve, view):
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}

    plain, _ = serve(view, compression=True).upgrade("/ws", **offer)  # which is for routes
    view.compression = True
    compressed, _ = serve(view).upgrade("/ws", **offer)

    assert "sec-websocket-extensions" not in plain.headers
    assert compressed.headers["sec-websocket-extensions"].startswith("permessage-deflate; server_no_context_takeover")


def test_a_handshake_leaves_nothing_to_the_collector(serve, view):
    gc.collect()
    gc.disable()
    try:
        _, peer = serve(view).upgrade("/ws")
        peer.send(text("a"))
        peer.recv()
        left = [found for found in gc.get_objects() if type(found).__name__ == "Handler"]
    finally:
        gc.enable()
    assert left == []


def test_of_many_at_once_none_gets_anothers_messages(serve, view):
    site = serve(view)

    def open_one(socket):
        view.sockets.append(socket)
        socket.start(Recorder(lambda message: socket.write(text_frame(message.encode()))))

    view.open = open_one
    peers = [site.upgrade("/ws")[1] for _ in range(50)]

    for number, peer in enumerate(peers):
        peer.send(text(f"I am {number}"))

    assert [peer.recv().data for peer in peers] == [f"I am {number}".encode() for number in range(50)]
