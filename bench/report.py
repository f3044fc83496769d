"""The report: a table of medians and ratios, and what came of the goals, as text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bench.goals import Refused, Verdict, middle
from bench.load import Sample, faults
from bench.scenarios import Scenario

OURS: Final = "ours-plain"

Column = tuple[str, str, str]
"""A heading, the key of a figure, and how the number is written."""

FANOUT: Final[Sequence[Column]] = (
    ("delivered/s", "delivered_s", ",.0f"),
    ("MB/s", "mb_s", ",.0f"),
    ("echo p99 ms", "echo_p99_ms", ",.2f"),
    ("server's core", "srv_cpu", ".0%"),
    ("load's core", "cli_cpu", ".0%"),
)
LATENCY: Final[Sequence[Column]] = (
    ("p99 ms", "p99_ms", ",.2f"),
    ("p50 ms", "p50_ms", ",.2f"),
    ("max ms", "max_ms", ",.2f"),
    ("server's core", "srv_cpu", ".0%"),
)
COLUMNS: Final[Mapping[str, Sequence[Column]]] = {
    "fanout": FANOUT,
    "flood": (*FANOUT, ("slowest/fastest", "fairness", ".2f")),
    "latency": LATENCY,
    "handshakes": (("handshakes/s", "handshakes_s", ",.0f"), ("join frames", "join_frames", ",.0f")),
    "memory": (("KiB each", "rss_per_conn_kb", ",.2f"), ("KiB before", "rss0_kb", ",.0f")),
    "publish": (("worker's us", "worker_us", ",.1f"), ("Valkey's us", "valkey_us", ",.1f")),
}
"""For a scenario, or else for its mode; the first one is what the ratio compares."""


def table(samples: Sequence[Sample]) -> str:
    """Show each scenario's medians, a server a line, with the ratio of ours to it.

    Instead of them stands why, when a sample behind a median does not count.
    """
    rows: dict[tuple[object, ...], list[Sample]] = {}
    for sample in samples:
        if not sample.dropped:
            rows.setdefault((sample.scenario, sample.n, sample.senders, sample.window, sample.size), []).append(sample)
    return "\n".join(line for row in rows.values() for line in (title(row[0]), *_lines(row), ""))


def _columns(sample: Sample) -> Sequence[Column]:
    return COLUMNS.get(sample.scenario) or COLUMNS[sample.mode]


def duration(rows: Sequence[Scenario], rounds: int) -> str:
    """Say how much there is to measure."""
    windows = rounds * sum(len(row.servers) * row.windows for row in rows)
    seconds = rounds * sum(len(row.servers) * row.windows * row.takes() for row in rows)
    return f"{windows} windows in {rounds} round{'s' * (rounds > 1)}: about {seconds / 60:.1f} minutes"


def title(sample: Sample) -> str:
    """Name the scenario with its numbers."""
    flight = f", {sample.senders} x {sample.window} in flight" if sample.mode in ("fanout", "publish") else ""
    size = f", {sample.size:,} B" if sample.mode != "connect" else ""
    channels = f" in {sample.channels:,} channels" if sample.channels > 1 else ""
    return f"{sample.scenario}, N={sample.n:,}{channels}{flight}{size}"


def _lines(row: Sequence[Sample]) -> Iterable[str]:
    columns = _columns(row[0])
    yield f"  {'':16}" + "".join(f"{heading:>16}" for heading, _, _ in columns) + f"{'ours to it':>16}"
    ours = [sample for sample in row if sample.server == OURS]
    for server in dict.fromkeys(sample.server for sample in row):
        own = [sample for sample in row if sample.server == server]
        yield f"  {server:16}{_cells(own, ours, columns)}"


def _cells(own: Sequence[Sample], ours: Sequence[Sample], columns: Sequence[Column]) -> str:
    try:
        cells = [format(middle(own, key), form) for _, key, form in columns]
    except Refused as exc:
        return f"  refused: {exc}"
    return "".join(f"{cell:>16}" for cell in (*cells, _ratio(own, ours, columns[0][1])))


def _ratio(own: Sequence[Sample], ours: Sequence[Sample], key: str) -> str:
    try:
        return f"{middle(ours, key) / middle(own, key):,.2f} x" if own[0].server != OURS else ""
    except (Refused, ZeroDivisionError):
        return "refused"


def goals(verdicts: Sequence[Verdict]) -> str:
    """Show each goal with its medians, its ratio, its bound, and whether it is reached."""
    if not verdicts:
        return ""
    lines = [f"{'goal':52}{'figure':>12}{'to':>12}{'ratio':>9}{'bound':>10}"]
    for verdict in verdicts:
        if verdict.refused:
            lines.append(f"{verdict.goal.text:52}{'':33}{verdict.goal.bound:>10}  REFUSED: {verdict.refused}")
            continue
        ratio = _short(verdict.value) if verdict.goal.to else ""
        word = "reached" if verdict.reached else "MISSED"
        numbers = f"{_short(verdict.figure):>12}{_short(verdict.to):>12}{ratio:>9}"
        lines.append(f"{verdict.goal.text:52}{numbers}{verdict.goal.bound:>10}  {word}")
    return "\n".join(lines)


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def progress(sample: Sample) -> str:
    """Say in one line what has just come out."""
    what = f"{title(sample)}: {sample.server}"
    if sample.error:
        return f"{what}: {sample.error}"
    heading, key, form = _columns(sample)[0]
    doubt = f"  ({'; '.join(found)})" if (found := faults(sample)) else ""
    return f"{what}: {sample.figures.get(key, float('nan')):{form}} {heading}{doubt}"
