"""Connections to a Redis that let other greenlets run, by redis-py.

Its own connect uses the `socket` module as it stands; these use gevent's, whether that has been put in its place or not.
"""

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar

import gevent
from gevent import monkey
from gevent import socket as cooperative
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TookTooLong
from redis.retry import Retry

from chat.bus.address import Address

DEADLINE: Final = 5.0  # seconds for an answer, and for a connection with all that belongs to it: TLS, the password

LOOK_UP: Final = monkey.get_original("socket", "getaddrinfo")

Word: TypeAlias = bytes | str | int | float
T = TypeVar("T")

Connect = Callable[[], AbstractConnection]
"""Make a connection that can be used, or raise what redis-py raises.  Blocks."""


class _Tcp(Connection):
    def _connect(self) -> cooperative.socket:
        error = OSError("it has no address")
        for family, _, _, _, where in _look_up(self.host, self.port):
            try:
                sock = _open(family, where)
            except OSError as exc:
                error = exc
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                return sock
        raise error


class _Tls(SSLConnection, _Tcp):
    """Wraps what `_Tcp` connects."""


class _Unix(UnixDomainSocketConnection):
    def _connect(self) -> cooperative.socket:
        return _open(socket.AF_UNIX, self.path)


def _look_up(host: str, port: int) -> list[Any]:
    """A thread does that, and while the hub is busy it waits long for its turn.  What is a number already needs none."""
    try:
        return list(LOOK_UP(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST))
    except socket.gaierror:
        return cooperative.getaddrinfo(host, port, 0, socket.SOCK_STREAM)


def _open(family: int, where: Any) -> cooperative.socket:
    sock = cooperative.socket(family, socket.SOCK_STREAM)
    try:
        sock.connect(where)
    except BaseException:  # a deadline, or the greenlet's end
        sock.close()
        raise
    return sock


def connect_to(address: Address, host: str = "", port: int = 0, *, deadline: float = DEADLINE) -> AbstractConnection:
    """Connect to `host`, or to the unix socket, as `address` says.  Blocks.  Raises: RedisError."""
    kind, where = _kind(address, host, port)
    connection: AbstractConnection = kind(
        **where,
        **address.options,
        protocol=2,
        driver_info=None,
        socket_timeout=None,  # an answer has its time in `Line`
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        with _within(deadline):
            connection.connect()
            # Without a password nothing has been said yet: it may be loading, want a password, or be no Redis at all.
            _ask(connection, "PING")
    except BaseException:
        connection.disconnect()
        raise
    return connection


def _kind(address: Address, host: str, port: int) -> tuple[type[AbstractConnection], dict[str, Any]]:
    if not host:
        return _Unix, {}
    if not address.is_secure:
        return _Tcp, {"host": host, "port": port}
    if not monkey.is_module_patched("ssl"):
        raise NotConnected("TLS is only to be had where gevent has patched the process")
    return _Tls, {"host": host, "port": port}


def pack(*words: Word) -> bytes:
    """A command as it goes over the line.  Raises: TypeError, UnicodeEncodeError."""
    packed: bytes = pack_command(words)  # type: ignore[arg-type]  # it says that it takes one word
    return packed


def ask_once(connection: AbstractConnection, *words: Word, deadline: float = DEADLINE) -> Any:
    """Ask something over a connection that nobody else uses.  Blocks.  Raises: RedisError; then it is closed."""
    try:
        with _within(deadline):
            return _ask(connection, *words)
    except BaseException:
        connection.disconnect()
        raise


def _ask(connection: AbstractConnection, *words: Word) -> Any:
    connection.send_command(*words, check_health=False)
    return connection.read_response(disable_decoding=True)


@contextmanager
def _within(deadline: float) -> Iterator[None]:
    """Raises: NotConnected when it is over."""
    try:
        with gevent.Timeout(deadline, TimeoutError()):  # for which gevent closes a socket in the middle of a handshake
            yield
    except (TimeoutError, TookTooLong):
        raise NotConnected(f"no answer within {deadline:g} s") from None


def first_of(attempts: Iterable[Callable[[], T]]) -> T:
    """What the first attempt that succeeds returns.  Raises: RedisError, that of the last one."""
    error: RedisError = NotConnected("there is nobody to ask")
    for attempt in attempts:
        try:
            return attempt()
        except RedisError as exc:
            error = exc
    raise error
