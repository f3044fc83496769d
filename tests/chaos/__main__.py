"""`python -m tests.chaos`: a server that is killed, clients in Python and in browsers, lines that are cut; exits with 1
when anything was lost.

--minutes 3             how long they talk
--clients 200           how many in Python; beside them there are five in Chromium
--seed N                the same guests and dice again; without it a new one, which is printed
--database postgresql   instead of SQLite
--workers 3             so many processes over a Valkey: some are killed, the Valkey too, and once they are cut off from it

A client in Python is in one to three of the five channels, so that a message is heard by eighty: in all five, 20,000
deliveries a second would measure the machine and not the server.  Those in browsers are in all.  What the server has at
hand is short, so that many come back to what only the archive has; and so is what they may miss, so that some have to
begin anew.
"""

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from chat.database import upgrade
from chat.engine import parse
from chat.schema import CHAT
from tests.chaos.kept import lasts, read
from tests.chaos.record import Record
from tests.chaos.shared import Shared
from tests.chaos.site import Alone, Site
from tests.chaos.troupe import Troupe
from tests.chaos.verdict import Kept, judge, misjudged
from tests.faults import Faults
from tests.live.cable import Harm
from tests.live.people import Person, Place
from tests.postgres import Postgres
from tests.soak.meter import processor
from web.schema import ACCOUNTS

CHANNELS = [f"room{number}" for number in range(5)]
BROWSERS = 5
RATE = 108.0  # requests a second, of all together; about 100 of them are messages, the others edits and deletes
HARMS = 2.0  # a second
WAYS = [how.value for how in Harm]
MESSAGES = 15_000 / 180  # a second, that must be kept
PATIENCE = 90.0  # seconds until everybody has caught up
SETTINGS = {
    "CHAT_PING_INTERVAL": "5",
    "CHAT_PING_TIMEOUT": "5",
    "CHAT_RECENT_EVENTS": "100",  # of five seconds
    "CHAT_RESUME_LIMIT": "250",
}
COLUMNS = ("second", "said", "open", "heard", "anew", "harmed", "killed")


class Chaos:
    """One run."""

    def __init__(self, site: Site, cutter: Troupe, casts: list[Troupe], dice: random.Random) -> None:
        self.harmed: Counter[str] = Counter()
        self._site = site
        self._cutter = cutter
        self._casts = casts
        self._dice = dice
        self._members: dict[str, set[str]] = {channel: set() for channel in CHANNELS}
        self._began = time.monotonic()

    def enter(self, clients: int) -> None:
        """Bring everybody in, over the cable.  Blocks."""
        place = Place(self._site.url)
        names = [f"client{number}" for number in range(clients)], [f"browser{number}" for number in range(BROWSERS)]
        with ThreadPoolExecutor(4) as pool:
            people = list(pool.map(lambda name: Person(place, name).register(), [*names[0], *names[1]]))
        for channel in CHANNELS:
            assert people[0].create(channel).status == 201
        url = self._cutter.ask("open", target=self._site.url) + "/chat"
        sessions = {person.name: person.cookies for person in people}
        rooms = (lambda: sorted(self._dice.sample(CHANNELS, self._dice.randint(1, 3)))), (lambda: CHANNELS)
        for cast, group, choose in zip(self._casts, names, rooms, strict=True):
            channels = {name: choose() for name in group}
            for channel, members in self._members.items():
                members |= {name for name in group if channel in channels[name]}
            cast.ask("enter", url=url, channels=channels, sessions=sessions, seed=self._dice.getrandbits(32))
        self._shares = [len(group) / len(people) for group in names]

    def run(self, seconds: float) -> None:
        """Let them talk, and let happen what happens."""
        print("  ".join(f"{name:>8}" for name in COLUMNS), flush=True)
        self._began = time.monotonic()
        for cast, share in zip(self._casts, self._shares, strict=True):
            cast.ask("talk", rate=RATE * share)
        for due, what in sorted(self._program(seconds)):
            time.sleep(max(self._began + due - time.monotonic(), 0))
            if what == "row":
                self._row()
            elif what in WAYS:
                self.harmed[what] += self._cutter.ask("harm", how=what, which=self._dice.random())
            else:
                self._site.suffer(what, self._dice)
        for cast in self._casts:
            cast.ask("hush")
        self._cutter.ask("mend")
        self._site.mend()

    def settle(self, faults: Faults, ends: Callable[[], Mapping[str, int]]) -> None:
        """Wait until all is answered, and everybody has heard everything; `ends` tells how far the channels go."""
        deadline = time.monotonic() + PATIENCE
        while waiting := self._waiting(ends):
            if time.monotonic() > deadline:
                faults.add("late", f"after {PATIENCE:g} s {waiting}")
                break
            time.sleep(0.5)
        self._row()
        for cast in self._casts:
            for complaint in cast.ask("complaints"):
                faults.add("complaint", complaint)

    def record(self, folder: Path) -> Record:
        """What they all know."""
        paths = [folder / f"record{number}" for number in range(len(self._casts))]
        for cast, path in zip(self._casts, paths, strict=True):
            cast.ask("write", path=str(path))
        return Record.read(*paths)

    def _program(self, seconds: float) -> Iterator[tuple[float, str]]:
        """What happens when."""
        due = 0.0
        while (due := due + self._dice.expovariate(HARMS)) < seconds:
            yield due, self._dice.choice(WAYS)
        yield from self._site.program(seconds, self._dice)
        for number in range(1, int(seconds / 30) + 1):
            yield number * 30.0, "row"

    def processors(self) -> dict[str, Sequence[float]]:
        """Seconds of a core that each has used, the browser itself left out."""
        guests, _ = self._casts
        return {**self._site.used(), "clients": [processor(guests.pid)], "cable": [processor(self._cutter.pid)]}

    def _states(self) -> list[dict[str, Any]]:
        return [cast.ask("state") for cast in self._casts]

    def _row(self) -> None:
        states = self._states()
        sums = [sum(state[name] for state in states) for name in ("said", "open", "heard", "began")]
        row = (round(time.monotonic() - self._began), *sums, self.harmed.total(), self._site.kills)
        print("  ".join(f"{value:>8}" for value in row), flush=True)

    def _waiting(self, ends: Callable[[], Mapping[str, int]]) -> str:
        """What is still to come; "" when nothing is."""
        if unsettled := self._site.unsettled():
            return unsettled
        states = self._states()
        if count := sum(state["open"] for state in states):
            return f"{count} requests are not answered"
        behind = [
            f"{name} is heard to {state['last'][name]} of {end} by somebody"
            for name, end in ends().items()
            for state in states
            if state["last"].get(name, end) < end
        ]
        if not behind and self._site.is_shared:
            behind = list(misjudged(self._members, self._casts[0].ask("crowds")))
        return "; ".join(behind)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """The settings with which the server finds its database, and the URL at which we do."""
    if kind == "sqlite":
        yield {}, f"sqlite:///{folder}/instance/chat.sqlite"
        return
    postgres = Postgres()
    try:
        postgres.start()
        url = postgres.url(postgres.lend())
        upgrade(url, CHAT, ACCOUNTS)
        yield {"CHAT_DATABASE_URL": url}, url
    finally:
        postgres.remove()


