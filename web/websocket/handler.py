"""Makes WebSockets of HTTP requests: the handler for `gevent.pywsgi.WSGIServer`, and the base of gunicorn's.

The application decides first, as it would for any request.  Only when it has returned, with status 101 and having agreed
with `environ["web.websocket"]`, is the handshake accepted; anything else it says is sent as plain HTTP.  Afterwards the
socket leaves pywsgi, and this handler with its greenlet ends.
"""

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

import gevent
from gevent.socket import socket as GeventSocket
from gevent.ssl import SSLSocket
from geventwebsocket.exceptions import WebSocketError
from websockets.extensions import Extension

from chat.clock import Clock, SystemClock
from web.websocket.base import BaseSocket
from web.websocket.compat import KEY as ROUTE_KEY
from web.websocket.compat import WebSocket
from web.websocket.handshake import accept_headers, check, negotiate_deflate, requested
from web.websocket.http import HttpHandler
from web.websocket.protocol import MessageProtocol
from web.websocket.refusal import Refusal
from web.websocket.socket import Socket
from web.websocket.tls import GreenletSocket
from web.websocket.tls_server import TlsMixin
from web.websocket.upgrade import KEY, SWITCHING, Terms, Upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIEnvironment


class WebSocketHandler(HttpHandler):
    """One HTTP connection, of which a WebSocket may be made.

    The limits and `compression` are for routes on `environ["wsgi.websocket"]`; `Upgrade.accept` has its own.
    """

    max_message: int | None = 16 * 2**20  # bytes; gevent-websocket had no limit
    max_fragments: int | None = None
    compression: bool = False
    clock: Clock = SystemClock()
    is_prompt: ClassVar[bool] = False  # the listener has TCP_NODELAY, which connections inherit

    _upgrade = Upgrade(False)
    _route: WebSocket | None = None
    _switching = False  # the application said 101, and agreed
    _reader: GreenletSocket | None = None  # what this greenlet drives after the response

    # pywsgi calls these.

    def get_environ(self) -> "WSGIEnvironment":
        environ = super().get_environ()
        self._upgrade = environ[KEY] = Upgrade(requested(environ))
        self._route = None
        if self._upgrade.requested:
            self._route = environ[ROUTE_KEY] = WebSocket(self, environ)
        return environ

    def handle_one_response(self) -> None:
        self._switching = False
        try:
            super().handle_one_response()
        finally:
            self._forget()
        if self._reader is not None:
            self._reader.run()

    def run_application(self) -> None:
        try:
            self._run_view()
            if self._switching:
                self._switch()
        except Refusal as refusal:
            self._answer(refusal)
        finally:
            self._upgrade.abandon()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
    ) -> "Callable[[bytes], None]":
        if self._route is not None and self._route.taken:
            self._route.answered(status)
            return self.write
        self._switching = self._upgrade.terms is not None and status.startswith("101")
        return self.write if self._switching else super().start_response(status, headers, exc_info)

    def write(self, data: bytes) -> None:
        if not self._switching and not (self._route is not None and self._route.taken):
            super().write(data)

    # Upgrading.

    def _run_view(self) -> None:
        """Run the application; complete what it began when it is a route of the host's own."""
        route = self._route
        try:
            super().run_application()
        except WebSocketError:
            # What `receive` and `send` raise when the peer has gone, or never was one.
            if route is None or not route.taken:
                raise
        except BaseException as exc:
            if route is not None:
                route.failed(exc)
            raise
        finally:
            if route is not None and route.taken:
                route.finish()
        if route is not None and route.refusal is not None:
            raise route.refusal

    def _switch(self) -> None:
        terms = self._upgrade.terms
        assert terms is not None
        extensions = self.send_switching(terms.subprotocol, compression=terms.compression, shared=True)
        self._upgrade.open(self._park(terms, extensions))

    def send_switching(self, subprotocol: str | None, *, compression: bool, shared: bool) -> list[Extension]:
        """Accept the handshake; return the extensions agreed on, none without `compression`.  Blocks.

        Raises: HandshakeError, when it is none; OSError, when the client has gone.
        """
        assert self.environ is not None
        check(self.environ)
        header, extensions = negotiate_deflate(self.environ, shared=shared) if compression else (None, [])
        if not self.is_prompt:
            set_nodelay(self.socket)
        headers = accept_headers(self.environ, subprotocol, header)
        lines = [f"HTTP/1.1 {SWITCHING}", *(f"{name}: {value}" for name, value in headers), "", ""]
        self._note_switching(headers)
        self._send_at_once("\r\n".join(lines).encode("latin-1"))
        return extensions

    def _note_switching(self, headers: list[tuple[str, str]]) -> None:
        """Leave what pywsgi, and both access logs, go by."""
        self.status = self._orig_status = SWITCHING
        self.code = 101
        self.response_headers = headers
        self.headers_sent = self.connection_upgraded = self.close_connection = True

    def _park(self, terms: Terms, extensions: list[Extension]) -> BaseSocket:
        """Take the connection away from pywsgi."""
        bounds = terms.bounds
        protocol = MessageProtocol(
            max_message=bounds.max_message, max_fragments=bounds.max_fragments, extensions=extensions
        )
        sock, rest = self.socket, self.read_ahead()
        kind = GreenletSocket if isinstance(sock, SSLSocket) else Socket
        parked = kind(protocol, bounds, self.clock)
        parked.park(sock, rest)
        self.rfile.close()
        self.socket = None  # type: ignore[assignment]  # ends pywsgi's loop, and there is nothing left to close
        if isinstance(parked, GreenletSocket):
            self._drive(parked, sock)
        return parked

    def _drive(self, parked: GreenletSocket, sock: GeventSocket) -> None:
        """Let it be read: by a greenlet of its own where the server lets go of the connection, else by this one."""
        if isinstance(self.server, TlsMixin):
            self.server.keep(sock)
            gevent.spawn(parked.run)  # ends with the connection
        else:
            self._reader = parked

    def read_ahead(self) -> bytes:
        """Return what came behind the handshake and was read with it; the socket does not block afterwards."""
        self.socket.settimeout(0)
        if self._came_alone:
            return b""
        rest = b""
        with suppress(OSError):  # TLS says so when there is nothing
            rest = self.rfile.peek()
        return rest

    def connection(self) -> GeventSocket:
        """The socket, for a route of the host's own."""
        return self.socket

    def _forget(self) -> None:
        """Break the circles of environ, route and handler: nobody should wait for the collector."""
        if self._route is not None:
            assert self.environ is not None
            self.environ.pop(ROUTE_KEY, None)
            self._route.detach()
            self._route = None


def set_nodelay(sock: GeventSocket) -> None:
    """Send small frames at once.  A unix socket has no such option, and a reset one refuses it."""
    if sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
