"""`python -m bench.cluster` on stored results."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner, Result

from bench.cluster.__main__ import main
from bench.load import Sample
from bench.record import Plan, Results
from tests.bench.samples import sample


def workers(server: str, count: int, delivered: float, number: int = 1, **more: float) -> Sample:
    """A sample of one room: of each worker 0.4 of a core, and of the Valkey 0.1."""
    each = {f"worker_{index}_cpu": 0.4 for index in range(1, count + 1)}
    members = {f"worker_{index}_members": 1000 / count for index in range(1, count + 1)}
    shared = {"valkey_cpu": 0.1, "conn_valkey_cpu": 0.1, "batch": 7.5} if count > 1 else {}
    figures = {**each, **members, **shared, "delivered_s": delivered, "srv_cpu": 0.4 * count + (0.1 if shared else 0)}
    joins = {"conn_s": 2.0, "conn_srv_cpu": 0.6, "handshakes_s": 500.0, "opened": 1000}
    late = {"echo_p50_ms": 5.0, "echo_p99_ms": 9.0}
    return sample(server, "fanout", "room", number, **{**figures, **joins, **late, **more})


def report(tmp_path: Path, samples: Sequence[Sample], scenario: str = "room", missing: Sequence[str] = ()) -> Result:
    path = tmp_path / "results.jsonl"
    results = Results(path, {}, Plan(scenarios=[scenario], rounds=1, quick=False, missing=missing))
    for one in samples:
        results.add(one)
    return CliRunner().invoke(main, ["--report", str(path)])


def cells(result: Result, first: str, table: int = 0) -> list[str]:
    lines = [line for line in result.output.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in lines[table].strip("|").split("|")]


ROOM = [
    workers("one-plain", 1, 2e6),
    workers("two-plain", 2, 3.69e6),
    workers("four-plain", 4, 6.9e6),
    workers("one-v1", 1, 1e6),
    workers("two-v1", 2, 1.9e6),
    workers("four-v1", 4, 3.5e6),
]


def test_the_table_has_each_process_and_the_ratio_of_what_is_delivered_for_the_same_cpu(tmp_path: Path) -> None:
    result = report(tmp_path, ROOM)

    assert "| N=1,000, 4 x 8, 64 B | delivered/s |" in result.output
    assert cells(result, "2 workers, plain") == [
        *("2 workers, plain", "3.69 M", "0.40 + 0.40", "0.10", "4.10 M", "0.82", "", "5.0", "9.0", "7.5", "500 + 500")
    ]
    assert cells(result, "1 worker, chat.v1")[4:6] == ["2.50 M", "1.00"]


def test_a_join_is_told_in_cpu_of_the_workers_and_of_the_valkey(tmp_path: Path) -> None:
    result = report(tmp_path, ROOM)

    assert cells(result, "2 workers, plain", table=1) == ["2 workers, plain", "500", "1.00", "0.20"]
    assert cells(result, "1 worker, plain", table=1) == ["1 worker, plain", "500", "1.20", ""]


def test_reached_goals_end_well_and_a_missed_one_does_not(tmp_path: Path) -> None:
    assert report(tmp_path, ROOM).exit_code == 0

    slow = [*ROOM[:-1], workers("four-v1", 4, 3.3e6)]
    result = report(tmp_path, slow)

    assert result.exit_code == 1
    (line,) = (line for line in result.output.splitlines() if "v1, 4 workers" in line)
    assert line.split()[-1] == "MISSED"


def test_in_the_place_of_a_row_that_does_not_count_stands_why(tmp_path: Path) -> None:
    result = report(tmp_path, [*ROOM, workers("two-plain", 2, 9e6, number=2, lost=3)])

    assert result.exit_code == 1
    assert cells(result, "2 workers, plain")[1:3] == ["refused: two-plain: 3 messages lost", ""]


def test_noisy_figures_are_shown_and_called_so_and_never_end_well(tmp_path: Path) -> None:
    noisy = [replace(one, noisy=True, figures={**one.figures, "other_cpu": 1.5}) for one in ROOM]
    result = report(tmp_path, noisy)

    assert cells(result, "2 workers, plain")[5] == "0.82"
    assert "these figures are to develop by, and for no page" in result.output
    assert result.exit_code == 1


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    result = report(tmp_path, ROOM, missing=["several hosts: root, and ip from iproute2, are wanted"])

    assert "left out: several hosts: root, and ip from iproute2, are wanted" in result.output
    assert result.exit_code == 1


def test_latencies_have_what_they_are_later_than_those_of_one_worker(tmp_path: Path) -> None:
    def late(server: str, p50: float, p99: float, **more: float) -> Sample:
        figures = {"p50_ms": p50, "p99_ms": p99, "worker_1_cpu": 0.3, **more}
        return replace(sample(server, "latency", "added", **figures), n=10)

    samples = [
        late("one-plain", 0.5, 1.0),
        late("one-valkey-plain", 0.75, 1.5, valkey_cpu=0.1),
        late("two-plain", 1.0, 4.25, worker_2_cpu=0.1, valkey_cpu=0.1),
    ]
    result = report(tmp_path, samples, "added")

    assert cells(result, "1 worker, plain")[1:5] == ["0.50", "1.00", "", ""]
    assert cells(result, "2 workers, plain") == ["2 workers, plain", "1.00", "4.25", "0.50", "3.25", "0.30 + 0.10", "0.10"]
    assert result.exit_code == 1  # 3.25 ms are more than 3


def test_publishes_are_told_by_batch_and_by_who_hears(tmp_path: Path) -> None:
    def published(n: int, batch: int, **more: float) -> Sample:
        figures = {"worker_us": 80.04, "valkey_us": 50.0, "hearer_us": 0.0, "events_s": 4000.0, "other_cpu": 0.0, **more}
        return replace(sample("publisher", "fanout", "publish", **figures), mode="publish", n=n, senders=1, window=batch)

    result = report(
        tmp_path, [published(1, 1), published(1, 16, worker_us=7.0, valkey_us=6.0), published(4, 1, hearer_us=30.0)]
    )

    assert "| 1 | 1 | 1 | 80.0 | 50.0 |  | 4,000 |" in result.output
    assert "| 1 | 4 | 1 | 80.0 | 50.0 | 30.0 | 4,000 |" in result.output


def test_the_list_says_how_long_it_would_take() -> None:
    result = CliRunner().invoke(main, ["--list", "--quick"])

    assert result.exit_code == 0
    assert "room, N=1,000, 4 x 8 in flight, 64 B" in result.output
    assert "in 1 round: about" in result.output


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(main, ["--only", "fanout"])

    assert result.exit_code == 1
    assert "there is no scenario 'fanout'; there are room, rooms, added, publish, hosts" in result.output
