"""Several wsloads as one load, each in a network of its own: they begin together, and none hangs up before all are done.

One alone is run like this too where something has to be looked at between the handshakes and the window.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from bench.load import PATIENCE, LoadFailed, build, numbers

T = TypeVar("T")

READY: Final = "ready\n"  # as wsload says it


@dataclass(frozen=True, slots=True)
class Part:
    """One wsload."""

    options: Sequence[str]
    inside: Sequence[str] = ()
    """A command that leads into its network."""


class _Load:
    """A wsload that runs; what it says goes to files, so that none has to wait for who reads another one."""

    def __init__(self, part: Part, core: int, out: Path) -> None:
        self._out, self._err = out.with_suffix(".out"), out.with_suffix(".err")
        command = [*part.inside, "taskset", "-c", str(core), str(build("wsload")), "--wait", *part.options]
        with self._out.open("w") as told, self._err.open("w") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told, stderr=errors, text=True)

    def is_ready(self) -> bool:
        return self._err.read_text().endswith(READY)

    def is_done(self) -> bool:
        return self._out.read_text().endswith("}\n")

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("now\n")
        self.process.stdin.flush()

    def figures(self) -> dict[str, float]:
        return numbers(json.loads(self._out.read_text()), set())

    def failure(self) -> LoadFailed:
        said = [line for line in self._err.read_text().splitlines() if line + "\n" != READY] or ["nothing"]
        return LoadFailed(f"wsload ended with status {self.process.poll()} and said: {said[-1]}")


def run(
    parts: Sequence[Part], folder: Path, *, core: int, seconds: float, on_ready: Callable[[], T]
) -> tuple[T, list[dict[str, float]]]:
    """Run them on that core, for a window of `seconds`; return what `on_ready` does before it, and each one's numbers.

    Blocks.  Raises: LoadFailed, and Unfit when wsload cannot be built.
    """
    with ExitStack() as stack:
        loads = [stack.enter_context(_running(part, core, folder / f"load{number}")) for number, part in enumerate(parts)]
        _wait(loads, _Load.is_ready, PATIENCE)
        seen = on_ready()
        for load in loads:
            load.begin()
        _wait(loads, _Load.is_done, seconds + PATIENCE)
        return seen, [load.figures() for load in loads]


def merged(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The figures of all as of one: what is counted is added up, latencies are those of the worst.

    The server is the same for all, and so are the others on the machine, but each takes the other wsloads for these.
    """
    sums = (
        "n",
        "opened",
        "failed",
        "handshakes_s",
        "delivered_s",
        "broadcasts_s",
        "mb_s",
        "samples",
        "lost",
        "died",
        "bad",
    )
    found = {key: max(part[key] for part in each) for key in each[0]}
    found |= {key: sum(part[key] for part in each) for key in (*sums, "cli_cpu", "from_others") if key in found}
    found |= {key: min(part[key] for part in each) for key in ("sender_min",) if key in found}
    if "other_cpu" in found:
        busy = sum(part["other_cpu"] + part["cli_cpu"] for part in each) / len(each)
        found["other_cpu"] = busy - found["cli_cpu"]
    return found


@contextmanager
def _running(part: Part, core: int, out: Path) -> Iterator[_Load]:
    load = _Load(part, core, out)
    try:
        yield load
    finally:
        with load.process:  # closes its standard input, by which it ends
            try:
                load.process.communicate(timeout=5.0)
            except subprocess.TimeoutExpired:
                load.process.kill()


def _wait(loads: Sequence[_Load], done: Callable[[_Load], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while left := [load for load in loads if not done(load)]:
        if time.monotonic() > deadline:
            raise LoadFailed(f"wsload did not get on within {patience:.0f} s")
        for load in left:
            if load.process.poll() is not None and not done(load):
                raise load.failure()
        time.sleep(0.02)
