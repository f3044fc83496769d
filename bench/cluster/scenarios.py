"""The scenarios: what is measured, of whom, and for how long.

All processes of the server, its Valkey too, are on one core.  So what they deliver in a second of CPU is compared, which
says what more cores would bring, on a machine that has none to spare; and no two of them ever work at the same moment,
which is what more cores are for, and what a figure from here cannot show.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bench.cluster.servers import HOSTS, PUBLISHER
from bench.scenarios import Scenario

_COMPARED: Final = ("one", "two", "four")  # of which goals speak

_ROOM: Final = Scenario(
    name="room",
    mode="fanout",
    n=1000,
    senders=4,
    window=8,
    poll=100,
    quick_seconds=2.0,
    servers=(
        *(f"{name}-plain" for name in ("one", "one-archive", "one-valkey", "two", "two-archive", "four")),
        *(f"{name}-v1" for name in ("one", "one-valkey", "two", "four")),
    ),
    quick=tuple(f"{name}-{protocol}" for protocol in ("plain", "v1") for name in _COMPARED),
)
_ROOMS: Final = replace(
    _ROOM,
    name="rooms",
    n=1024,
    channels=16,
    servers=tuple(f"{name}-{protocol}" for protocol in ("plain", "v1") for name in ("one", "one-valkey", "two", "four")),
)
_ADDED: Final = Scenario(
    name="added",
    mode="latency",
    n=10,
    rate=1000,
    seconds=5.0,
    quick_seconds=3.0,
    servers=("one-plain", "one-valkey-plain", "two-plain"),
    quick=("one-plain", "one-valkey-plain", "two-plain"),
)
_PUBLISH: Final = Scenario(
    name="publish",
    mode="publish",
    n=1,  # processes that hear
    senders=1,  # channels in which something is published all the while
    window=1,  # events in a publish
    quick_seconds=2.0,
    servers=(PUBLISHER,),
    quick=(PUBLISHER,),
)
_HOSTS: Final = Scenario(
    name="hosts",
    mode="fanout",
    n=1000,
    senders=6,  # one, two or three hosts have equally many
    window=8,
    quick_seconds=2.0,
    servers=tuple(HOSTS),
    quick=tuple(HOSTS),
)

SCENARIOS: Final[Sequence[Scenario]] = (
    _ROOM,
    replace(_ROOM, senders=16, servers=_ROOMS.servers, quick=()),  # for four workers, as much for each as one alone has
    _ROOMS,
    replace(_ROOMS, senders=16, quick=()),
    _ADDED,
    _PUBLISH,
    replace(_PUBLISH, window=16),
    replace(_PUBLISH, n=2, quick=()),
    replace(_PUBLISH, n=2, window=16, quick=()),
    replace(_PUBLISH, n=4, quick=()),
    replace(_PUBLISH, n=4, window=16, quick=()),
    replace(_PUBLISH, senders=16, quick=()),
    _HOSTS,
)
