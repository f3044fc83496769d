"""A Valkey of the benchmark's own: the embedded one's program and settings, on a core that the benchmark chooses.

Not `web.valkey` itself, whose supervisor is nobody's child: it could be put on no core, and would outlive a benchmark that
was killed.  Its syncs, two a second, are left out: the disk is no part of what is measured.
"""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis import Redis

from web.valkey.server import OPTIONS, program

PATIENCE: Final = 10.0  # seconds to answer in, and to end in
PORT: Final = 6379
SOCKET: Final = "socket"


class ValkeyFailed(Exception):
    """It did not start; the text says why."""


@dataclass(frozen=True, slots=True)
class Valkey:
    """One that answers."""

    pid: int
    url: str
    """For CHAT_REDIS_URL."""


@contextmanager
def valkey(folder: Path, *, core: int, inside: Sequence[str] = (), address: str = "") -> Iterator[Valkey]:
    """Run one on that core, in `folder`, which it makes, and reached by a unix socket there.  Blocks.

    With `address` by TCP at that address too, in the network into which the command `inside` leads; then its URL is that.
    Raises: ValkeyFailed; Unavailable where there is no program.
    """
    folder.mkdir()
    path, log = folder / SOCKET, folder / "log"
    options = {**OPTIONS, "dir": str(folder), "unixsocket": str(path)}
    if address:
        options |= {"port": str(PORT), "bind": address, "protected-mode": "no"}
    told = (part for name, value in options.items() for part in (f"--{name}", value))
    command = [*inside, "taskset", "-c", str(core), str(program()), *told]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        _await_answer(process, path, log)
        yield Valkey(process.pid, f"redis://{address}:{PORT}/0" if address else f"unix://{path}")
    finally:
        process.kill()
        process.wait(PATIENCE)


def events_in_a_publish(folder: Path) -> float:
    """The mean since the start of the one that runs in `folder`; 0 without any.  Blocks."""
    with Redis(unix_socket_path=str(folder / SOCKET)) as client:
        published = client.info("commandstats").get("cmdstat_xadd", {}).get("calls", 0)
        events = sum(int(client.hget(key, "offset") or 0) for key in client.scan_iter("*:meta", count=1000))
    return events / published if published else 0.0


def _await_answer(process: "subprocess.Popen[bytes]", path: Path, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ValkeyFailed(f"Valkey does not answer: {log.read_text().strip() or 'it said nothing'}")
        time.sleep(0.01)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
            sock.sendall(b"PING\r\n")
            return sock.recv(100) == b"+PONG\r\n"
        except OSError:
            return False
