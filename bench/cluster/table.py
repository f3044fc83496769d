"""The tables for docs/scaling.md, in Markdown: medians, and beside each what it is compared with."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Final

from bench.cluster.servers import NAMES, split
from bench.goals import Refused, middle
from bench.load import Sample

CALLED: Final[Mapping[str, str]] = {"plain": "plain", "v1": "chat.v1"}

Cells = Sequence[str]


def tables(samples: Sequence[Sample]) -> str:
    """All that there are figures for; in the place of a row's stands why, when one of its samples does not count."""
    kept = [sample for sample in samples if not sample.dropped]
    parts = [part for make in (_fanouts, _joins, _latencies, _publishes) for part in make(kept)]
    return "\n\n".join(parts)


def _fanouts(samples: Sequence[Sample]) -> Iterable[str]:
    loads = _groups(samples, lambda one: (one.scenario, one.n, one.channels, one.senders, one.window))
    for load in [load for load in loads if load[0].mode == "fanout"]:
        one = load[0]
        rooms = f" in {one.channels} channels" if one.channels > 1 else ""
        head = (
            *(f"N={one.n:,}{rooms}, {one.senders} x {one.window}, {one.size} B", "delivered/s", "cores: workers"),
            *(
                "Valkey",
                "delivered per CPU-second",
                "to one",
                "to one with a Valkey",
                "p50 ms",
                "p99 ms",
                "events in a publish",
            ),
            "members",
        )
        yield _table(head, [_line([_called(own[0])], _fanout, own, load) for own in _by_server(load)])


def _fanout(own: Sequence[Sample], load: Sequence[Sample]) -> Cells:
    _, protocol = split(own[0].server)
    each = middle(own, "per_cpu_s")
    return [
        _million(middle(own, "delivered_s")),
        *_cores(own),
        _million(each),
        _ratio(each, load, f"one-{protocol}" if protocol else "one-host"),
        _ratio(each, load, f"one-valkey-{protocol}"),
        *(f"{middle(own, key):.1f}" for key in ("echo_p50_ms", "echo_p99_ms")),
        f"{middle(own, 'batch'):.1f}" if "batch" in own[0].figures else "",
        " + ".join(f"{middle(own, f'{worker}_members'):.0f}" for worker in _workers(own)),
    ]


def _joins(samples: Sequence[Sample]) -> Iterable[str]:
    """What getting in, and telling the others, took: by the way, at the start of each window of one room."""
    head = ("N=1,000 come at once", "joins/s", "ms of a worker, a join", "ms of the Valkey")
    if rooms := [sample for sample in samples if sample.scenario == "room"]:
        yield _table(head, [_line([_called(own[0])], _join, own) for own in _by_server(rooms)])


def _join(own: Sequence[Sample]) -> Cells:
    seconds = middle(own, "conn_s") / middle(own, "opened")
    valkey = middle(own, "conn_valkey_cpu") if "valkey_cpu" in own[0].figures else 0.0
    workers = middle(own, "conn_srv_cpu") - valkey
    shared = f"{valkey * seconds * 1000:.2f}" if valkey else ""
    return [f"{middle(own, 'handshakes_s'):,.0f}", f"{workers * seconds * 1000:.2f}", shared]


def _latencies(samples: Sequence[Sample]) -> Iterable[str]:
    head = ("N=10, 1,000 messages/s", "p50 ms", "p99 ms", "p50 added", "p99 added", "cores: workers", "Valkey")
    if late := [sample for sample in samples if sample.scenario == "added"]:
        one = [sample for sample in late if split(sample.server)[0] == "one"]
        yield _table(head, [_line([_called(own[0])], _latency, own, one) for own in _by_server(late)])


def _latency(own: Sequence[Sample], one: Sequence[Sample]) -> Cells:
    found = [middle(own, key) for key in ("p50_ms", "p99_ms")]
    added = ["", ""] if own == one else [f"{middle(own, key) - middle(one, key):.2f}" for key in ("p50_ms", "p99_ms")]
    return [*(f"{late:.2f}" for late in found), *added, *_cores(own)]


def _publishes(samples: Sequence[Sample]) -> Iterable[str]:
    head = (
        *("events in a publish", "processes that hear it", "channels at a time", "µs of who publishes, an event"),
        *("of the Valkey", "of each other process", "events/s"),
    )
    if published := [sample for sample in samples if sample.mode == "publish"]:
        groups = _groups(published, lambda one: (one.senders, one.n, one.window))
        counts = ([str(own[0].window), str(own[0].n), str(own[0].senders)] for own in groups)
        yield _table(head, [_line(first, _publish, own) for first, own in zip(counts, groups, strict=True)])


def _publish(own: Sequence[Sample]) -> Cells:
    worker, valkey, hearer = (f"{middle(own, f'{part}_us'):.1f}" for part in ("worker", "valkey", "hearer"))
    return [worker, valkey, hearer if own[0].n > 1 else "", f"{middle(own, 'events_s'):,.0f}"]


def _ratio(each: float, load: Sequence[Sample], server: str) -> str:
    try:
        return f"{each / middle([sample for sample in load if sample.server == server], 'per_cpu_s'):.2f}"
    except (Refused, ZeroDivisionError):
        return ""


def _cores(own: Sequence[Sample]) -> Cells:
    """Of each worker, and of the Valkey."""
    workers = " + ".join(f"{middle(own, f'{worker}_cpu'):.2f}" for worker in _workers(own))
    return [workers, f"{middle(own, 'valkey_cpu'):.2f}" if "valkey_cpu" in own[0].figures else ""]


def _workers(own: Sequence[Sample]) -> list[str]:
    """As the figures call them."""
    found: list[str] = []
    for number in count(1):
        if f"worker_{number}_cpu" not in own[0].figures:
            break
        found.append(f"worker_{number}")
    return found


def _by_server(samples: Sequence[Sample]) -> list[list[Sample]]:
    return _groups(samples, lambda sample: (sample.server,))


def _groups(samples: Sequence[Sample], key: Callable[[Sample], tuple[object, ...]]) -> list[list[Sample]]:
    """Those that are alike in that, in the order in which they come first."""
    found: dict[tuple[object, ...], list[Sample]] = {}
    for sample in samples:
        found.setdefault(key(sample), []).append(sample)
    return list(found.values())


def _called(sample: Sample) -> str:
    name, protocol = split(sample.server)
    return f"{NAMES[name]}, {CALLED[protocol]}" if protocol else NAMES[name]


def _million(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.0f} k"


def _line(first: Cells, make: Callable[..., Cells], *samples: Sequence[Sample]) -> Cells:
    try:
        return [*first, *make(*samples)]
    except Refused as exc:
        return [*first, f"refused: {exc}"]


def _table(head: Cells, lines: Sequence[Cells]) -> str:
    whole = [[*line, *[""] * (len(head) - len(line))] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *whole))
