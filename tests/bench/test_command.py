"""`python -m bench` on stored results."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.load import Sample
from bench.machine import TOP
from bench.record import Plan, Results
from tests.bench.samples import sample

GOOD = [sample("ours-plain", "fanout", "flood", delivered_s=5e6, sender_min=80, sender_max=100)]


def report(tmp_path: Path, samples: Sequence[Sample], *more: str, missing: Sequence[str] = ()) -> Result:
    """Judge these samples, of runs in which only the flood was measured."""
    path = tmp_path / "results.jsonl"
    results = Results(path, {}, Plan(scenarios=["flood"], rounds=1, quick=False, missing=missing))
    for one in samples:
        results.add(one)
    return CliRunner().invoke(main, ["--report", str(path), *more])


def test_reached_goals_are_shown_with_their_median_and_bound(tmp_path: Path) -> None:
    result = report(tmp_path, GOOD)

    assert result.exit_code == 0
    assert "flood, N=1,000, 4 x 8 in flight, 64 B" in result.output
    assert "5,000,000" in result.output
    (line,) = (line for line in result.output.splitlines() if line.startswith("slowest to fastest"))
    assert line.split()[-4:] == ["0.80", ">=", "0.5", "reached"]


def test_a_missed_goal_fails(tmp_path: Path) -> None:
    result = report(tmp_path, [sample("ours-plain", "fanout", "flood", delivered_s=5e6, sender_min=49, sender_max=100)])

    assert result.exit_code == 1
    assert "MISSED" in result.output


def test_a_dirty_sample_fails_and_its_figures_are_not_shown(tmp_path: Path) -> None:
    dirty = sample("ours-plain", "fanout", "flood", delivered_s=5e6, sender_min=80, sender_max=100, lost=7)
    result = report(tmp_path, [dirty])

    assert result.exit_code == 1
    assert "refused: ours-plain: 7 messages lost" in result.output
    assert "5,000,000" not in result.output


def test_a_ratio_in_the_table_is_refused_when_ours_is_dirty(tmp_path: Path) -> None:
    dirty = sample("ours-plain", "fanout", "flood", lost=7)
    result = report(tmp_path, [dirty, sample("ws", "fanout", "flood", delivered_s=1e5, sender_min=9, sender_max=9)])

    (line,) = (line for line in result.output.splitlines() if line.startswith("  ws "))
    assert line.split()[1] == "100,000"
    assert line.split()[-1] == "refused"


def test_ours_stands_in_ratio_to_each(tmp_path: Path) -> None:
    result = report(tmp_path, [*GOOD, sample("ws", "fanout", "flood", delivered_s=1e5, sender_min=9, sender_max=9)])

    (line,) = (line for line in result.output.splitlines() if line.startswith("  ws "))
    assert line.split()[-2:] == ["50.00", "x"]


def test_a_server_that_could_not_be_installed_fails_the_run(tmp_path: Path) -> None:
    result = report(tmp_path, GOOD, missing=["ws: node and npm are wanted"])

    assert result.exit_code == 1
    assert "not installed: ws: node and npm are wanted" in result.output


def test_the_picture_leaves_out_what_does_not_count(tmp_path: Path) -> None:
    samples = [sample("ours-plain", delivered_s=5e6), sample("socketify", delivered_s=4e6, lost=1)]
    picture = tmp_path / "picture.svg"
    report(tmp_path, samples, "--picture", str(picture))

    ElementTree.fromstring(picture.read_text())
    assert "socketify" not in picture.read_text()


def test_the_picture_leaves_out_a_median_that_the_table_refuses(tmp_path: Path) -> None:
    clean, dirty = sample("ours-plain", delivered_s=5e6), sample("ours-plain", number=2, delivered_s=6e6, lost=1)
    picture = tmp_path / "picture.svg"
    report(tmp_path, [clean, dirty], "--picture", str(picture))

    assert "Nothing was measured." in picture.read_text()


def test_the_number_of_channels_is_named_where_there_are_several(tmp_path: Path) -> None:
    result = report(tmp_path, [replace(sample(scenario="rotation", delivered_s=5e6), channels=50)])

    assert "rotation, N=1,000 in 50 channels, 4 x 8 in flight, 64 B" in result.output


def test_a_scenario_of_two_modes_shows_each_with_its_own_figures(tmp_path: Path) -> None:
    latency = replace(sample(mode="latency", scenario="archive", p99_ms=10, p50_ms=5, max_ms=20, srv_cpu=0.2), senders=1)
    result = report(tmp_path, [sample(scenario="archive", delivered_s=5e6), latency])

    many, late = result.output.split("archive, ")[1:]
    assert ("delivered/s" in many, "p50 ms" in many) == (True, False)
    assert ("delivered/s" in late, "p50 ms" in late) == (False, True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: it does not say what was measured"),
        ("{}\n", "line 1: it does not say what was measured"),
        (
            '{"scenarios": [], "rounds": 1, "quick": true, "missing": []}\n{"scenario": "flood"}\n',
            "line 2: it is no sample",
        ),
    ],
)
def test_what_are_no_results_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    result = CliRunner().invoke(main, ["--report", str(path)])

    assert result.exit_code == 1
    assert sentence in result.output


def test_the_first_line_has_facts_and_plan_and_each_other_one_is_a_sample(tmp_path: Path) -> None:
    report(tmp_path, GOOD)
    first, second = (json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines())

    assert first["scenarios"] == ["flood"]
    assert (second["server"], second["delivered_s"]) == ("ours-plain", 5e6)


def test_one_core_is_not_enough(tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core, sys.executable, "-m", "bench", "--results", str(tmp_path / "results.jsonl")]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: two cores are wanted, one for the server and one for the load")


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(main, ["--only", "fan-out"])

    assert result.exit_code == 1
    assert "there is no scenario 'fan-out'; there are fanout, " in result.output


def test_the_list_says_how_long_it_would_take() -> None:
    result = CliRunner().invoke(main, ["--list", "--only", "memory"])

    assert result.exit_code == 0
    assert "ours-plain, ours-v1, socketify, ws" in result.output
    assert "12 windows in 3 rounds: about" in result.output
