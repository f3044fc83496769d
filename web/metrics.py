"""What the operator's `/metrics` shows: gauges of this process, or, under gunicorn, of all workers of its master.

They are set once a second by a timer, so nothing has to be counted where it is said or sent; the database is asked less.
What several processes set is in files (`web.scoreboard`), so whichever worker is asked shows all, those too that can answer
nobody.
"""

from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Final, Literal

import gevent
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from chat.clock import Clock, SystemClock, Timer
from chat.database import Database
from chat.registry.sql import ChannelRow
from web.host import Host
from web.scoreboard import folder

log: Final = getLogger("web")

INTERVAL: Final = 1.0  # seconds between two looks
# Looks for one question to the database, while that answers.  With SQLite a question takes 0.26 ms of a processor, and the
# rest of a look 0.01; and nobody scrapes more often.
LOOKS_PER_QUESTION: Final = 5

EACH: Final = "liveall"  # one value for each process that lives, by `pid`
SUM: Final = "livesum"  # one of them all together

SHOWN: Final[Mapping[str, tuple[Literal["liveall", "livesum"], str]]] = {
    "chat_ready": (EACH, "Whether new users should be sent to this process, as /readyz says."),
    "chat_database_up": (
        EACH,
        "Whether the database has answered this process within a second when it was last asked, every five.",
    ),
    "chat_redis_up": (EACH, "Whether this process can reach the Redis, and is known to live there."),
    "chat_connections": (SUM, "WebSockets that are open, without those that are closing."),
    "chat_sockets": (SUM, "Descriptors of WebSockets: those that are opening or closing too."),
    "chat_channels_open": (SUM, "Channels that are loaded; one that several processes have loaded counts in each."),
    "chat_seen_timestamp_seconds": (EACH, "When this process set its values here, in seconds of the Unix epoch."),
}


class Metrics:
    """Of one application; a `web.extension.Companion`."""

    def __init__(self, host: Host, database: Callable[[], Database], clock: Clock | None = None) -> None:
        self._host = host
        self._database = database
        self._clock = clock or SystemClock()
        self._registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._timer: Timer | None = None
        self._asking: gevent.Greenlet[[], None] | None = None
        self._has_database = True
        self._until_question = LOOKS_PER_QUESTION  # looks

    def begin(self) -> None:
        """Look once a second, from now on.  Never yields."""
        self._has_database = True  # it was opened just now
        try:
            self._make_gauges()
        except OSError as exc:
            log.error("/metrics will not show this process: %s", exc)
            return
        self._look()
        self._timer = self._clock.later(INTERVAL, self._tick)

    def stop(self) -> None:
        """Look for the last time.  Never yields; idempotent."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._asking is not None:
            self._asking.kill(block=False)
        self._look()

    def expose(self) -> bytes:
        """All of it, in Prometheus's text format.  Raises: ServerClosed."""
        self._look()
        registry = self._registry
        if folder():
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder())  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _make_gauges(self) -> None:
        """Not before this process serves: what is made in the master is the master's."""
        if not self._gauges:
            self._gauges = {
                name: Gauge(name, meaning, registry=self._registry, multiprocess_mode=mode)
                for name, (mode, meaning) in SHOWN.items()
                if name != "chat_redis_up" or self._host.is_shared
            }

    def _tick(self) -> None:
        """A timer calls this in the hub."""
        self._until_question -= 1
        if self._asking is not None and not self._asking.ready():
            self._has_database = False
        elif self._until_question <= 0 or not self._has_database:  # that it is back is seen soon
            self._until_question = LOOKS_PER_QUESTION
            self._asking = gevent.spawn(self._ask)
        self._look()
        self._timer = self._clock.later(INTERVAL, self._tick)

    def _ask(self) -> None:
        """A greenlet that ends by itself."""
        self._has_database = self._database().can_read(ChannelRow)
        self._look()

    def _look(self) -> None:
        server, gate = self._host.server, self._host.gate  # at the first use this begins, and so do we
        found: Mapping[str, float] = {
            "chat_ready": self._host.is_ready and server.is_up and self._has_database,
            "chat_database_up": self._has_database,
            "chat_redis_up": server.is_up,
            "chat_connections": len(gate),
            "chat_sockets": len(gate.census),
            "chat_channels_open": server.loaded,
            "chat_seen_timestamp_seconds": self._clock.now().timestamp(),
        }
        for name, gauge in self._gauges.items():
            gauge.set(found[name])
