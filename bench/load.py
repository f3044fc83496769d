"""The load: builds wsload, runs it, and judges whether what it measured counts.

A figure counts only when nothing was lost and nobody else used the machine; else a ratio would compare accidents.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from bench.machine import TOP, Unfit

BUILT: Final = TOP / "bench" / ".env"
OTHERS: Final = 0.15
"""Cores in use by other programs from which a window does not count."""
PATIENCE: Final = 200.0
"""Seconds beyond its window: wsload's own deadlines for connecting, settling and the last deliveries, and some."""


class LoadFailed(Exception):
    """wsload ended without figures; the text is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What came out of one window of one server; a line of the results."""

    scenario: str
    server: str
    round: int
    mode: str
    n: int
    size: int
    senders: int
    window: int
    channels: int = 1
    figures: Mapping[str, float] = field(default_factory=dict)
    """wsload's numbers, by its own names."""
    error: str = ""
    """Why there are none."""
    dropped: bool = False
    """Measured again, because another program used the machine."""
    noisy: bool = False
    """It is to count whatever others did meanwhile: a figure to develop by, and for no page."""

    def line(self) -> dict[str, object]:
        """Return it flat, as the results have it."""
        return {**{key: value for key, value in asdict(self).items() if key != "figures"}, **self.figures}

    @classmethod
    def read(cls, line: Mapping[str, object]) -> "Sample":
        """Return what `line()` made.  Raises: TypeError when it is no such line."""
        own = {key: line[key] for key in cls.__slots__ if key in line and key != "figures"}
        return cls(**own, figures=numbers(line, set(own)))  # type: ignore[arg-type]


def numbers(line: Mapping[str, object], but: set[str]) -> dict[str, float]:
    """All numbers in it, save those named in `but`."""
    return {key: value for key, value in line.items() if key not in but and isinstance(value, int | float)}


COUNTS: Final[Mapping[str, str]] = {
    "failed": "handshakes failed",
    "lost": "messages lost",
    "died": "clients died",
    "bad": "frames were wrong",
}


def faults(sample: Sample) -> list[str]:
    """Say why this sample does not count; nothing when it does."""
    if sample.error:
        return [sample.error]
    got = sample.figures
    found = [f"{got[key]:,.0f} {words}" for key, words in COUNTS.items() if got.get(key)]
    for key in ("opened", "still_open"):
        if got.get(key, sample.n) < sample.n:
            found.append(f"{got[key]:,.0f} of {sample.n:,} {key.replace('_', ' ')}")
    if got.get("stalled_closed", 1) < 1:
        found.append("the reader that never reads was not closed")
    if disturbed(sample):
        found.append(f"other programs used {others(sample):.2f} of a core")
    return found


def counting(samples: Sequence[Sample]) -> list[Sample]:
    """Return those whose median counts: where one sample of a server under a load has a fault, all of them are left out."""
    taken = [sample for sample in samples if not sample.dropped]
    refused = {_median_of(sample) for sample in taken if faults(sample)}
    return [sample for sample in taken if _median_of(sample) not in refused]


def _median_of(sample: Sample) -> tuple[object, ...]:
    return sample.scenario, sample.server, sample.n, sample.senders, sample.window, sample.size


def disturbed(sample: Sample) -> bool:
    """Whether another program used the machine in the window that counts."""
    return not sample.error and not sample.noisy and not others(sample) < OTHERS


def others(sample: Sample) -> float:
    """Cores that others used; not a number, which is below nothing, where wsload could not tell."""
    return sample.figures.get("conn_other_cpu" if sample.mode == "connect" else "other_cpu", float("nan"))


def build(name: str) -> Path:
    """Compile `bench/NAME.c` unless that has been done, and return the program.  Blocks.

    Raises: Unfit without a compiler, or when it refuses.
    """
    source, program = TOP / "bench" / f"{name}.c", BUILT / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unfit("a C compiler is wanted, for the load generator: apt-get install gcc libc6-dev")
    BUILT.mkdir(exist_ok=True)
    draft = program.with_suffix(f".{os.getpid()}")  # another process may build it too, or run it
    done = subprocess.run([compiler, "-O2", "-o", draft, source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unfit(f"{source} does not compile:\n{done.stderr}")
    return draft.replace(program)


def run(options: Sequence[str], *, core: int, seconds: float) -> dict[str, float]:
    """Run wsload on that core for a window of `seconds`, and return its numbers.  Blocks.

    Raises: LoadFailed, and Unfit when wsload cannot be built.
    """
    command = ["taskset", "-c", str(core), str(build("wsload")), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"wsload did not end within {seconds + PATIENCE:.0f} s") from None
    try:
        return numbers(json.loads(done.stdout), set())
    except ValueError:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise LoadFailed(f"wsload ended with status {done.returncode} and said: {said[-1]}") from None
