"""What does not count."""

from dataclasses import replace

import pytest

from bench.load import Sample, disturbed, faults
from tests.bench.samples import sample


@pytest.mark.parametrize("mode", ["fanout", "latency", "connect"])
def test_a_clean_sample_counts(mode: str) -> None:
    assert faults(sample(mode=mode)) == []


@pytest.mark.parametrize(
    ("mode", "figures", "fault"),
    [
        ("fanout", {"lost": 12}, "12 messages lost"),
        ("fanout", {"lost": -3}, "-3 messages lost"),  # said to somebody twice
        ("fanout", {"died": 1}, "1 clients died"),
        ("fanout", {"bad": 2}, "2 frames were wrong"),
        ("latency", {"lost": 1}, "1 messages lost"),
        ("latency", {"failed": 1}, "1 handshakes failed"),
        ("connect", {"opened": 999}, "999 of 1,000 opened"),
        ("connect", {"still_open": 998}, "998 of 1,000 still open"),
        ("latency", {"stalled_closed": 0}, "the reader that never reads was not closed"),
        ("fanout", {"other_cpu": 0.15}, "other programs used 0.15 of a core"),
        ("latency", {"other_cpu": 0.4}, "other programs used 0.40 of a core"),
        ("connect", {"conn_other_cpu": 0.15}, "other programs used 0.15 of a core"),
    ],
)
def test_a_fault_is_said(mode: str, figures: dict[str, float], fault: str) -> None:
    assert faults(sample(mode=mode, **figures)) == [fault]


def test_just_below_the_bound_others_may_use_the_machine() -> None:
    assert faults(sample(other_cpu=0.149)) == []


def test_what_others_used_while_clients_connected_is_no_matter_of_a_later_window() -> None:
    assert not disturbed(sample(conn_other_cpu=0.9))


def test_a_sample_without_figures_says_why_and_was_not_disturbed() -> None:
    broken = replace(sample(), figures={}, error="ws ended at its start: no such module")

    assert faults(broken) == ["ws ended at its start: no such module"]
    assert not disturbed(broken)


def test_where_nobody_can_tell_what_others_used_it_does_not_count() -> None:
    unknown = replace(sample(), figures={"opened": 1000})

    assert disturbed(unknown)


@pytest.mark.parametrize("mode", ["fanout", "connect"])
def test_a_sample_comes_back_from_its_line(mode: str) -> None:
    before = replace(sample(mode=mode, p99_ms=1.5), dropped=True)

    assert Sample.read(before.line()) == before
