"""Several load generators as one, against the smallest server that there is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import loads
from bench.load import LoadFailed
from bench.loads import Part, merged
from bench.running import Running, running
from bench.servers import SERVERS

QUICK = ("--n", "10", "--warmup", "0.1", "--dur", "0.3", "--senders", "2")
CORE = max(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def ceiling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server, folder = SERVERS["ceiling"], tmp_path_factory.mktemp("ceiling")
    server.install()
    with running(server, folder, core=min(os.sched_getaffinity(0)), members=20, settings={}) as it:
        yield it


def part(server: Running, first: int, *more: str) -> Part:
    return Part([*server.options(), "--path", "/one", *QUICK, "--first", str(first), *more])


def test_both_measure_at_once_and_each_hears_the_other(ceiling: Running, tmp_path: Path) -> None:
    parts = [part(ceiling, 0), part(ceiling, 10)]
    seen, each = loads.run(parts, tmp_path, core=CORE, seconds=0.4, on_ready=lambda: "looked")

    got = merged(each)
    assert seen == "looked"
    assert (got["n"], got["opened"], got["lost"], got["died"], got["bad"]) == (20, 20, 0, 0, 0)
    assert min(figures["from_others"] for figures in each) > 0
    assert got["delivered_s"] == sum(figures["delivered_s"] for figures in each)


def test_what_one_of_them_says_at_its_end_is_told(ceiling: Running, tmp_path: Path) -> None:
    parts = [part(ceiling, 0), part(ceiling, 10, "--mode", "storm")]

    with pytest.raises(LoadFailed, match="ended with status 1 and said: wsload: --mode: fanout, latency or connect"):
        loads.run(parts, tmp_path, core=CORE, seconds=0.4, on_ready=lambda: None)


def test_as_one_they_count_together_and_are_as_late_as_the_last() -> None:
    one = {"n": 2, "lost": 1, "delivered_s": 10.0, "echo_p99_ms": 3.0, "sender_min": 5, "srv_cpu": 0.9}
    other = {"n": 3, "lost": 0, "delivered_s": 20.0, "echo_p99_ms": 2.0, "sender_min": 4, "srv_cpu": 0.9}

    together = {"n": 5, "lost": 1, "delivered_s": 30.0, "echo_p99_ms": 3.0, "sender_min": 4, "srv_cpu": 0.9}
    assert merged([one, other]) == together


def test_none_of_them_is_another_program() -> None:
    one = {"n": 1, "cli_cpu": 0.25, "other_cpu": 0.5}  # 0.4 of which are the other one's
    other = {"n": 1, "cli_cpu": 0.4, "other_cpu": 0.35}

    assert merged([one, other])["other_cpu"] == pytest.approx(0.1)
