"""Another process that holds SQLite's write lock."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holding(path: str) -> Iterator["subprocess.Popen[str]"]:
    """Until the block ends, or `communicate("go on\\n")` is called."""
    command = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()
