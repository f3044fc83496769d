"""When a window is measured again."""

from dataclasses import replace

import pytest

from bench.load import Sample
from bench.measure import measure
from bench.scenarios import Scenario, chosen
from chat.crowd import period
from tests.bench.samples import sample

ROW = Scenario(name="fanout", mode="fanout", n=1000, servers=("ours-plain", "ws"))


def test_servers_take_turns_within_a_round() -> None:
    taken = measure([ROW], 2, lambda row, server, number: sample(server, number=number))

    assert [(one.server, one.round) for one in taken] == [("ours-plain", 1), ("ws", 1), ("ours-plain", 2), ("ws", 2)]


def test_a_round_has_several_windows_and_neither_server_is_always_first() -> None:
    taken = measure([replace(ROW, windows=2)], 1, lambda row, server, number: sample(server, number=number))

    assert [one.server for one in taken] == ["ours-plain", "ws", "ws", "ours-plain"]


def _measured_with(*samples: Sample) -> list[Sample]:
    coming = iter(samples)
    return list(measure([replace(ROW, servers=("ws",))], 1, lambda row, server, number: next(coming)))


def test_a_disturbed_window_is_measured_again_and_marked() -> None:
    disturbed, clean = sample(other_cpu=0.5), sample()

    assert _measured_with(disturbed, clean) == [replace(disturbed, dropped=True), clean]


def test_the_third_window_stands_disturbed_or_not() -> None:
    disturbed = sample(other_cpu=0.5)
    dropped = replace(disturbed, dropped=True)

    assert _measured_with(disturbed, disturbed, disturbed) == [dropped, dropped, disturbed]


def test_what_failed_otherwise_is_not_tried_again() -> None:
    lossy = sample(lost=1)
    broken = replace(sample(), figures={}, error="it ended")

    assert _measured_with(lossy) == [lossy]
    assert _measured_with(broken) == [broken]


def test_a_pattern_chooses_scenarios() -> None:
    assert {row.name for row in chosen(["*stalled", "flood"], quick=False)} == {"stalled", "unstalled", "flood"}


def test_a_scenario_goes_on_without_servers_that_are_missing() -> None:
    assert ROW.without({"ws"}).servers == ("ours-plain",)


@pytest.mark.parametrize(("n", "channels"), [(10, 1), (10_000, 1), (10_000, 2)])
def test_it_has_to_be_quiet_for_longer_than_joins_are_folded(n: int, channels: int) -> None:
    options = replace(ROW, n=n, channels=channels).options("chatv1")

    assert float(options[options.index("--quiet") + 1]) > period(n // channels)
