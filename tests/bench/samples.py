"""Samples as wsload would give them, for tests."""

from bench.load import Sample

CLEAN = {
    "fanout": {"opened": 1000, "failed": 0, "lost": 0, "died": 0, "bad": 0, "other_cpu": 0.02, "conn_other_cpu": 0.9},
    "latency": {"opened": 1000, "failed": 0, "lost": 0, "other_cpu": 0.02, "conn_other_cpu": 0.9},
    "connect": {"opened": 1000, "failed": 0, "still_open": 1000, "conn_other_cpu": 0.02},
}
COMMON = {"mb_s": 1.0, "echo_p99_ms": 1.0, "srv_cpu": 0.9, "cli_cpu": 0.5}


def sample(
    server: str = "ours-plain", mode: str = "fanout", scenario: str = "", number: int = 1, **figures: float
) -> Sample:
    """A sample of 1,000 members, 4 senders and 8 in flight, without a fault but those in `figures`."""
    return Sample(
        scenario=scenario or mode,
        server=server,
        round=number,
        mode=mode,
        n=1000,
        size=64,
        senders=4,
        window=8,
        figures={**CLEAN[mode], **(COMMON if mode == "fanout" else {}), **figures},
    )
