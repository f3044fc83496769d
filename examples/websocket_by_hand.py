"""A WebSocket handled by hand: `environ["wsgi.websocket"]` in a bare WSGI application, as gevent-websocket has it.

    python -m examples.websocket_by_hand --port 9001

from the top folder of the project; then `python -m websockets 'ws://127.0.0.1:9001/?name=ann'`.

For an application that has such routes already.  Each member keeps three greenlets; `flask_route.py` needs none.
"""

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()  # before anything else can import what it replaces

import argparse
import signal
from collections.abc import Iterable
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import gevent
from gevent.pywsgi import WSGIServer
from gevent.queue import Queue, ShutDown

from chat import ChatChannel, ChatError, ChatServer, Conn, ConnEOF, IdleChannel, InvalidChannel, UserAlreadyConnected
from web.websocket.compat import WebSocket
from web.websocket.handler import WebSocketHandler
from web.websocket.handshake import check, check_origin
from web.websocket.refusal import Refusal


class Handler(WebSocketHandler):
    """The limits are 16 MiB and none unless they are set: gevent-websocket had no limits."""

    max_message = 64 * 1024
    max_fragments = 1024


class RouteConn(Conn):
    """A user at the other end of a WebSocket, which its route alone reads: see `listen`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._heard: Queue[str] = Queue(1)  # while it is full, the peer waits

    def recv(self) -> str:
        try:
            return self._heard.get()
        except ShutDown:
            raise ConnEOF from None

    def send_str(self, msg: str) -> None:
        self._websocket.send(msg)  # "", the probe, is an empty message: it has no ping

    def close(self) -> None:
        self._heard.shutdown()
        self._websocket.close()

    def listen(self) -> None:
        """Read until the end, whoever ends it.  Blocks."""
        try:
            while isinstance(message := self._websocket.receive(), str):  # None at the end; bytes are not spoken here
                self._heard.put(message)
        except ShutDown:
            pass
        finally:
            self._heard.shutdown()


def make_app(chat: ChatServer) -> WSGIApplication:
    """Return the application: every address is the chat."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            talk(chat, environ)
        except Refusal as refusal:
            start_response(refusal.status_line, refusal.answer_headers())
            return [refusal.body]
        return []

    return app


def talk(chat: ChatServer, environ: WSGIEnvironment) -> None:
    """Serve one user.  Raises: Refusal; then the WebSocket is untouched, and this is still plain HTTP."""
    check(environ)
    check_origin(environ, ())
    name = parse_qs(environ["QUERY_STRING"]).get("name", [""])[0]
    conn = RouteConn(environ["wsgi.websocket"])
    try:
        lobby(chat).connect_user(name, conn)
    except ChatError as exc:
        raise Refusal(409 if isinstance(exc, UserAlreadyConnected) else 400, exc.code, str(exc)) from exc
    conn.listen()


def lobby(chat: ChatServer) -> ChatChannel:
    """The one channel; it ends when nobody has been there for five minutes."""
    try:
        return chat.get_channel("lobby")
    except (InvalidChannel, IdleChannel):
        return chat.create_channel("lobby")


def main() -> None:
    parser = argparse.ArgumentParser(description="Chat over WebSockets, by hand.")
    parser.add_argument("--port", type=int, default=9001)
    with ChatServer() as chat:
        server = WSGIServer(("127.0.0.1", parser.parse_args().port), make_app(chat), handler_class=Handler)
        server.start()
        print(f"Listening on 127.0.0.1:{server.server_port}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        server.serve_forever()


if __name__ == "__main__":
    main()
