"""Taking a sample: starts what a scenario wants, loads it, and puts the figures of each process by its name."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import loads
from bench.cluster.hosts import hosts
from bench.cluster.servers import HOST, HOSTS, SERVERS
from bench.load import LoadFailed, Sample
from bench.loads import Part
from bench.machine import TOP
from bench.networks import NoNetworks
from bench.running import ServerFailed, running, workers_of
from bench.scenarios import Scenario
from bench.valkey import ValkeyFailed, events_in_a_publish, valkey

PATIENCE: Final = 60.0  # seconds beyond its window for a process that publishes

Figures = dict[str, float]


def take(row: Scenario, name: str, number: int, cores: tuple[int, int], *, noisy: bool = False) -> Sample:
    """Start that server on the first core, load it from the second one, and stop it.  Blocks.

    What fails is in the sample's `error`.
    """
    sample = replace(row.sample(name, number), noisy=noisy)
    os.sync()  # what was written before is not to be brought to the disk in this window
    try:
        with TemporaryDirectory(prefix="chat-bench-") as folder:
            return replace(sample, figures=_figures(row, name, Path(folder), cores))
    except (ServerFailed, ValkeyFailed, LoadFailed, NoNetworks) as exc:
        return replace(sample, error=str(exc))


def _figures(row: Scenario, name: str, folder: Path, cores: tuple[int, int]) -> Figures:
    if row.mode == "publish":
        return _of_publisher(row, folder, cores)
    return _of_hosts(row, name, folder, cores) if name in HOSTS else _of_workers(row, name, folder, cores)


def _of_workers(row: Scenario, name: str, folder: Path, cores: tuple[int, int]) -> Figures:
    server = SERVERS[name]
    with running(server, folder, core=cores[0], members=row.n, channels=row.channels, settings=row.settings) as it:
        parts = it.parts or {"worker_1": workers_of(it.pid)[0]}
        pids = ["--pid", ",".join(map(str, parts.values()))]
        part = Part([*it.options(), *row.options(server.protocol), *pids])
        return _loaded(row, [part], parts, folder, cores[1])


def _of_hosts(row: Scenario, name: str, folder: Path, cores: tuple[int, int]) -> Figures:
    with hosts(HOST, HOSTS[name], folder, core=cores[0], members=row.n) as them:
        return _loaded(row, them.loads(row), them.parts, folder, cores[1])


def _loaded(row: Scenario, parts: list[Part], pids: Mapping[str, int], folder: Path, core: int) -> Figures:
    workers = {name: pid for name, pid in pids.items() if name.startswith("worker_")}
    before = {name: _descriptors(pid) for name, pid in workers.items()}
    members, each = loads.run(
        parts,
        folder,
        core=core,
        seconds=row.warmup + row.seconds,
        on_ready=lambda: {f"{name}_members": _descriptors(pid) - before[name] for name, pid in workers.items()},
    )
    batch = {"batch": events_in_a_publish(folder / "valkey")} if "valkey" in pids else {}
    return {**_named(loads.merged(each) if len(each) > 1 else each[0], list(pids)), **members, **batch}


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _named(figures: Figures, names: list[str]) -> Figures:
    """What wsload tells of the k-th process, by its name."""
    for prefix in ("", "conn_"):
        if len(names) == 1 and f"{prefix}srv_cpu" in figures:
            figures[f"{prefix}{names[0]}_cpu"] = figures[f"{prefix}srv_cpu"]
        for number, name in enumerate(names, 1):
            if f"{prefix}srv_cpu_{number}" in figures:
                figures[f"{prefix}{name}_cpu"] = figures.pop(f"{prefix}srv_cpu_{number}")
    return figures


def _of_publisher(row: Scenario, folder: Path, cores: tuple[int, int]) -> Figures:
    """The Valkey is on the other core: that nothing else uses, and both wake each other as they do on a larger machine."""
    with valkey(folder / "valkey", core=cores[1]) as it:
        numbers = {
            "--pid": it.pid,
            "--batch": row.window,
            "--channels": row.senders,
            "--hearers": row.n - 1,
            "--size": row.size,
            "--warmup": row.warmup,
            "--seconds": row.seconds,
        }
        told = [word for name, value in numbers.items() for word in (name, str(value))]
        command = ["taskset", "-c", str(cores[0]), sys.executable, "-m", "bench.publishing", it.url, *told]
        limit = row.warmup + row.seconds + PATIENCE
        try:
            done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"who publishes did not end within {limit:.0f} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise LoadFailed(f"who publishes ended with status {done.returncode} and said: {said[-1]}")
    figures: Figures = json.loads(done.stdout)
    return figures
