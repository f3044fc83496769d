"""What a publish costs each process and the Valkey: `RedisBroker` in processes of its own, without a server.

    python -m bench.publishing unix:///path/to/socket --pid 4711 --batch 16 --hearers 2

Each of --channels greenlets publishes a batch, has heard it when that returns, and publishes the next one.  So it is
received again within what is measured, and what goes over a line together is one batch, or of several channels.  The
--hearers are other processes that have all channels open, and hear.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import click
import gevent

from chat.broker import Place
from chat.broker.redis import RedisBroker
from chat.event import Message, Published
from chat.fleet import Fleet
from chat.orders import Order
from chat.registry import ChannelRecord

TICKS: Final = os.sysconf("SC_CLK_TCK")
IDLE: Final = (3, 4)  # columns of /proc/stat: idle, and waiting for a disk
NAMES: Final = 64  # users who say it in turn


class _Ear:
    """Counts what a channel hears."""

    def __init__(self) -> None:
        self.heard_count = 0

    def heard(self, events: Sequence[Published], process: str = "") -> None:
        del process
        self.heard_count += len(events)

    def moved(self, place: Place) -> None:
        raise AssertionError(f"the log goes on from {place}")

    def told(self, order: Order) -> None:
        raise AssertionError(order)


class _Publisher:
    """One channel, and who says something in it."""

    def __init__(self, broker: RedisBroker, number: int, batch: int, size: int) -> None:
        self.ear = _Ear()
        self._broker = broker
        self._batch = batch
        self._text = "x" * size
        self._numbers = count()
        record = ChannelRecord(f"room{number}", f"epoch{number}", f"log{number}")
        self._key = record.key
        broker.open(record, self.ear)

    def publish_until(self, end: float) -> None:
        while time.monotonic() < end:
            self._broker.publish(self._key, [self._next() for _ in range(self._batch)])

    def _next(self) -> Message:
        number = next(self._numbers)
        name = f"user{number % NAMES}"
        return Message(name, self._text, datetime.now(UTC), f"{number:016x}-{name}")


class _Usage(NamedTuple):
    """Seconds: of the clock, and of CPU."""

    at: float
    own: float
    valkey: float
    hearers: float
    machine: float


def measure(
    url: str, pid: int, *, batch: int, channels: int, size: int, hearers: int, warmup: float, seconds: float
) -> dict[str, float]:
    """Return microseconds of CPU for each event, and what the machine did besides.  Blocks."""
    with _broker(url) as broker:
        publishers = [_Publisher(broker, number, batch, size) for number in range(channels)]
        with _hearing(url, channels, hearers) as pids:
            _run(publishers, warmup)
            before, published = _usage(pid, pids), _heard(publishers)
            _run(publishers, seconds)
            after, published = _usage(pid, pids), _heard(publishers) - published
    elapsed, own, valkey, other_ears, machine = (end - start for start, end in zip(before, after, strict=True))
    each = 1e6 / published
    return {
        "events_s": published / elapsed,
        "worker_us": own * each,
        "valkey_us": valkey * each,
        "hearer_us": other_ears * each / hearers if hearers else 0.0,
        "round_us": elapsed * each * batch * channels,
        "srv_cpu": (own + valkey + other_ears) / elapsed,
        "other_cpu": (machine - own - valkey - other_ears) / elapsed,
    }


@contextmanager
def _broker(url: str) -> Iterator[RedisBroker]:
    fleet = Fleet(url, prefix="bench")
    fleet.connect()
    fleet.start(lambda _process: None, lambda: None, lambda: None)
    broker = RedisBroker(fleet.bus, fleet.lease)
    try:
        yield broker
    finally:
        broker.stop()
        fleet.stop()


def _run(publishers: Sequence[_Publisher], seconds: float) -> None:
    end = time.monotonic() + seconds
    gevent.joinall([gevent.spawn(publisher.publish_until, end) for publisher in publishers], raise_error=True)


def _heard(publishers: Sequence[_Publisher]) -> int:
    return sum(publisher.ear.heard_count for publisher in publishers)


def _usage(valkey: int, hearers: Sequence[int]) -> _Usage:
    machine = [int(part) for part in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    busy = sum(part for index, part in enumerate(machine) if index not in IDLE)
    return _Usage(
        time.monotonic(), time.process_time(), _cpu(valkey), sum(_cpu(hearer) for hearer in hearers), busy / TICKS
    )


def _cpu(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


@contextmanager
def _hearing(url: str, channels: int, hearers: int) -> Iterator[list[int]]:
    """Have so many other processes hear all channels; yield their ids."""
    command = [sys.executable, "-m", "bench.publishing", url, "--hear", "--channels", str(channels)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(hearers)]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == b"hears\n"
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.communicate()  # its standard input ends, and so does it


def _hear(url: str, channels: int) -> None:
    with _broker(url) as broker:
        for number in range(channels):
            _Publisher(broker, number, 1, 1)
        click.echo("hears")
        gevent.get_hub().threadpool.apply(sys.stdin.read)


@click.command(help=__doc__)
@click.argument("url")
@click.option("--pid", type=int, default=0, help="The Valkey's process.")
@click.option("--batch", type=click.IntRange(1), default=1, help="Events that are published together.")
@click.option("--channels", type=click.IntRange(1), default=1)
@click.option("--size", type=click.IntRange(1), default=64, help="Bytes of a text.")
@click.option("--hearers", type=click.IntRange(0), default=0, help="Other processes that hear it.")
@click.option("--warmup", type=float, default=1.0)
@click.option("--seconds", type=float, default=3.0)
@click.option("--hear", is_flag=True, help="Be one of them, until standard input ends.")
def main(
    url: str, pid: int, batch: int, channels: int, size: int, hearers: int, warmup: float, seconds: float, hear: bool
) -> None:
    if hear:
        _hear(url, channels)
        return
    figures = measure(url, pid, batch=batch, channels=channels, size=size, hearers=hearers, warmup=warmup, seconds=seconds)
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main(prog_name="python -m bench.publishing")
