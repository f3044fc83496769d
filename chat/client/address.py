"""Where a chat is, and how to get there: a URL, and sockets of gevent's to its host."""

import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from gevent import socket as gevent_socket
from gevent import ssl as gevent_ssl
from gevent.socket import socket as GeventSocket

from chat.client.errors import Unreachable

SCHEMES = {"http": ("http", False), "ws": ("http", False), "https": ("https", True), "wss": ("https", True)}


class Address(NamedTuple):
    """Of a chat; `prefix` is where it is mounted, without a slash at its end."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read `https://example.org/chat`.  Raises: ValueError that says what is wrong."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a chat: http://HOST:PORT/chat is wanted, or https")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(f"{url!r} has more in it than a host and a path; name and password are given apart")
        scheme, is_tls = SCHEMES[parts.scheme]
        return cls(scheme, parts.hostname, parts.port or (443 if is_tls else 80), parts.path.rstrip("/"))

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    @property
    def origin(self) -> str:
        """`http://host:port`, without the port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == (443 if self.is_tls else 80) else f":{self.port}")

    def socket_url(self, query: str) -> str:
        """Where the WebSocket comes in."""
        return f"{'wss' if self.is_tls else 'ws'}{self.origin.removeprefix(self.scheme)}{self.prefix}/ws" + (
            f"?{query}" if query else ""
        )

    def dial(self, timeout: float, tls: ssl.SSLContext | None) -> GeventSocket:
        """Connect, by TLS where the scheme says so; `timeout` stays with the socket.  Blocks.  Raises: Unreachable."""
        sock: GeventSocket | None = None
        try:
            sock = gevent_socket.create_connection((self.host, self.port), timeout=timeout)
            sock.setsockopt(gevent_socket.IPPROTO_TCP, gevent_socket.TCP_NODELAY, 1)
            if self.is_tls:
                # Whatever context is given, the socket has to be gevent's, whether or not anything is patched.
                context = tls or gevent_ssl.create_default_context()
                sock = gevent_ssl.SSLSocket(sock=sock, server_hostname=self.host, _context=context)
        except OSError as exc:
            if sock is not None:
                sock.close()
            raise Unreachable(self.origin, _why(exc)) from exc
        return sock


def _why(error: OSError) -> str:
    return str(error.strerror or error)
