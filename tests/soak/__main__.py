"""`python -m tests.soak`: gunicorn, and clients that do all that clients do; exits with 1 when anything was amiss.

--minutes 10     how long
--clients 2000   how many
--seed N         the same guests and dice again; without it a new one, which is printed
"""

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import gevent

from tests.live.servers import gunicorn
from tests.soak.desk import Desk
from tests.soak.house import House
from tests.soak.journal import Journal
from tests.soak.meter import descriptors, memory, only_child

TALK, MOVES = 60.0, 25.0  # a second
SPARE = 20  # descriptors or greenlets: the connections of the last requests
GROWTH = 1.1  # times what the worker had after the first minute, at most
MISSED = 100  # CHAT_RESUME_LIMIT
RECENT = 20  # CHAT_RECENT_EVENTS: full within the first minute; who has missed more is given it from the archive
SETTINGS = {
    "CHAT_RESUME_LIMIT": str(MISSED),
    "CHAT_RECENT_EVENTS": str(RECENT),
    "CHAT_PING_INTERVAL": "5",
    "CHAT_WRITE_BUF": str(2**16),
}
COLUMNS = ("minute", "here", "said", "acked", "heard", "recovered", "left", "MiB", "descriptors", "greenlets", "faults")


class Soak:
    """One run, and its table."""

    def __init__(self, worker: int, desk: Desk, house: House, journal: Journal) -> None:
        self.resident: list[int] = []  # KiB, after each minute
        self._worker = worker
        self._desk = desk
        self._house = house
        self._journal = journal

    def run(self, minutes: float) -> None:
        before = self._descriptors_and_greenlets()
        self._house.open()
        print("  ".join(f"{name:>11}" for name in COLUMNS), flush=True)
        began = time.monotonic()
        step = min(60.0, minutes * 30)  # a short run has its first minute sooner
        for number in range(1, round(minutes * 60 / step) + 1):
            gevent.sleep(max(began + number * step - time.monotonic(), 0))
            self._row(number * step / 60)
        self._house.settle()
        self._row(minutes)
        self._look_at_memory()
        self._house.empty()
        self._look_for_leaks(before)

    def _row(self, minute: float) -> None:
        self.resident.append(memory(self._worker))
        here = sum(guest.is_here for guest in self._house.guests)
        journal, said, left = self._journal, self._house.said, sum(self._house.departures.values())
        row = (f"{minute:.1f}", here, said, journal.acks, journal.heard, journal.recoveries, left)
        process = (self.resident[-1] // 1024, *self._descriptors_and_greenlets())
        print("  ".join(f"{value:>11}" for value in (*row, *process, sum(journal.faults.counts.values()))), flush=True)

    def _descriptors_and_greenlets(self) -> tuple[int, int]:
        return descriptors(self._worker), self._desk.ask("GET", "/greenlets", "admin")

    def _look_for_leaks(self, before: tuple[int, int]) -> None:
        def are_back() -> bool:
            now = self._descriptors_and_greenlets()
            return all(after <= count + SPARE for count, after in zip(before, now, strict=True))

        if not self._house.wait(are_back, "", pause=1.0):
            after = self._descriptors_and_greenlets()
            self._journal.faults.add(
                "ghost", f"everybody has left; descriptors and greenlets were {before} and are {after}"
            )

    def _look_at_memory(self) -> None:
        first, last = self.resident[0], self.resident[-1]
        if last > first * GROWTH:
            self._journal.faults.add(
                "growth", f"the worker had {first} KiB after the first minute, and has {last} in the end"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{options.clients} clients, {options.minutes:g} minutes, SEED={options.seed}", flush=True)
    journal = Journal(MISSED)
    with tempfile.TemporaryDirectory() as folder:
        site = gunicorn(Path(folder) / "instance", "--access-logfile", os.devnull, app="tests.soak.site:app", **SETTINGS)
        with site as (server, where):
            address = urlsplit(where)
            assert address.hostname is not None
            assert address.port is not None
            desk = Desk((address.hostname, address.port))
            house = House(desk, journal, options.clients, seed=options.seed, talk=TALK, moves=MOVES)
            Soak(only_child(server.pid), desk, house, journal).run(options.minutes)
            desk.close()
        if "Traceback" in server.log:
            journal.faults.add("traceback", server.log[server.log.index("Traceback") :][:2000])
    return verdict(journal, house, options.seed)


def verdict(journal: Journal, house: House, seed: int) -> int:
    """Say it, and return the exit status."""
    ways = ", ".join(f"{count} by {way}" for way, count in sorted(house.departures.items()))
    print(f"departures: {ways}; connections refused: {sum(guest.refusals for guest in house.guests)}")
    done = {"said": house.said, "acked": journal.acks, "heard": journal.heard, "recovered": journal.recoveries}
    for what, count in done.items():
        if not count:
            journal.faults.add("idle", f"nothing was {what}")
    return journal.faults.tell(seed, "nothing was lost, doubled, swapped or left over")


if __name__ == "__main__":
    sys.exit(main())
