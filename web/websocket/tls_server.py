"""Accepts TLS without letting it hold places that plain requests need.

gevent's server lets a client take for ever over the TLS handshake, and closes the connection when its handler returns.
Here the handshake has a deadline, and a WebSocket keeps its connection while the handler, with its place in the pool, goes.
"""

from typing import ClassVar, Final

import gevent
from gevent.pywsgi import WSGIServer
from gevent.socket import socket as GeventSocket
from gevent.ssl import SSLSocket

HANDSHAKE: Final = 10.0  # seconds, as for a request's head


class TlsMixin(WSGIServer):
    """For a `WSGIServer` with an `ssl_context`."""

    handshake_timeout: ClassVar[float] = HANDSHAKE

    def keep(self, sock: GeventSocket) -> None:
        """Leave `sock` open when its handler returns: somebody else has it now."""
        self._kept().add(id(sock))

    def wrap_socket_and_handle(self, client_socket: GeventSocket, address: str) -> None:  # type: ignore[override]
        """gevent calls this in a greenlet of the pool."""
        try:
            with gevent.Timeout(self.handshake_timeout, TimeoutError()):
                sock = self._wrap(client_socket)
        except OSError:  # no TLS, or too slow: the client's affair
            client_socket.close()
            return
        try:
            self.handle(sock, address)
        finally:
            kept = self._kept()
            if id(sock) in kept:
                kept.discard(id(sock))
            else:
                sock.close()

    def _wrap(self, client_socket: GeventSocket) -> SSLSocket:
        return self.wrap_socket(client_socket, **self.ssl_args)  # type: ignore[misc, arg-type]  # a bound method of the context

    def _kept(self) -> set[int]:
        found: set[int] = self.__dict__.setdefault("_kept_sockets", set())
        return found
