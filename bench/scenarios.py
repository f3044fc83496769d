"""The scenarios: what is measured, of whom, and for how long.  A table, which the goals are stated about."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Final

from bench.load import Sample
from chat.crowd import period

OURS: Final = ("ours-plain", "ours-v1")
PEERS: Final = ("socketify", "ws", "websockets", "flask-socketio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row: these servers, one after the other, with this load."""

    name: str
    """Rows that differ in numbers alone share it."""
    mode: str
    """wsload's: fanout, latency, connect."""
    n: int
    """Members; all of one channel where `channels` does not say otherwise."""
    servers: tuple[str, ...]
    quick: tuple[str, ...] = ()
    """Those of which a goal needs a figure."""
    quick_seconds: float = 1.0
    """The window with a quick run."""
    size: int = 64
    """Bytes of a message's text."""
    senders: int = 1
    window: int = 1
    """Messages that each sender has in flight."""
    rate: int = 20
    """Messages a second, with mode latency."""
    channels: int = 1
    poll: int = 0
    """Microseconds between two looks of a load that never sleeps; 0 for one that does.  What a write costs the server
    depends on whether it has to wake the load: chance decides that, and makes windows differ three times as much."""
    rotating: bool = False
    """Each message is said by the next client in turn, so that all channels are in use."""
    stalled: int = 0
    """Members that never read."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The server's environment beside its own."""
    warmup: float = 1.0
    seconds: float = 3.0
    """The window; with mode connect the rest before memory is read."""
    windows: int = 1
    """Of each server in one round: more where a ratio lies closer to its bound than two windows to each other."""

    def sample(self, server: str, number: int) -> Sample:
        """Return the sample of that server in round `number`, without figures yet."""
        return Sample(
            scenario=self.name,
            server=server,
            round=number,
            mode=self.mode,
            n=self.n,
            size=self.size,
            senders=self.senders,
            window=self.window,
            channels=self.channels,
        )

    def options(self, protocol: str) -> list[str]:
        """What to tell wsload of it."""
        found = ["--mode", self.mode, "--n", str(self.n), "--size", str(self.size), "--rate", str(self.rate)]
        found += ["--senders", str(self.senders), "--window", str(self.window)]
        found += ["--quiet", f"{self._quiet():.2f}", "--warmup", str(self.warmup)]
        found += ["--idle" if self.mode == "connect" else "--dur", str(self.seconds)]
        if self.channels > 1:
            found += ["--channels", str(self.channels), *(["--rotate"] if self.rotating else [])]
        if self.poll:
            found += ["--poll", str(self.poll)]
        if protocol == "chatv1":
            found += ["--channel", "room%d" if self.channels > 1 else "lobby"]
        return found + (["--stalled", str(self.stalled)] if self.stalled else [])

    def without(self, missing: Collection[str]) -> "Scenario":
        """Return it for the other servers alone."""
        return replace(self, servers=tuple(name for name in self.servers if name not in missing))

    def takes(self) -> float:
        """Estimate the seconds of one window, the server's start and end included."""
        return 1.2 + self.n / 1000 + self._quiet() + self.warmup + self.seconds

    def _quiet(self) -> float:
        """Seconds of silence after which no folded notice of joins is still to come."""
        return period(self.n // self.channels) + 0.2


def _fanout(n: int, senders: int, window: int, *others: str, quick: Sequence[str] = (), size: int = 64) -> Scenario:
    return Scenario(
        name="fanout",
        mode="fanout",
        n=n,
        senders=senders,
        window=window,
        size=size,
        servers=(*OURS, *others),
        quick=tuple(quick),
    )


# So much a second fills what the kernel holds of one socket (2.6 MB), and then our `write_buf`, within the run.
_READERS: Final = Scenario(
    name="unstalled",
    mode="latency",
    n=1000,
    size=16_384,
    settings={"CHAT_MAX_MESSAGE": "16384"},
    rate=30,
    warmup=3.0,
    seconds=8.0,
    quick_seconds=8.0,
    servers=("ours-plain",),
    quick=("ours-plain",),
)

_CALM: Final = 10.0  # seconds for a p99 at 20 messages a second: of 60, as in 3 s, it would be the worst one

# As much in flight as in one channel: in four of the thousand, or one by one in all of them.
_CHANNELS: Final = Scenario(
    name="channels",
    mode="fanout",
    n=10_000,
    channels=1000,
    senders=4,
    window=8,
    servers=(*OURS, "ceiling"),
    quick=("ours-plain",),
)

# What it costs to keep all that is said: the same without and with it, one right after the other.
_BOTH: Final = ("ours-plain", "ours-archive")

SCENARIOS: Final[Sequence[Scenario]] = (
    _fanout(10, 1, 1),
    _fanout(100, 1, 1),
    _fanout(1000, 1, 1, "socketify", "ws", "parked", "ceiling", quick=("ours-plain", "ws", "parked")),
    _fanout(10_000, 1, 1),
    _fanout(10, 4, 8, *PEERS, "ceiling", quick=("ours-plain",)),
    _fanout(100, 4, 8, *PEERS),
    _fanout(1000, 4, 8, *PEERS, "parked", "ceiling", quick=(*OURS, "socketify", "ws", "flask-socketio")),
    _fanout(10_000, 4, 8, "socketify", "ws", "ceiling", quick=("ours-plain",)),
    _fanout(10, 10, 8),
    _fanout(100, 64, 8),
    _fanout(1000, 64, 8),
    _fanout(10_000, 64, 8),
    _fanout(1000, 4, 8, size=1024),
    _fanout(1000, 4, 8, "socketify", size=4096),
    _CHANNELS,
    replace(_CHANNELS, name="rotation", rotating=True, quick=()),
    Scenario(
        name="flood",
        mode="fanout",
        n=64,
        senders=64,
        window=256,  # half a second's worth, so who is behind by one turn is no sign in a long window
        seconds=10.0,
        quick_seconds=3.0,
        servers=OURS,
        quick=("ours-plain",),
    ),
    Scenario(name="latency", mode="latency", n=100, seconds=_CALM, servers=OURS),
    Scenario(
        name="latency",
        mode="latency",
        n=1000,
        seconds=_CALM,
        servers=(*OURS, "socketify", "ws", "flask-socketio"),
        quick=("ours-plain", "socketify", "ws"),
    ),
    Scenario(name="latency", mode="latency", n=10_000, servers=OURS),
    Scenario(name="archive", mode="fanout", n=1000, senders=4, window=8, poll=100, windows=10, servers=_BOTH, quick=_BOTH),
    Scenario(
        name="archive",
        mode="latency",
        n=1000,
        poll=100,
        seconds=_CALM,
        quick_seconds=_CALM / 2,
        windows=3,
        servers=_BOTH,
        quick=_BOTH,
    ),
    _READERS,
    replace(_READERS, name="stalled", stalled=1),
    Scenario(
        name="handshakes",
        mode="connect",
        n=5000,
        seconds=0.5,
        quick_seconds=0.5,
        servers=(*OURS, "ours-fast", "flask-socketio", "ws"),
        quick=(*OURS, "ours-fast", "flask-socketio"),
    ),
    Scenario(
        name="memory",
        mode="connect",
        n=10_000,
        seconds=2.0,
        servers=(*OURS, "socketify", "ws"),
        quick=("ours-plain", "ws"),
    ),
)


class UnknownScenario(Exception):
    """No scenario's name is like that pattern."""

    def __init__(self, pattern: str, names: Sequence[str]) -> None:
        self.pattern = pattern
        self.names = names

    def __str__(self) -> str:
        return f"there is no scenario {self.pattern!r}; there are {', '.join(self.names)}"


def chosen(patterns: Sequence[str], *, quick: bool, of: Sequence[Scenario] = SCENARIOS) -> list[Scenario]:
    """Return the rows whose name is like one of `patterns`, or all; for a quick run shorter, and only what a goal needs.

    Raises: UnknownScenario.
    """
    for pattern in patterns:
        if not any(fnmatchcase(row.name, pattern) for row in of):
            raise UnknownScenario(pattern, list(dict.fromkeys(row.name for row in of)))
    rows = [row for row in of if not patterns or any(fnmatchcase(row.name, pattern) for pattern in patterns)]
    return [_hurried(row) for row in rows if row.quick] if quick else rows


def _hurried(row: Scenario) -> Scenario:
    return replace(row, servers=row.quick, seconds=row.quick_seconds, warmup=0.5, windows=min(row.windows, 3))
