"""Measure our application as one chat of several processes and hosts, and print tables for docs/scaling.md, and goals.

All processes of the server, its Valkey too, run on one core, the load on another one.  A
figure is refused when messages were lost, clients died, or another program used the machine.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bench import report
from bench.cluster.goals import GOALS
from bench.cluster.scenarios import SCENARIOS
from bench.cluster.servers import HOSTS
from bench.cluster.table import tables
from bench.cluster.taking import take
from bench.goals import judge_all
from bench.load import BUILT, Sample, build, faults
from bench.machine import Unfit, allow_descriptors, facts, two_cores
from bench.measure import measure
from bench.networks import NoNetworks, networks
from bench.record import BadResults, Plan, Results, read
from bench.scenarios import Scenario, UnknownScenario, chosen
from web.valkey.home import Unavailable
from web.valkey.server import program

NOISY = "Others were let use the machine meanwhile (--noisy): these figures are to develop by, and for no page."


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="One round of short windows, and only what the goals need.")
@click.option("--rounds", type=click.IntRange(1), help="How often to measure each; 3, and 1 with --quick.")
@click.option("--only", multiple=True, metavar="SCENARIO", help="A scenario's name, or a pattern; may be repeated.")
@click.option("--noisy", is_flag=True, help="Accept windows in which other programs used the machine, and say so.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    default=BUILT / "cluster.jsonl",
    help="Where to write all samples, as JSON lines.  [bench/.env/cluster.jsonl]",
)
@click.option(
    "--report",
    "stored",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Measure nothing: judge these results.",
)
@click.option("--list", "listing", is_flag=True, help="Say what would be measured, and how long it would take.")
def main(
    quick: bool, rounds: int | None, only: tuple[str, ...], noisy: bool, results: Path, stored: Path | None, listing: bool
) -> None:
    rounds = rounds or (1 if quick else 3)
    try:
        rows = chosen(only, quick=quick, of=SCENARIOS)
        if listing:
            _list(rows, rounds)
            return
        plan, samples = read(stored) if stored else _measure(rows, rounds, quick, noisy, results)
    except (Unfit, Unavailable, BadResults, UnknownScenario) as exc:
        raise click.ClickException(str(exc)) from exc
    sys.exit(not _tell(plan, samples))


def _list(rows: Sequence[Scenario], rounds: int) -> None:
    for row in rows:
        click.echo(f"{report.title(row.sample('', 0)):60} {', '.join(row.servers)}")
    click.echo(report.duration(rows, rounds))


def _measure(rows: Sequence[Scenario], rounds: int, quick: bool, noisy: bool, path: Path) -> tuple[Plan, list[Sample]]:
    cores = two_cores()
    allow_descriptors()
    build("wsload")
    program()
    missing = _missing(rows)
    rows = [row.without(HOSTS) for row in rows] if missing else rows
    names = sorted({row.name for row in rows if row.servers})
    plan = Plan(scenarios=names, rounds=rounds, quick=quick, missing=missing)
    results = Results(path, facts(), plan)
    click.echo(f"{report.duration(rows, rounds)}.  The samples go to {path}.", err=True)
    samples = []
    for sample in measure(rows, rounds, lambda row, name, number: take(row, name, number, cores, noisy=noisy)):
        results.add(sample)
        samples.append(sample)
        click.echo(report.progress(sample), err=True)
    return plan, samples


def _missing(rows: Sequence[Scenario]) -> list[str]:
    """Why there are no hosts to measure on, if there are none."""
    if not any(name in HOSTS for row in rows for name in row.servers):
        return []
    try:
        with networks(1):
            return []
    except NoNetworks as exc:
        click.echo(f"several hosts are left out: {exc}", err=True)
        return [f"several hosts: {exc}"]


def _tell(plan: Plan, samples: Sequence[Sample]) -> bool:
    """Print it; return whether all that was to be measured counts, and all goals are reached."""
    verdicts = judge_all(samples, set(plan.scenarios), GOALS)
    click.echo(f"{tables(samples)}\n\n{report.goals(verdicts)}")
    for text in plan.missing:
        click.echo(f"left out: {text}")
    noisy = any(sample.noisy for sample in samples)
    if noisy:
        click.echo(NOISY)
    whole = not plan.missing and not noisy and not any(faults(sample) for sample in samples if not sample.dropped)
    return whole and all(verdict.reached for verdict in verdicts)


if __name__ == "__main__":
    main(prog_name="python -m bench.cluster")
