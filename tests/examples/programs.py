"""Starts the examples as their docstrings say, on free ports."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.live.servers import Server, running

READY = re.compile(r"(?:Serving|Listening) on \S+:([0-9]+)")


def command(name: str, *arguments: str) -> list[str]:
    """Return the command that runs an example."""
    return [sys.executable, "-m", f"examples.{name}", *arguments]


@contextmanager
def example(name: str, *arguments: str) -> Iterator[tuple[Server, int]]:
    """Run a server; yields it and its port, once it listens."""
    with running(command(name, *arguments)) as server:
        yield server, int(server.wait_for(READY)[1])
        assert "Traceback" not in server.log, server.log
