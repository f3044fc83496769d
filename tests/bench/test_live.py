"""One short window of the real load on the real server."""

import os
from typing import Final

import pytest

from bench.load import faults
from bench.measure import take
from bench.scenarios import Scenario
from bench.servers import SERVERS, Server

CORES: Final = (min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0)))


@pytest.mark.parametrize("channels", [1, 5])
def test_ten_members_hear_all_that_is_said(channels: int) -> None:
    row = Scenario(
        name="fanout",
        mode="fanout",
        n=10,
        senders=2,
        window=2,
        channels=channels,
        warmup=0.1,
        seconds=0.4,
        servers=(),
    )
    sample = take(row, SERVERS["ours-v1"], 1, CORES)

    assert [fault for fault in faults(sample) if "other programs" not in fault] == []  # other tests run meanwhile
    assert sample.figures["opened"] == 10
    assert sample.figures["delivered_s"] > 100


def test_a_server_that_does_not_start_is_an_error_with_its_last_words() -> None:
    broken = Server(name="broken", command=("python3", "-c", "raise SystemExit('no such option')"))
    row = Scenario(name="memory", mode="connect", n=10, servers=())

    assert take(row, broken, 1, CORES).error == "broken ended at its start: no such option"
