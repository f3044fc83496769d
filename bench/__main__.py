"""Measure our application beside its peers, print medians, ratios and goals, and fail below a goal.

Each server runs on one core, the load on another one.  A ratio is refused when messages
were lost, clients died, or another program used the machine.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bench import report
from bench.goals import judge_all
from bench.install import NotInstalled, pinned
from bench.load import BUILT, Sample, counting, faults
from bench.load import build as build_load
from bench.machine import Unfit, allow_descriptors, facts, two_cores
from bench.measure import measure, take
from bench.picture import draw
from bench.record import BadResults, Plan, Results, read
from bench.scenarios import Scenario, UnknownScenario, chosen
from bench.servers import SERVERS


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="One round of short windows, and only what the goals need.")
@click.option("--rounds", type=click.IntRange(1), help="How often to measure each; 3, and 1 with --quick.")
@click.option("--only", multiple=True, metavar="SCENARIO", help="A scenario's name, or a pattern; may be repeated.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    default=BUILT / "results.jsonl",
    help="Where to write all samples, as JSON lines.  [bench/.env/results.jsonl]",
)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Where to draw them, as SVG.")
@click.option(
    "--report",
    "stored",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Measure nothing: judge these results.",
)
@click.option("--list", "listing", is_flag=True, help="Say what would be measured, and how long it would take.")
def main(
    quick: bool,
    rounds: int | None,
    only: tuple[str, ...],
    results: Path,
    picture: Path | None,
    stored: Path | None,
    listing: bool,
) -> None:
    rounds = rounds or (1 if quick else 3)
    try:
        rows = chosen(only, quick=quick)
        if stored:
            plan, samples = read(stored)
        elif listing:
            _list(rows, rounds)
            return
        else:
            plan, samples = _measure(rows, rounds, quick, results)
    except (Unfit, BadResults, UnknownScenario) as exc:
        raise click.ClickException(str(exc)) from exc
    reached = _tell(plan, samples)
    if picture:
        picture.write_text(draw([sample.line() for sample in counting(samples)]))
    sys.exit(not reached)


def _list(rows: Sequence[Scenario], rounds: int) -> None:
    for row in rows:
        click.echo(f"{report.title(row.sample('', 0)):60} {', '.join(row.servers)}")
    click.echo(report.duration(rows, rounds))


def _measure(rows: Sequence[Scenario], rounds: int, quick: bool, path: Path) -> tuple[Plan, list[Sample]]:
    cores = two_cores()
    allow_descriptors()
    build_load("wsload")
    missing = _install(rows)
    rows = [row.without(missing) for row in rows]
    plan = Plan(
        scenarios=sorted({row.name for row in rows}),
        rounds=rounds,
        quick=quick,
        missing=list(missing.values()),
    )
    results = Results(path, {**facts(), "peers": pinned()}, plan)
    click.echo(f"{report.duration(rows, rounds)}.  The samples go to {path}.", err=True)
    samples = []
    for sample in measure(rows, rounds, lambda row, name, number: take(row, SERVERS[name], number, cores)):
        results.add(sample)
        samples.append(sample)
        click.echo(report.progress(sample), err=True)
    return plan, samples


def _install(rows: Sequence[Scenario]) -> dict[str, str]:
    """Install what is wanting; return which cannot be had, and why."""
    missing = {}
    for name in dict.fromkeys(name for row in rows for name in row.servers):
        try:
            SERVERS[name].install()
        except NotInstalled as exc:
            missing[name] = str(exc)
            click.echo(f"not installed, and left out: {exc}", err=True)
    return missing


def _tell(plan: Plan, samples: Sequence[Sample]) -> bool:
    """Print it; return whether all that was to be measured counts, and all goals are reached."""
    verdicts = judge_all(samples, set(plan.scenarios))
    click.echo(report.table(samples))
    click.echo(report.goals(verdicts))
    for text in plan.missing:
        click.echo(f"not installed: {text}")
    whole = not plan.missing and not any(faults(sample) for sample in samples if not sample.dropped)
    return whole and all(verdict.reached for verdict in verdicts)


if __name__ == "__main__":
    main(prog_name="python -m bench")
