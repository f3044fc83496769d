"""One short window of each kind: of two workers, of two hosts, and of who publishes."""

import os
from dataclasses import replace
from typing import Final

import pytest

from bench.cluster.scenarios import SCENARIOS
from bench.cluster.taking import take
from bench.load import Sample, faults
from bench.scenarios import Scenario

CORES: Final = (min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0)))
ROWS: Final = {row.name: replace(row, warmup=0.1, seconds=0.4) for row in reversed(SCENARIOS)}  # the first of each name


def taken(row: Scenario, server: str) -> Sample:
    return take(row, server, 1, CORES, noisy=True)  # other tests run meanwhile


def test_members_of_two_workers_hear_all_that_is_said() -> None:
    sample = taken(replace(ROWS["room"], n=10, senders=2, window=2), "two-v1")

    assert faults(sample) == []
    assert sample.figures["delivered_s"] > 10
    assert sample.figures["worker_1_members"] + sample.figures["worker_2_members"] == pytest.approx(10, abs=2)
    assert 1 <= sample.figures["batch"] <= 4
    assert {"worker_1_cpu", "worker_2_cpu", "valkey_cpu", "conn_valkey_cpu"} <= set(sample.figures)


def test_one_worker_by_itself_has_its_figures_by_the_same_name() -> None:
    sample = taken(replace(ROWS["room"], n=10, senders=2, window=2), "one-plain")

    assert faults(sample) == []
    assert sample.figures["worker_1_members"] == pytest.approx(10, abs=1)
    assert sample.figures["worker_1_cpu"] == sample.figures["srv_cpu"]
    assert "batch" not in sample.figures


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_members_on_two_hosts_hear_all_that_is_said() -> None:
    sample = taken(replace(ROWS["hosts"], n=11, senders=3, window=2), "two-hosts")

    assert faults(sample) == []
    assert sample.figures["opened"] == 11
    assert sample.figures["from_others"] > 0
    assert sample.figures["worker_1_members"] == pytest.approx(6, abs=1)
    assert {"worker_2_cpu", "valkey_cpu"} <= set(sample.figures)


def test_a_publish_costs_who_publishes_who_hears_and_the_valkey() -> None:
    unseen = {"worker_us", "valkey_us", "hearer_us"}
    for _ in range(10):  # who gets less than a tick in a window of a busy machine is not seen in that one
        sample = taken(replace(ROWS["publish"], n=2, window=16), "publisher")
        assert faults(sample) == []
        assert sample.figures["events_s"] > 0
        unseen = {part for part in unseen if sample.figures[part] == 0}
        if not unseen:
            break

    assert unseen == set()
