"""Several workers of gunicorn over a Valkey of their own: workers are killed, the Valkey too, and once the packets between
them vanish.

The Valkey appends to its file before it answers, so its end takes nothing that was acked, and no channel begins anew.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from sqlalchemy import Engine

from tests.chaos.kept import logs
from tests.chaos.site import Due, Site
from tests.chaos.troupe import Troupe
from tests.chaos.verdict import Kept, judge_archive
from tests.faults import Faults
from tests.live.servers import Server, gunicorn, workers_of
from tests.soak.meter import processor
from tests.valkey import RedisServer

RESTARTS = 2  # of the Valkey
PARTITION = 10.0  # seconds: as long as a lease
LINES = 1000  # of the log, at most: what fails is told, and tried again after a pause
BURIED_ALIVE = "is taken for dead"


class Meta(NamedTuple):
    """Where a log stands, as the Redis has it."""

    epoch: str
    offset: int
    archived: int


class Shared(Site):
    """gunicorn stays, and starts another worker for each that was killed."""

    is_shared = True

    def __init__(self, instance: Path, database: Engine, workers: int, *args: str, **env: str) -> None:
        super().__init__()
        self.restarts = 0
        self.partition = 0.0  # seconds
        self._instance = instance
        self._database = database
        self._args = args
        self._env = {**env, "CHAT_WORKERS": str(workers)}
        self._stack = ExitStack()
        self._valkey: RedisServer
        self._cable: Troupe
        self._server: Server
        self._url = ""
        self._cut_at: float | None = None
        self._workers: Counter[int] = Counter()  # seconds of a core, by process id
        self._valkeys: Counter[int] = Counter()
        self._metas: dict[str, Meta] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._valkey = RedisServer(appendonly=True)
            stack.callback(self._valkey.remove)
            self._valkey.start()
            self._cable = stack.enter_context(Troupe("tests.chaos.cutter"))
            way = self._cable.ask("open", target=self._valkey.url)
            redis = f"redis://{urlsplit(way).netloc}"
            running = gunicorn(self._instance, *self._args, CHAT_REDIS_URL=redis, **self._env)
            self._server, self._url = stack.enter_context(running)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return self._url

    @property
    def log(self) -> str:
        return self._server.log

    def program(self, seconds: float, dice: random.Random) -> Iterator[Due]:
        yield from super().program(seconds, dice)
        for number in range(RESTARTS):
            yield seconds * (number + dice.uniform(0.1, 0.9)) / RESTARTS, "restart"
        begins = dice.uniform(0.2, 0.6) * seconds
        yield begins, "cut"
        yield begins + PARTITION, "mend"

    def suffer(self, what: str, dice: random.Random) -> None:
        match what:
            case "kill":
                self._kill(dice.choice(workers_of(self._server)))
            case "restart":
                self._restart()
            case "cut":
                self._cable.ask("freeze")
                self._cut_at = monotonic()
            case "mend":
                self.mend()

    def mend(self) -> None:
        self._cable.ask("mend")
        if self._cut_at is not None:
            self.partition += monotonic() - self._cut_at
            self._cut_at = None

    def epochs(self) -> dict[str, str]:
        return {name: meta.epoch for name, meta in self._look().items()}

    def unsettled(self) -> str:
        self._metas = self._look()
        behind = [
            f"{name} is archived to {meta.archived} of {meta.offset}"
            for name, meta in self._metas.items()
            if meta.archived != meta.offset
        ]
        return "; ".join(behind)

    def judge(self, kept: Kept, faults: Faults) -> None:
        judge_archive(kept, {name: meta.offset for name, meta in self._metas.items()}, faults)
        if buried := self.log.count(BURIED_ALIVE):
            faults.add("buried alive", f"{buried} times a worker was taken for dead that was not")
        if (lines := len(self.log.splitlines())) > LINES:
            faults.add("flood", f"the log has {lines} lines")

    def figures(self) -> Mapping[str, str]:
        return {
            **super().figures(),
            "Valkey restarts": f"{self.restarts}, by kill -9",
            "partition": f"{self.partition:.1f} s",
            "log": f"{len(self.log.splitlines())} lines",
        }

    def used(self) -> Mapping[str, Sequence[float]]:
        for worker in workers_of(self._server):
            self._workers[worker] = processor(worker)
        self._valkeys[self._valkey.pid] = processor(self._valkey.pid)
        return {"workers": list(self._workers.values()), "valkey": list(self._valkeys.values())}

    def _kill(self, worker: int) -> None:
        self._workers[worker] = processor(worker)
        os.kill(worker, signal.SIGKILL)
        self.kills += 1

    def _restart(self) -> None:
        self._valkeys[self._valkey.pid] = self._valkey.cpu()
        self._valkey.kill()
        self._valkey.start()
        self.restarts += 1

    def _look(self) -> dict[str, Meta]:
        """By channel."""
        metas = {}
        for name, log in logs(self._database).items():
            epoch, offset, archived = self._valkey.ask("HMGET", f"chat:{{{log}}}:meta", "epoch", "offset", "archived")
            metas[name] = Meta(epoch, int(offset), int(archived))
        return metas
