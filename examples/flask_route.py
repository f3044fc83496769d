"""Chat in a route of one's own, in a Flask application without the extension.

    python -m examples.flask_route --port 9002

from the top folder of the project; then `python -m websockets ws://127.0.0.1:9002/chat/ann`.

The route decides while everything is still plain HTTP; then the socket leaves Flask and is a `PlainConn`, which costs no
greenlet.  What the extension would add: login, chat.v1, limits for each user, a page, an orderly restart.
"""

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()  # before anything else can import what it replaces

import argparse
from typing import Final

from flask import Flask, Response, request

from chat import ChatChannel, ChatError, ChatServer, IdleChannel, InvalidChannel
from chat.clock import SystemClock
from chat.closing import CHANNEL_CLOSED
from chat.member import Member
from chat.names import check_username
from chat.tokens import Grant
from web.answers import answer, refusal
from web.serve import serve
from web.websocket.base import BaseSocket
from web.websocket.conn import PlainConn
from web.websocket.handshake import HandshakeError, check, check_origin
from web.websocket.heartbeat import Heartbeat
from web.websocket.limits import Bounds, SocketLimits
from web.websocket.peer import Rules
from web.websocket.upgrade import KEY, Upgrade

LIMITS: Final = SocketLimits()


def make_app(chat: ChatServer) -> Flask:
    """Return the application."""
    app = Flask(__name__)
    clock = SystemClock()
    rules = Rules.of(LIMITS, clock, lambda _conn: None)
    heartbeat = Heartbeat(LIMITS, clock)
    bounds = Bounds(write_buf=chat.conf.write_buf)

    @app.route("/chat/<name>", websocket=True)
    def enter(name: str) -> Response:
        check(request.environ)
        check_origin(request.environ, ())
        member = lobby(chat).reserve(Grant(check_username(name), "lobby"))
        upgrade: Upgrade = request.environ[KEY]
        upgrade.accept(
            lambda socket: join(socket, member),
            on_abandoned=member.cancel,
            subprotocol=None,
            bounds=bounds,
        )
        return Response(status=101)

    def join(socket: BaseSocket, member: Member) -> None:
        conn = PlainConn(socket, rules)
        heartbeat.add(conn)
        try:
            member.join(conn)
        except ChatError:  # the channel ended while the 101 was on its way
            conn.close(*CHANNEL_CLOSED)

    app.register_error_handler(ChatError, answer)
    app.register_error_handler(HandshakeError, lambda exc: refusal(exc.status, exc.code, exc.message, exc.headers))
    return app


def lobby(chat: ChatServer) -> ChatChannel:
    """The one channel; it ends when nobody has been there for five minutes."""
    try:
        return chat.get_channel("lobby")
    except (InvalidChannel, IdleChannel):
        return chat.create_channel("lobby")


def main() -> None:
    parser = argparse.ArgumentParser(description="Chat in a Flask route.")
    parser.add_argument("--port", type=int, default=9002)
    port = parser.parse_args().port
    with ChatServer() as chat:
        serve(make_app(chat), "127.0.0.1", port)


if __name__ == "__main__":
    main()
