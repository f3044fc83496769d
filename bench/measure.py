"""Measuring: round by round, and within a round server by server, so that what drifts drifts for all."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import load
from bench.load import LoadFailed, Sample, disturbed
from bench.running import ServerFailed, running
from bench.scenarios import Scenario
from bench.servers import Server

ATTEMPTS: Final = 3
"""Windows at most, while another program uses the machine; nothing else is tried again."""

Take = Callable[[Scenario, str, int], Sample]
"""Measure that server in that round."""


def measure(rows: Sequence[Scenario], rounds: int, take: Take) -> Iterator[Sample]:
    """Yield all samples as they are taken, also those that are dropped because they were disturbed."""
    for number in range(1, rounds + 1):
        for row in rows:
            for turn in range(row.windows):
                for server in row.servers if turn % 2 == 0 else reversed(row.servers):  # neither always comes first
                    yield from _attempts(row, server, number, take)


def _attempts(row: Scenario, server: str, number: int, take: Take) -> Iterator[Sample]:
    for _ in range(ATTEMPTS - 1):
        sample = take(row, server, number)
        if not disturbed(sample):
            yield sample
            return
        yield replace(sample, dropped=True)
    yield take(row, server, number)


def take(row: Scenario, server: Server, number: int, cores: tuple[int, int]) -> Sample:
    """Start the server on the first core, load it from the second one, and stop it.  Blocks.

    What fails is in the sample's `error`.
    """
    sample = row.sample(server.name, number)
    os.sync()  # what was written before is not to be brought to the disk in this window
    try:
        with (
            TemporaryDirectory(prefix="chat-bench-") as folder,
            running(server, Path(folder), core=cores[0], members=row.n, channels=row.channels, settings=row.settings) as it,
        ):
            options = [*it.options(), *row.options(server.protocol)]
            figures = load.run(options, core=cores[1], seconds=row.warmup + row.seconds)
            if "rss_per_conn_kb" in figures:
                # What the spent tokens leave is taken by connections; it is theirs all the same.
                figures = {**figures, "rss_per_conn_kb": figures["rss_per_conn_kb"] + it.tokens_kib / row.n}
            return replace(sample, figures=figures)
    except (ServerFailed, LoadFailed) as exc:
        return replace(sample, error=str(exc))
