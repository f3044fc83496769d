"""The servers that are measured: how each is installed, started and spoken to."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from bench import install
from bench.install import PEERS
from bench.load import BUILT
from bench.machine import TOP

BEARER: Final = "Authorization: Bearer {}"
SUBPROTOCOL: Final = "Sec-WebSocket-Protocol: chat.v1, chat.token.{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How to run one; `{port}` and `{channels}` in the command are filled in."""

    name: str
    command: tuple[str, ...]
    install: Callable[[], object] = lambda: None
    """Blocks.  Raises: NotInstalled."""
    path: str = "/"
    protocol: str = ""
    """wsload's word for what is spoken; without one, text is echoed as it is."""
    header: str = ""
    """What presents a token; without one, nobody is asked for any."""
    mints: bool = False
    """It writes tokens of its own making at start; else it is given some."""
    workers: int = 1
    """Its processes that serve."""
    shares: bool = False
    """They share a Valkey, which is started for it."""
    folder: Path = TOP
    """Where it runs."""
    env: Mapping[str, str] = field(default_factory=dict)


_GUNICORN: Final = (sys.executable, "-m", "gunicorn", "-c", "bench/site.conf.py")


def ours(
    name: str,
    header: str,
    protocol: str = "",
    *,
    workers: int = 1,
    shares: bool = False,
    env: Mapping[str, str] | None = None,
) -> Server:
    """The standalone application, as it is run in production: the project's own configuration, its access log on.

    Peers keep nothing of what is said, so beside them ours keeps nothing either.
    """
    return Server(
        name=name,
        command=(*_GUNICORN, "-w", "{workers}", "-b", "127.0.0.1:{port}", "bench.site:app"),
        path="/chat/ws",
        protocol=protocol,
        header=header,
        mints=True,
        workers=workers,
        shares=shares,
        env={"CHAT_ARCHIVE": "0", "CHAT_MESSAGE_RATE": "0", "CHAT_TOKEN_DEADLINE": "600", **(env or {})},
    )


def _python(name: str, module: str, *command: str, hint: str = "", **more: str) -> Server:
    """A peer of PyPI, in an environment of its own."""
    return Server(
        name=name,
        command=(str(BUILT / name / "bin" / "python"), *command),
        install=partial(install.python, name, module, hint),
        folder=PEERS,
        **more,  # type: ignore[arg-type]
    )


_SOCKETIO: Final = (
    *("-m", "gunicorn", "-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker", "-b", "127.0.0.1:{port}"),
    *("--backlog", "4096", "--worker-connections", "20000", "--access-logfile", "-", "--no-control-socket"),
    "flask_socketio_app:app",
)

SERVERS: Final[Mapping[str, Server]] = {
    server.name: server
    for server in (
        ours("ours-plain", BEARER),
        ours("ours-v1", SUBPROTOCOL, "chatv1"),
        ours("ours-fast", BEARER, env={"CHAT_FAST_HANDSHAKE": "1"}),
        ours("ours-archive", BEARER, env={"CHAT_ARCHIVE": "1"}),  # SQLite, in an empty folder each time
        _python("socketify", "socketify", "socketify_app.py", "{port}", hint=" (it wants apt-get install libuv1)"),
        Server(
            name="ws",
            command=("node", str(BUILT / "ws" / "ws_server.js"), "{port}"),
            install=partial(install.node, "ws"),
        ),
        _python("websockets", "websockets, uvloop", "websockets_app.py", "{port}"),
        _python(
            "flask-socketio",
            "flask_socketio, geventwebsocket, gunicorn",
            *_SOCKETIO,
            path="/socket.io/?EIO=4&transport=websocket",
            protocol="socketio",
            header=BEARER,
        ),
        Server(name="parked", command=(sys.executable, "bench/peers/parked.py", "{port}"), path="/ws"),
        Server(
            name="ceiling",
            command=(str(BUILT / "ceiling"), "{port}", "{channels}"),
            path="/%d",
            install=partial(install.program, "ceiling"),
        ),
    )
}
