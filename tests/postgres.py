"""A real PostgreSQL: one for the whole run, started when it is first wanted, and an empty database for each test."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

PATIENCE = 30.0  # seconds for a start, or an end
USER, PASSWORD = "chat", "not-to-be-shown"
FAST = ("fsync=off", "full_page_writes=off")  # a crash of the machine may cost all, one of the server nothing
HANG_UP = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""  # 5,000 ms
numbers = count()


class Postgres:
    """A server in a folder of its own, on a unix socket and a loopback port.  Not started yet."""

    def __init__(self) -> None:
        self._programs = _find_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="postgres."))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._spare: list[str] = []
        if os.geteuid() == 0:  # which it refuses
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        how = ("--no-sync", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C.UTF-8")
        with self._spawn("initdb", "-D", self.folder / "data", *how) as making:
            assert making.wait(PATIENCE) == 0, self.log

    def _spawn(self, program: str, *args: str | Path) -> "subprocess.Popen[bytes]":
        owner = {"user": "postgres", "group": "postgres", "extra_groups": ()} if os.geteuid() == 0 else {}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *args],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it
                **owner,  # type: ignore[call-overload]
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def runs(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        settings = [f"-c{setting}" for setting in (*FAST, "listen_addresses=127.0.0.1")]
        self._process = self._spawn(
            "postgres", "-D", self.folder / "data", "-k", self.folder, "-p", str(self.port), *settings
        )
        deadline, pause = time.monotonic() + PATIENCE, threading.Event()
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            pause.wait(0.02)

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is its fast shutdown; SIGQUIT the immediate one, which is like a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(host=str(self.folder), port=self.port, user=USER, dbname=database, autocommit=True)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def lend(self) -> str:
        """Return the name of an empty database."""
        if self._spare:
            return self._spare.pop()
        name = f"test{next(numbers)}"
        with closing(self.connect("postgres")) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def take_back(self, database: str) -> None:
        """Empty it for the next test: to drop it and to make another one would take ten times as long."""
        with closing(self.connect(database)) as connection:
            connection.execute(HANG_UP)
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        self._spare.append(database)


def _find_programs() -> Path:
    """Debian's do not stand in the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if found:
        return found[-1]
    if on_path is None:
        pytest.fail("PostgreSQL is wanted for this test: apt-get install postgresql", pytrace=False)
    return Path(on_path).resolve().parent


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(running_postgres: Postgres) -> Iterator["OneDatabase"]:
    """The server, with an empty database for this test."""
    name = running_postgres.lend()
    yield OneDatabase(running_postgres, name)
    running_postgres.take_back(name)


class OneDatabase:
    """One test's database, at `url`."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """A connection beside those of what is tested."""
        return self.server.connect(self.name)
