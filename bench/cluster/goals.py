"""The goals: what several processes may cost beside one.

One worker without a Valkey is what a ratio is to, not one with it: that would hide what sharing costs in the first place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from bench.cluster.servers import HOSTS, NAMES, PUBLISHER
from bench.goals import Figure, Goal

EFFICIENT: Final = 0.8  # of what one process delivers with as much CPU
LATER: Final = 3.0  # ms that a Valkey in between may add to the p99
COSTS: Final = ((1, 150.0, 60.0), (16, 15.0, 10.0))  # events in a publish; us of the worker and of the Valkey, for each


def _ratios(scenario: str, n: int, what: str) -> Iterator[Goal]:
    for protocol in ("plain", "v1"):
        one = Figure(key="per_cpu_s", server=f"one-{protocol}", scenario=scenario, n=n, senders=4)
        for name in ("two", "four"):
            figure = replace(one, server=f"{name}-{protocol}")
            text = f"delivered per CPU-second, {what}, {protocol}, {NAMES[name]}"
            yield Goal(text=text, figure=figure, to=one, at_least=EFFICIENT)


def _hosts() -> Iterator[Goal]:
    one, *more = (Figure(key="per_cpu_s", server=name, scenario="hosts") for name in HOSTS)
    for figure in more:
        text = f"delivered per CPU-second, N=1,000, {NAMES[figure.server]}"
        yield Goal(text=text, figure=figure, to=one, at_least=EFFICIENT)


def _added() -> Iterator[Goal]:
    one = Figure(key="p99_ms", server="one-plain", scenario="added")
    for name in ("one-valkey", "two"):
        text = f"latency p99 in ms at 1,000/s, {NAMES[name]}"
        yield Goal(text=text, figure=replace(one, server=f"{name}-plain"), to=one, at_most=LATER, by_difference=True)


def _costs() -> Iterator[Goal]:
    for batch, worker, valkey in COSTS:
        each = Figure(key="worker_us", server=PUBLISHER, scenario="publish", n=1, senders=1, window=batch)
        yield Goal(text=f"us of a worker for an event, {batch} in a publish", figure=each, at_most=worker)
        each = replace(each, key="valkey_us")
        yield Goal(text=f"us of the Valkey for an event, {batch} in a publish", figure=each, at_most=valkey)


GOALS: Final[Sequence[Goal]] = (
    *_ratios("room", 1000, "N=1,000"),
    *_ratios("rooms", 1024, "16 x 64"),
    *_added(),
    *_costs(),
    *_hosts(),
)
