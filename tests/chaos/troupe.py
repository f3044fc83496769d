"""A process with some of the run's clients, which does what it is told: one order a line, and one answer for each.

Playwright and gevent cannot live in one process, and neither should hold up whoever kills the server.
"""

import json
import subprocess
import sys
import traceback
from collections.abc import Iterable
from typing import Any, Protocol, TextIO

from tests.live.servers import TOP

PATIENCE = 30.0  # seconds to end in


class Cast(Protocol):
    """Clients: in gevent's process, or in a browser."""

    def enter(self, url: str, channels: dict[str, list[str]], sessions: dict[str, dict[str, str]], seed: int) -> None:
        """Bring each of these names into its channels; `sessions` are their cookies.  Return once all are in."""

    def talk(self, rate: float) -> None:
        """Say so much a second in all, from now on."""

    def hush(self) -> None:
        """Say no more."""

    def state(self) -> dict[str, Any]:
        """Count what was `said` and is still `open`, what was `heard`, and how often a view `began` anew; and `last`: by
        channel, the offset up to which all of them have heard."""

    def write(self, path: str) -> None:
        """Write the record."""

    def complaints(self) -> list[str]:
        """What has gone wrong in the clients themselves."""


def perform(cast: object, orders: Iterable[str], out: TextIO) -> None:
    """Obey until there are no more `orders`."""
    for line in orders:
        do, arguments = json.loads(line)
        try:
            answer = {"answer": getattr(cast, do)(**arguments)}
        except Exception:
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer), file=out, flush=True)


class Troupe:
    """Such a process, from outside; a context manager."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Troupe":
        return self

    def __exit__(self, *_: object) -> None:
        """End its orders, and so itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **arguments: object) -> Any:
        """Have it done, and return the answer.  Blocks.  Raises: RuntimeError, when it fails there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([do, arguments]), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline() or '{"failed": "it has ended"}')
        if "failed" in answer:
            raise RuntimeError(f"{do}: {answer['failed']}")
        return answer["answer"]
