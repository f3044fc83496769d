"""Real sockets of every kind, servers on free ports, and nothing left behind."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO

import gevent
import pytest
import trustme
from gevent import socket, ssl
from gevent.pywsgi import WSGIServer

from chat.testing import TurnedClock
from tests.web.websocket.peers import HANDSHAKE, PATIENCE, Peer, Reply, Wire, read_reply, request
from web.websocket.handler import WebSocketHandler
from web.websocket.limits import Bounds
from web.websocket.protocol import MessageProtocol
from web.websocket.socket import Socket
from web.websocket.tls import GreenletSocket

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(autouse=True)
def crashes() -> Iterator[StringIO]:
    """What the hub prints of callbacks and greenlets that died: nothing, or the test takes it out itself."""
    hub = gevent.get_hub()
    hub.exception_stream = crashes = StringIO()
    yield crashes
    del hub.exception_stream  # the default, sys.stderr, again
    assert crashes.getvalue() == ""


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def unix_pair() -> Pair:
    ours, theirs = socket.socketpair()
    return ours, theirs


def tcp_pair() -> Pair:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    return ours, theirs


def tls_pair(server: ssl.SSLContext, client: ssl.SSLContext) -> Pair:
    ours, theirs = tcp_pair()
    wrapping = gevent.spawn(server.wrap_socket, ours, server_side=True)
    wrapped = client.wrap_socket(theirs, server_hostname="localhost")
    return wrapping.get(timeout=PATIENCE), wrapped


MakePair = Callable[[], Pair]


@pytest.fixture(params=["unix", "tcp", "tls"])
def make_pair(request, server_tls, client_tls) -> MakePair:
    """Makes connected sockets; each test that uses it runs over every kind."""
    if request.param == "tls":
        return lambda: tls_pair(server_tls, client_tls)
    return unix_pair if request.param == "unix" else tcp_pair


MakeWire = Callable[..., Wire]


@pytest.fixture
def make_wire(make_pair, clock) -> Iterator[MakeWire]:
    """Makes sockets under test, parked but not started."""
    made: list[Wire] = []
    greenlets: list[gevent.Greenlet] = []

    def make(*, rest: bytes = b"", write_buf: int = 1 << 20, max_message: int = 65536, max_fragments: int = 100) -> Wire:
        ours, theirs = make_pair()
        kind = GreenletSocket if isinstance(ours, ssl.SSLSocket) else Socket
        protocol = MessageProtocol(max_message=max_message, max_fragments=max_fragments)
        under_test = kind(protocol, Bounds(write_buf=write_buf), clock)
        under_test.park(ours, rest)
        if isinstance(under_test, GreenletSocket):
            greenlets.append(gevent.spawn(under_test.run))
        made.append(Wire(under_test, Peer(theirs)))
        return made[-1]

    yield make
    for wire in made:
        wire.socket.abort()
        wire.peer.sock.close()
    gevent.joinall(greenlets, timeout=PATIENCE, raise_error=True)
    assert all(greenlet.dead for greenlet in greenlets)


@pytest.fixture
def wire(make_wire) -> Wire:
    return make_wire()


class Site:
    """A running server.  `log` is its access log, `errors` its error log."""

    def __init__(self, server: WSGIServer, log: StringIO, errors: StringIO) -> None:
        self.server = server
        self.log = log
        self.errors = errors
        self._clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.server.server_port), timeout=PATIENCE)
        self._clients.append(client)
        return client

    def ask(self, data: bytes) -> Reply:
        """Send a request on a connection of its own, and read the answer."""
        client = self.connect()
        client.sendall(data)
        return read_reply(client)

    def upgrade(self, path: str = "/", *frames: bytes, **headers: str) -> tuple[Reply, Peer]:
        """Shake hands, with `frames` sent right behind."""
        client = self.connect()
        client.sendall(request(path, **{**HANDSHAKE, **headers}) + b"".join(frames))
        reply = read_reply(client)
        return reply, Peer(client, reply.rest if reply.status == 101 else b"")

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.stop(timeout=PATIENCE)


MakeSite = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[MakeSite]:
    """Runs an application under our handler, over TLS if need be; other keywords are settings of the handler."""
    sites: list[Site] = []

    def start(app: object, bases: tuple[type, ...] = (WebSocketHandler,), tls: object = None, **settings: object) -> Site:
        handler = type("Handler", bases, settings)
        log, errors = StringIO(), StringIO()
        secure = {"ssl_context": tls} if tls else {}
        server = WSGIServer(("127.0.0.1", 0), app, handler_class=handler, log=log, error_log=errors, spawn=1000, **secure)
        server.start()
        sites.append(Site(server, log, errors))
        return sites[-1]

    yield start
    for site in sites:
        with suppress(OSError):
            site.close()
