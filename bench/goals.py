"""The goals: which figure is to be how large, by itself or beside another one, and whether it is.

Figures are medians over the rounds.  A goal is refused, which is not reached, when a sample behind it does not count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from bench.load import Sample, faults
from chat.crowd import LARGE, period


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Which number of which samples."""

    key: str
    """wsload's name for it, or one of `DERIVED`."""
    server: str
    scenario: str
    n: int | None = None
    """These may be left out where a scenario has but one of them."""
    senders: int | None = None
    window: int | None = None
    size: int | None = None

    def of(self, samples: Sequence[Sample]) -> list[Sample]:
        """Those of its samples that were not measured again."""
        own = (self.n, self.senders, self.window, self.size)
        return [
            sample
            for sample in samples
            if (sample.scenario, sample.server) == (self.scenario, self.server)
            and not sample.dropped
            and all(
                wanted in (None, there)
                for wanted, there in zip(own, (sample.n, sample.senders, sample.window, sample.size), strict=True)
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound of a figure, or of its ratio to another one."""

    text: str
    figure: Figure
    to: Figure | None = None
    at_least: float | None = None
    at_most: float | None = None
    by_difference: bool = False
    """Bounded is what the one has more than the other, not their ratio."""

    @property
    def bound(self) -> str:
        """Say the bound, such as `>= 0.8 x`."""
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return f"{sign} {'+' if self.by_difference else ''}{bound:g}{' x' if self.to and not self.by_difference else ''}"

    def scenarios(self) -> set[str]:
        """What has to be measured for it."""
        return {self.figure.scenario, self.to.scenario} if self.to else {self.figure.scenario}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a goal."""

    goal: Goal
    figure: float | None = None
    to: float | None = None
    value: float | None = None
    """The figure, the ratio, or the difference, that is compared; None when it is refused."""
    refused: str = ""
    """Why there is none."""

    @property
    def reached(self) -> bool:
        """Whether it holds; on the bound it does."""
        goal, value = self.goal, self.value
        if value is None:
            return False
        return (goal.at_least is None or value >= goal.at_least) and (goal.at_most is None or value <= goal.at_most)


class Refused(Exception):
    """There is no median: something that was measured does not count, or nothing was measured."""


def _join_share(figures: Mapping[str, float], n: int) -> float:
    """Frames that told of joins, of those that folding allows.

    It allows each member one a period, that of half the members for a mean, and two, of which one is the welcome; and
    that the first `LARGE` hear of each other by name.
    """
    seconds = figures["conn_s"] + figures["settle_s"]
    return figures["join_frames"] / (n * (seconds / period(n // 2) + 2) + LARGE**2)


def _fairness(figures: Mapping[str, float], _n: int) -> float:
    """What the slowest sender got said, of what the fastest did."""
    return figures["sender_min"] / figures["sender_max"] if figures["sender_max"] else 0.0


def _per_cpu(figures: Mapping[str, float], _n: int) -> float:
    """Delivered in a second of CPU of all the server's processes: what more cores would bring, if there were more."""
    return figures["delivered_s"] / figures["srv_cpu"]


DERIVED: Final[Mapping[str, Callable[[Mapping[str, float], int], float]]] = {
    "join_share": _join_share,
    "fairness": _fairness,
    "per_cpu_s": _per_cpu,
}


def middle(samples: Sequence[Sample], key: str) -> float:
    """Return the median of that figure.

    Raises: Refused, when a sample does not count or has no such figure, and when there is none.
    """
    if not samples:
        raise Refused("not measured")
    return median(number(sample, key) for sample in samples)


def number(sample: Sample, key: str) -> float:
    """Return that figure.  Raises: Refused, as above."""
    if found := faults(sample):
        raise Refused(f"{sample.server}: {'; '.join(found)}")
    try:
        return DERIVED[key](sample.figures, sample.n) if key in DERIVED else sample.figures[key]
    except KeyError as exc:
        raise Refused(f"{sample.server}: wsload gave no {exc.args[0]}") from None


def judge(goal: Goal, samples: Sequence[Sample]) -> Verdict:
    """Say whether a goal is reached."""
    try:
        figure = middle(goal.figure.of(samples), goal.figure.key)
        if goal.to is None:
            return Verdict(goal=goal, figure=figure, value=figure)
        to = middle(goal.to.of(samples), goal.to.key)
        return Verdict(goal=goal, figure=figure, to=to, value=figure - to if goal.by_difference else figure / to)
    except Refused as exc:
        return Verdict(goal=goal, refused=str(exc))
    except ZeroDivisionError:
        return Verdict(goal=goal, refused="it would be a ratio to nothing")


def judge_all(samples: Sequence[Sample], measured: set[str], goals: Sequence[Goal] | None = None) -> list[Verdict]:
    """Judge the goals (`GOALS`) about the scenarios that were to be measured."""
    return [judge(goal, samples) for goal in (GOALS if goals is None else goals) if goal.scenarios() <= measured]


_MANY: Final = Figure(key="delivered_s", server="ours-plain", scenario="fanout", n=1000, senders=4, window=8, size=64)
_ONE: Final = replace(_MANY, senders=1, window=1)
_LATE: Final = Figure(key="p99_ms", server="ours-plain", scenario="latency", n=1000)
_SIZE: Final = Figure(key="rss_per_conn_kb", server="ours-plain", scenario="memory")
_DOOR: Final = Figure(key="handshakes_s", server="ours-plain", scenario="handshakes")
_KEPT: Final = replace(_MANY, server="ours-archive", scenario="archive")
_KEPT_LATE: Final = replace(_KEPT, key="p99_ms", senders=1, window=1)
_PEER_DOOR: Final = replace(_DOOR, server="flask-socketio")


def _beside(text: str, figure: Figure, server: str, *, at_least: float | None = None, at_most: float | None = None) -> Goal:
    """The same figure of another server."""
    to = replace(figure, server=server)
    return Goal(text=f"{text}, to {server}", figure=figure, to=to, at_least=at_least, at_most=at_most)


GOALS: Final[Sequence[Goal]] = (
    _beside("delivered/s, N=1,000, 4 x 8", _MANY, "socketify", at_least=0.8),
    _beside("delivered/s, N=1,000, 4 x 8", _MANY, "flask-socketio", at_least=30),
    _beside("delivered/s, N=1,000, 4 x 8", _MANY, "ws", at_least=25),
    Goal(
        text="the same over chat.v1, to socketify",
        figure=replace(_MANY, server="ours-v1"),
        to=replace(_MANY, server="socketify"),
        at_least=0.6,
    ),
    _beside("delivered/s, N=1,000, 1 x 1", _ONE, "ws", at_least=1.2),
    _beside("delivered/s, N=1,000, 1 x 1", _ONE, "parked", at_least=0.8),
    _beside("latency p99 in ms, N=1,000, 20/s", _LATE, "ws", at_most=1),
    _beside("latency p99 in ms, N=1,000, 20/s", _LATE, "socketify", at_most=1.2),
    _beside("delivered/s with the archive, 4 x 8", _KEPT, "ours-plain", at_least=0.9),
    _beside("latency p99 in ms with the archive", _KEPT_LATE, "ours-plain", at_most=1.3),
    Goal(text="KiB per idle connection, N=10,000", figure=_SIZE, at_most=3),
    _beside("KiB per idle connection, N=10,000", _SIZE, "ws", at_most=0.5),
    _beside("handshakes/s through Flask", _DOOR, "flask-socketio", at_least=2),
    Goal(
        text="handshakes/s ahead of Flask, to flask-socketio",
        figure=replace(_DOOR, server="ours-fast"),
        to=_PEER_DOOR,
        at_least=3,
    ),
    Goal(text="delivered/s, N=10,000 to 1,000, 4 x 8", figure=replace(_MANY, n=10_000), to=_MANY, at_least=0.7),
    Goal(
        text="delivered/s, 4 busy of 1,000 channels of 10, to one",
        figure=Figure(key="delivered_s", server="ours-plain", scenario="channels"),
        to=replace(_MANY, n=10),
        at_least=0.5,
    ),
    Goal(
        text="frames of a join storm, of those folding allows",
        figure=Figure(key="join_share", server="ours-v1", scenario="handshakes"),
        at_most=1,
    ),
    Goal(
        text="latency p99 in ms beside a stalled reader",
        figure=Figure(key="p99_ms", server="ours-plain", scenario="stalled"),
        to=Figure(key="p99_ms", server="ours-plain", scenario="unstalled"),
        at_most=1.5,
    ),
    Goal(
        text="slowest to fastest of 64 senders that flood",
        figure=Figure(key="fairness", server="ours-plain", scenario="flood"),
        at_least=0.5,
    ),
)
