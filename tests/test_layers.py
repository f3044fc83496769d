"""Imports point down: what a file builds on lies below it, and is understood without it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom.  A file imports from lines above its own here, never from its own line or from lines below.  A package
# stands for its `__init__.py`; `worker`, `app` and `serve` are programs, on which nothing is built.
LAYERS = """
    chat.schema.versions.0001_channels chat.schema.versions.0002_logs chat.schema.versions.0003_log
    web.schema.versions.0001_accounts web.schema.versions.0002_logins web.schema.versions.0003_custody
    chat.errors chat.closing chat.config chat.clock chat.event chat.turn
    chat.names chat.orders chat.requests chat.format chat.rate chat.past chat.packed
    chat.frames chat.mentions
    chat.wire
    chat.conn
    chat.engine chat.migrations chat.bulk chat.bus.address chat.bus.backoff
    chat.bus.connecting
    chat.bus.line
    chat.bus.ear chat.bus.link
    chat.bus.shard
    chat.bus.cluster chat.bus.server
    chat.bus.bus
    chat.bus
    chat.bus.lease
    chat.fleet
    chat.executor chat.grouping
    chat.database chat.schema chat.inbox chat.crowd chat.restricted chat.hooks
    chat.tokens.base chat.presence.base chat.registry.base chat.archive.base
    chat.archive.rows chat.archive.marks
    chat.archive.appending chat.archive.retention chat.registry.boot
    chat.tokens.memory chat.tokens.redis chat.presence.memory chat.presence.redis
    chat.registry.memory chat.registry.sql chat.archive.memory chat.archive.sql
    chat.tokens chat.presence chat.registry chat.archive
    chat.broker.base chat.broker.recent chat.broker.said chat.broker.scripts chat.broker.parcel
    chat.broker.memory chat.broker.feeding
    chat.broker.following
    chat.broker.redis
    chat.broker
    chat.member chat.pace
    chat.fanout chat.notices chat.roster chat.floor chat.changes chat.lane chat.typists
    chat.outgoing
    chat.reader
    chat.loop
    chat.reception
    chat.channel
    chat.burial chat.controller
    chat.server
    chat.shared
    chat.client.errors chat.client.closings chat.client.position
    chat.client.backoff chat.client.hearing chat.client.watchdog chat.client.pace chat.client.receipt chat.client.address
    chat.client.browser chat.client.outbox
    chat.client.login chat.client.websocket chat.client.channel
    chat.client.session
    chat.client.client
    chat.client chat.client.screen chat.client.lines chat.client.commands
    chat.client.terminal
    chat.client.__main__
    chat.testing.clock chat.testing.turns
    chat.testing.conns
    chat.testing.faults chat.testing.person
    chat.testing chat.testing.fixtures
    chat

    web.arbiter web.valkey.home web.valkey.appending
    web.valkey.server
    web.valkey.tenancy web.valkey.supervisor
    web.valkey web.scoreboard

    web.websocket.limits
    web.websocket.redact web.websocket.refusal web.websocket.serving
    web.websocket.accepting web.websocket.tls_server web.websocket.deadline web.websocket.outbox web.websocket.lock
    web.websocket.protocol web.websocket.head web.websocket.census web.websocket.pace
    web.websocket.body
    web.websocket.deflate
    web.websocket.handshake
    web.websocket.base web.websocket.formats web.websocket.http web.websocket.access
    web.websocket.socket web.websocket.upgrade web.websocket.peer
    web.websocket.tls web.websocket.heartbeat web.websocket.conn
    web.websocket.compat web.websocket.moves
    web.websocket.gate
    web.websocket.handler
    web.websocket web.websocket.worker web.serve
    web.settings web.commands web.schema
    web.throttle web.answers web.address
    web.passwords web.slowdown web.cookies web.device
    web.accounts
    web.logins
    web.host web.account_commands
    web.door web.metrics
    web.shortcut
    web.routes web.routes.api web.routes.login web.routes.headers web.routes.health web.routes.metrics
    web.routes.account web.routes.page
    web.routes.channels web.routes.messages web.routes.tokens web.routes.socket web.draining
    web.extension
    web.testing.caller
    web.testing.chatter
    web.testing.site
    web.testing web.testing.fixtures
    web
    web.app

    bench bench.peers.flask_socketio_app bench.peers.parked bench.peers.socketify_app bench.peers.websockets_app
    bench.site bench.machine bench.picture bench.networks bench.valkey bench.publishing
    bench.site.conf bench.load
    bench.install bench.scenarios bench.goals bench.record bench.loads
    bench.servers bench.report
    bench.running
    bench.measure
    bench.__main__
    bench.cluster
    bench.cluster.servers bench.cluster.hosts
    bench.cluster.scenarios bench.cluster.goals bench.cluster.table bench.cluster.taking
    bench.cluster.__main__
"""

HEIGHT = {name: height for height, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    name_of(path): path
    for top in ("chat", "web", "bench")
    for path in sorted((ROOT / top).rglob("*.py"))
    if ".env" not in path.parts
}


def imported(name: str) -> Iterator[str]:
    """All that a file imports, wherever in it: in functions and under TYPE_CHECKING too."""
    path = FILES[name]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(name, path, node)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in FILES else module


def _absolute(name: str, path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        assert node.module is not None
        return node.module
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def ours(name: str) -> list[str]:
    return [found for found in imported(name) if found in FILES]


def test_every_file_has_its_place_in_the_layers_and_every_place_its_file() -> None:
    assert sorted(HEIGHT) == sorted(FILES)


def test_no_file_has_two_places() -> None:
    places = LAYERS.split()

    assert sorted(places) == sorted(set(places))


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_files_below_it(name: str) -> None:
    up = [found for found in ours(name) if HEIGHT[found] >= HEIGHT[name]]

    assert up == []


@pytest.mark.parametrize("name", FILES)
def test_what_is_imported_of_ours_exists_as_a_file(name: str) -> None:
    strange = [found for found in imported(name) if found.split(".")[0] in ("chat", "web", "bench") and found not in FILES]

    assert strange == []


@pytest.mark.parametrize("name", [name for name in FILES if name.split(".")[0] == "chat"])
def test_the_core_knows_nothing_of_the_web(name: str) -> None:
    foreign = {"web", "flask", "flask_login", "werkzeug", "geventwebsocket", "websockets", "gunicorn"}
    if folder_of(name) == "chat.client":  # a program above the core
        foreign.remove("websockets")

    assert {found.split(".")[0] for found in imported(name)} & foreign == set()


@pytest.mark.parametrize("name", [name for name in FILES if name.split(".")[0] == "chat"])
def test_the_core_knows_nothing_of_its_client(name: str) -> None:
    assert folder_of(name) == "chat.client" or "chat.client" not in map(folder_of, imported(name))


def folder_of(name: str) -> str:
    """What is to be free of circles: each folder within a package as a whole, each file beside these by itself."""
    return ".".join(name.split(".")[:2])


def reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = set(arrows[start])
    while ahead:
        found |= ahead
        ahead = {further for folder in ahead for further in arrows[folder]} - found
    return found


def test_folders_do_not_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for name in FILES:
        folder = folder_of(name)
        arrows.setdefault(folder, set()).update({folder_of(found) for found in ours(name)} - {folder})

    assert [folder for folder in arrows if folder in reachable(folder, arrows)] == []
