"""Connections to a Redis that let other greenlets run, by redis-py.

Its own connect uses the `socket` module as it stands; these use gevent's, whether that has been put in its place or not.
"""

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

import gevent
from gevent import monkey
from gevent import socket as cooperative
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError
from redis.retry import Retry

from chat.bus.address import Address

CONNECT_TIMEOUT: Final = 5.0  # seconds, for all that belongs to it: TLS, the password, asking a sentinel

Word: TypeAlias = bytes | str | int | float
T = TypeVar("T")

Connect = Callable[[], AbstractConnection]
"""Make a connection that can be used, or raise what redis-py raises.  Blocks."""


class _Tcp(Connection):
    def _connect(self) -> cooperative.socket:
        sock = cooperative.create_connection((self.host, self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock


class _Unix(UnixDomainSocketConnection):
    def _connect(self) -> cooperative.socket:
        sock = cooperative.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        return sock


def connect_to(address: Address, host: str = "", port: int = 0) -> AbstractConnection:
    """Connect to `host`, or to the unix socket, as `address` says.  Blocks.  Raises: RedisError."""
    kind, where = _kind(address, host, port)
    connection: AbstractConnection = kind(
        **where,
        **address.options,
        protocol=2,
        driver_info=None,
        socket_timeout=None,  # an answer has its time in `Link`
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
    )
    with gevent.Timeout(CONNECT_TIMEOUT, NotConnected(f"no answer within {CONNECT_TIMEOUT:g} s")):
        connection.connect()
    return connection


def _kind(address: Address, host: str, port: int) -> tuple[type[AbstractConnection], dict[str, Any]]:
    if not host:
        return _Unix, {}
    if not address.is_secure:
        return _Tcp, {"host": host, "port": port}
    if not monkey.is_module_patched("ssl"):
        raise NotConnected("TLS is only to be had where gevent has patched the process")
    return SSLConnection, {"host": host, "port": port}


def pack(*words: Word) -> bytes:
    """A command as it goes over the line."""
    packed: bytes = pack_command(words)  # type: ignore[arg-type]  # it says that it takes one word
    return packed


def ask_once(connection: AbstractConnection, *words: Word) -> Any:
    """Ask something over a connection that nobody else uses.  Blocks.  Raises: RedisError."""
    with gevent.Timeout(CONNECT_TIMEOUT, NotConnected(f"no answer within {CONNECT_TIMEOUT:g} s")):
        connection.send_command(*words, check_health=False)
        return connection.read_response(disable_decoding=True)


def first_of(attempts: Iterable[Callable[[], T]]) -> T:
    """What the first attempt that succeeds returns.  Raises: RedisError, that of the last one."""
    error: RedisError = NotConnected("there is nobody to ask")
    for attempt in attempts:
        try:
            return attempt()
        except RedisError as exc:
            error = exc
    raise error
