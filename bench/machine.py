"""The machine: two cores to measure on, and what it was, for the record."""

import os
import platform
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parent.parent
DESCRIPTORS: Final = 12_000  # 10,000 sockets, and what else a server opens
PACKAGES: Final = ("gevent", "gevent-websocket", "websockets", "Flask", "gunicorn", "msgspec", "SQLAlchemy")


class Unfit(Exception):
    """Nothing can be measured here; the text says what is wanted."""


def two_cores() -> tuple[int, int]:
    """Return one core for the server and one for the load, of two physical cores where there are.

    Raises: Unfit, with fewer than two.
    """
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise Unfit("two cores are wanted, one for the server and one for the load; this process may use one")
    twins = _twins(first)
    return first, next((core for core in others if core not in twins), others[0])


def _twins(core: int) -> set[int]:
    """Which hardware threads share that one's physical core."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return set(_numbers(path.read_text())) if path.exists() else {core}


def _numbers(ranges: str) -> Iterator[int]:
    """Read the kernel's lists, such as `0,4-6`."""
    for part in ranges.strip().split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def allow_descriptors() -> None:
    """Let this process and those that it starts open as many as the largest scenario needs.

    Raises: Unfit, where the hard limit is below.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= DESCRIPTORS or soft == resource.RLIM_INFINITY:
        return
    if DESCRIPTORS > hard != resource.RLIM_INFINITY:
        raise Unfit(f"{DESCRIPTORS:,} open files are wanted; the hard limit is {hard:,} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


def facts() -> dict[str, object]:
    """Describe this machine and what is installed."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "rev-parse", "HEAD"),
        "changed": bool(_said("git", "status", "--porcelain", "--", "chat", "web", "bench", "gunicorn.conf.py")),
        "kernel": platform.release(),
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": sorted(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "node": _said("node", "--version"),
    }


def _said(*command: str) -> str | None:
    """What a program prints, or nothing when it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