def tell(record: Record, kept: Kept, chaos: Chaos, site: Site) -> None:
    """Print the figures."""
    kinds = Counter(event.kind for log in kept.values() for event in log)
    acked = sum(one.offset > 0 for one in record.said)
    errors = Counter(one.error for one in record.said if one.error)
    figures = {
        "kept": f"{kinds['message']} messages, {kinds['edit']} edits, {kinds['delete']} deletes",
        "acked": f"{acked} of {len(record.said)}, {acked / max(len(record.said), 1):.2%}",
        "refused": ", ".join(f"{count} {code}" for code, count in sorted(errors.items())) or "none",
        "heard": f"{sum(view.heard for view in record.views)} events in {len(record.views)} views",
        "began anew": f"{sum(len(view.chapters) - 1 for view in record.views)} times",
        "lines": ", ".join(f"{count} {how}" for how, count in sorted(chaos.harmed.items())),
        **site.figures(),
        "seconds of a core": ", ".join(f"{who} {_sum(used)}" for who, used in chaos.processors().items()),
        "machine": f"{os.cpu_count()} cores, for which {os.getloadavg()[1]:.1f} processes waited",
    }
    for name, figure in figures.items():
        print(f"{name:>18}  {figure}")


def _sum(used: Sequence[float]) -> str:
    return " + ".join(f"{seconds:.0f}" for seconds in used)


def play(kind: str, workers: int, seconds: float, clients: int, seed: int, faults: Faults) -> None:
    """One run; `workers` is 0 for a server that is alone."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings, url = stack.enter_context(database(kind, folder))
        engine = create_engine(parse(url))
        stack.callback(engine.dispose)
        args, env = ("--access-logfile", os.devnull), {**settings, **SETTINGS}
        instance = folder / "instance"
        site = stack.enter_context(
            Shared(instance, engine, workers, *args, **env) if workers else Alone(instance, engine, *args, **env)
        )
        modules = ("cutter", "guests", "browsers")
        cutter, *casts = (stack.enter_context(Troupe(f"tests.chaos.{module}")) for module in modules)
        chaos = Chaos(site, cutter, casts, random.Random(seed))
        chaos.enter(clients)
        before = site.epochs()
        chaos.run(seconds)
        chaos.settle(faults, lambda: lasts(engine))
        record, kept = chaos.record(folder), read(engine)
        if (after := site.epochs()) != before:
            faults.add("epoch", f"a kill -9 is no reason to begin anew: {before}, then {after}")
        tell(record, kept, chaos, site)
    judge(record, kept, faults, messages=round(MESSAGES * seconds))
    site.judge(kept, faults)
    if "Traceback" in site.log:
        faults.add("traceback", site.log[site.log.index("Traceback") :][:2000])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    who = f"{options.clients} clients and {BROWSERS} browsers"
    what = f"{options.database}, {options.workers} workers" if options.workers else options.database
    print(f"{who}, {options.minutes:g} minutes, {what}, SEED={options.seed}", flush=True)
    faults = Faults()
    play(options.database, options.workers, options.minutes * 60, options.clients, options.seed, faults)
    return faults.tell(options.seed, "nothing was lost, doubled, swapped or changed")


if __name__ == "__main__":
    sys.exit(main())
