"""Starts the real thing on a free port, and ends it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds for anything that a server should do at once
LISTENING = re.compile(r"Listening at: (?:\S+,)?(\S+) ")  # the last, where there are several
SERVING = re.compile(r"Serving on (\S+)")


class Server:
    """A server process; `log` is all it has written so far."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path = TOP, pass_fds: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**clean_environ(), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)

    @property
    def log(self) -> str:
        return "".join(list(self._lines))

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, pattern: str | re.Pattern[str], seconds: float = PATIENCE) -> re.Match[str]:
        """Return where the log matches, asking until it does."""
        return until(lambda: re.search(pattern, self.log), f"{pattern!r} in the log", seconds, lambda: self.log)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit status."""
        status = self._process.wait(seconds)
        self._reader.join(seconds)
        return status

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


def workers_of(server: Server) -> list[int]:
    """The process ids of all workers, the oldest first."""
    return [int(child) for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


def worker_of(server: Server) -> int:
    """That of the only one."""
    children = workers_of(server)
    assert len(children) == 1, children
    return children[0]


def until(ask, what: str, seconds: float = PATIENCE, detail=lambda: ""):
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{detail()}")
        pause.wait(0.02)
    return answer


def clean_environ() -> dict[str, str]:
    """Without settings of whoever runs the tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("CHAT_", "GUNICORN_", "FLASK_"))}


@contextmanager
def running(command: list[str], pass_fds: Sequence[int] = (), **env: str) -> Iterator[Server]:
    server = Server(command, env, pass_fds=pass_fds)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def gunicorn(
    instance: Path, *args: str, app: str = "wsgi:app", listeners: Sequence[socket.socket] = (), **env: str
) -> Iterator[tuple[Server, str]]:
    """gunicorn with the project's worker; yields the process and where it listens, once it answers.

    With `listeners` it listens on these alone; the last one's address is yielded.
    """
    inherited = [listener.fileno() for listener in listeners]
    binds = [f"-bfd://{number}" for number in inherited] or ([] if "-b" in args else ["-b127.0.0.1:0"])
    command = [sys.executable, "-m", "gunicorn", *binds, *args, app]
    with running(command, inherited, CHAT_INSTANCE=str(instance), **env) as server:
        where = server.wait_for(LISTENING).group(1)
        until(lambda: "Traceback" in server.log or _answers(where), "an answer", detail=lambda: server.log)
        assert "Traceback" not in server.log, server.log
        yield server, where


def _answers(where: str) -> bool:
    """Whether somebody accepts, and speaks."""
    if where.startswith("unix:"):
        family, address = socket.AF_UNIX, where.removeprefix("unix:")
    else:
        host, _, port = where.partition("//")[2].rpartition(":")
        family, address = socket.AF_INET, (host, int(port))
    with socket.socket(family) as probe:
        probe.settimeout(PATIENCE)
        try:
            probe.connect(address)
            if where.startswith("https"):
                return True
            probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return bool(probe.recv(100))
        except OSError:
            return False
