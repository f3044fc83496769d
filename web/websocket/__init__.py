"""WebSockets on gevent's HTTP server: the handler, and what a route of your own needs to use it.

    WSGIServer(("127.0.0.1", 8000), app, handler_class=WebSocketHandler).serve_forever()

A route finds `environ["wsgi.websocket"]`, as with gevent-websocket, or, for thousands of connections without a greenlet
each, `environ["web.websocket"]`: an `Upgrade`, on whose sockets `PlainConn` makes a connection for a channel.
"""

from chat.rate import Rate
from web.websocket.base import BaseSocket
from web.websocket.conn import PlainConn
from web.websocket.handler import WebSocketHandler
from web.websocket.handshake import HandshakeError, check, check_origin, offered_subprotocols
from web.websocket.heartbeat import Heartbeat
from web.websocket.peer import Peer, Rules
from web.websocket.upgrade import Upgrade

__all__ = [
    "BaseSocket",
    "HandshakeError",
    "Heartbeat",
    "Peer",
    "PlainConn",
    "Rate",
    "Rules",
    "Upgrade",
    "WebSocketHandler",
    "check",
    "check_origin",
    "offered_subprotocols",
]
