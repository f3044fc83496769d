"""A running server: started on a core of its own, asked until it answers, and stopped.

It is fresh for every sample, so that none inherits the memory or the members of the one before.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.servers import Server
from bench.valkey import ValkeyFailed, valkey

PATIENCE: Final = 60.0
"""Seconds to start in, tokens included, and to end in."""


class ServerFailed(Exception):
    """A server ended, or did not answer; the text is the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    server: Server
    pid: int
    port: int
    headers: Path | None
    """For wsload: one client's header a line."""
    tokens_kib: int
    """Of its memory, what holds the tokens that wait; connections will use it again."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """Its processes by name, where there are several: each worker, and the Valkey."""

    def options(self) -> list[str]:
        """What to tell wsload of it."""
        pids = ",".join(str(pid) for pid in self.parts.values() or [self.pid])
        found = ["--port", str(self.port), "--pid", pids, "--path", self.server.path, "--label", self.server.name]
        found += ["--protocol", self.server.protocol] if self.server.protocol else []
        return found + (["--headers", str(self.headers)] if self.headers else [])


@contextmanager
def running(
    server: Server, folder: Path, *, core: int, members: int, channels: int = 1, settings: Mapping[str, str]
) -> Iterator[Running]:
    """Start it on that core, with its files in `folder`, an empty one; yield it once it answers, and stop it.  Blocks.

    Raises: ServerFailed; Unavailable where it wants a Valkey and there is no program.
    """
    with ExitStack() as stack:
        parts = {}
        if server.shares:
            try:
                shared = stack.enter_context(valkey(folder / "valkey", core=core))
            except ValkeyFailed as exc:
                raise ServerFailed(str(exc)) from exc
            parts, settings = {"valkey": shared.pid}, {**settings, "CHAT_REDIS_URL": shared.url}
        it = stack.enter_context(started(server, folder, core=core, members=members, channels=channels, settings=settings))
        if parts or server.workers > 1:
            parts = {**{f"worker_{number}": pid for number, pid in enumerate(workers_of(it.pid), 1)}, **parts}
        yield replace(it, parts=parts)


@contextmanager
def started(
    server: Server,
    folder: Path,
    *,
    core: int,
    members: int,
    channels: int = 1,
    settings: Mapping[str, str],
    inside: Sequence[str] = (),
) -> Iterator[Running]:
    """The same without a Valkey; the command `inside` leads into a network of its own.  Blocks.  Raises: ServerFailed."""
    port, tokens, log = _free_port(), folder / "tokens", folder / "log"
    if server.header and not server.mints:
        tokens.write_text("\n".join(secrets.token_hex(32) for _ in range(members)))
    env = {**_environ(), **server.env, **settings, "TOKENS": str(tokens)}
    if server.mints:
        minting = {"MINT_COUNT": str(members), "MINT_PATH": str(tokens), "MINT_CHANNELS": str(channels)}
        env |= {**minting, "CHAT_INSTANCE": str(folder / "instance")}
    told = [part.format(port=port, channels=channels, workers=server.workers) for part in server.command]
    command = [*inside, "taskset", "-c", str(core), *told]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=server.folder, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait(process, lambda: (bool(inside) or answers(port)) and _is_whole(server, tokens), server, log)
        yield Running(server, process.pid, port, _headers(server, folder, tokens), _tokens_kib(tokens))
        if process.poll() is not None:
            raise ServerFailed(f"{server.name} ended meanwhile: {_end(log)}")
    finally:
        _stop(process)


def _environ() -> dict[str, str]:
    """Without settings of whoever measures."""
    theirs = ("CHAT_", "GUNICORN_", "FLASK_", "WEB_CONCURRENCY")
    return {key: value for key, value in os.environ.items() if not key.startswith(theirs)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _is_whole(server: Server, tokens: Path) -> bool:
    """Whether all that shall serve do: a worker that comes late would have fewer members than the others."""
    if server.header and not tokens.exists():
        return False
    return not server.mints or len([*tokens.parent.glob("*.serves")]) >= server.workers


def workers_of(master: int) -> list[int]:
    """The processes that serve, the oldest first."""
    return sorted(int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split())


def _headers(server: Server, folder: Path, tokens: Path) -> Path | None:
    if not server.header:
        return None
    path = folder / "headers"
    path.write_text("".join(server.header.format(token) + "\n" for token in tokens.read_text().split()))
    return path


def _tokens_kib(tokens: Path) -> int:
    beside = tokens.with_suffix(".kib")
    return int(beside.read_text()) if beside.exists() else 0


def answers(port: int, within: float = 3.0) -> bool:
    """Whether a plain request gets an answer, or an orderly end, in so many seconds.  Blocks.

    That the port accepts says little: gunicorn's master listens before its worker has imported anything.
    """
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=within) as conn:
            conn.sendall(request.encode())
            conn.recv(1)
    except OSError:  # a reset too: so end those whom a server that dies at its start has never accepted
        return False
    return True


def _wait(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], server: Server, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if process.poll() is not None:
            raise ServerFailed(f"{server.name} ended at its start: {_end(log)}")
        if time.monotonic() > deadline:
            raise ServerFailed(f"{server.name} does not answer after {PATIENCE:.0f} s: {_end(log)}")
        time.sleep(0.02)


def _end(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
