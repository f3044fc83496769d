"""What every client has heard and every speaker was promised, compared as it comes in.

A stay in a channel hears consecutive offsets, so its first and its last one say which; what stands at an offset is kept
once, and all that hear it must hear the same.  So nothing that a client was told has to be kept twice, for hours.
"""

from typing import NamedTuple

from tests.faults import Faults


class Stop(NamedTuple):
    """Where a client stopped: what it comes back with."""

    epoch: str
    offset: int


class Log:
    """One channel in one epoch: which message stands where."""

    def __init__(self) -> None:
        self.tags: dict[int, str] = {}  # as heard
        self.offsets: dict[str, int] = {}  # as heard or acked
        self.acked: dict[int, str] = {}
        self.last = 0  # offset heard or acked


class Journal:
    """`limit` is how many missed messages the server still has to give to those who come back."""

    def __init__(self, limit: int) -> None:
        self.faults = Faults()
        self.heard = self.acks = self.recoveries = 0
        self._limit = limit
        self._logs: dict[tuple[str, str], Log] = {}

    def log(self, channel: str, epoch: str) -> Log:
        return self._logs.setdefault((channel, epoch), Log())

    def enter(self, client: str, channel: str, stop: Stop | None, welcome: dict, *, lasting: bool = True) -> "Stay":
        """Somebody was welcomed, who came with `stop`; `lasting` is whether the channel cannot have been unloaded."""
        epoch, offset, recovered = welcome["epoch"], welcome["offset"], welcome["recovered"]
        begin = offset
        if recovered:
            self.recoveries += 1
            if stop is None or stop.epoch != epoch or stop.offset > offset:
                self.faults.add(
                    "forgotten", f"{client} in {channel} came with {stop}, and is told that {welcome} goes on there"
                )
            else:
                begin = stop.offset
        elif lasting and stop is not None and stop.epoch == epoch and 0 <= offset - stop.offset <= self._limit:
            self.faults.add(
                "forgotten", f"{client} in {channel} came with {stop}, which could be had, but was told {welcome}"
            )
        return Stay(self, client, channel, epoch, begin)

    def settle(self, stays: list["Stay"]) -> None:
        """Nobody speaks, and all that was said has arrived: whoever is there has heard it, and so has been all that was
        acked."""
        for stay in stays:
            last = self.log(stay.channel, stay.epoch).last
            if stay.last < last:
                self.faults.add("lost", f"{stay} ends there, but the channel goes on to {last}")
        for (channel, epoch), log in self._logs.items():
            for offset, tag in log.acked.items():
                if offset not in log.tags:
                    self.faults.add(
                        "unheard", f"{tag!r} was acked at {offset} in {channel}, epoch {epoch}, and nobody heard it"
                    )


class Stay:
    """One connection in one channel: from `begin`, whose event it has heard before, to `last`."""

    def __init__(self, journal: Journal, client: str, channel: str, epoch: str, begin: int) -> None:
        self.client = client
        self.channel = channel
        self.epoch = epoch
        self.begin = self.last = begin
        self._journal = journal
        self._log = journal.log(channel, epoch)
        self._wanting: set[int] = set()  # passed over

    def __str__(self) -> str:
        return f"{self.client} in {self.channel}, epoch {self.epoch}, from {self.begin} to {self.last},"

    @property
    def stop(self) -> Stop:
        """What to come back with."""
        return Stop(self.epoch, self.last)

    @property
    def is_up_to_date(self) -> bool:
        """It has heard all that anybody knows of."""
        return self.last >= self._log.last

    def hear(self, offset: int, tag: str) -> None:
        """The message `tag` came, at `offset`."""
        self._journal.heard += 1
        if offset > self.last + 1:
            self._journal.faults.add("lost", f"{self} hears {offset}, {tag!r}")
            self._wanting.update(range(self.last + 1, offset))
        elif offset <= self.last:
            self._journal.faults.add("swapped" if offset in self._wanting else "doubled", f"{self} hears {offset}, {tag!r}")
            self._wanting.discard(offset)
        self.last = max(self.last, offset)
        known = self._log.acked.get(offset) or self._log.tags.get(offset, tag)
        if known != tag:
            self._journal.faults.add("changed", f"{self} hears {tag!r} at {offset}, where {known!r} was acked, or heard")
        self._log.tags.setdefault(offset, tag)
        self._place(offset, tag)

    def ack(self, offset: int, tag: str) -> None:
        """The server promised that `tag` stands at `offset`."""
        self._journal.acks += 1
        self._log.acked[offset] = tag
        known = self._log.tags.get(offset, tag)
        if known != tag:
            self._journal.faults.add("changed", f"{self} is acked {tag!r} at {offset}, where others heard {known!r}")
        self._place(offset, tag)

    def _place(self, offset: int, tag: str) -> None:
        self._log.last = max(self._log.last, offset)
        known = self._log.offsets.setdefault(tag, offset)
        if known != offset:
            self._journal.faults.add("repeated", f"{self} finds {tag!r} at {offset}, and it stands at {known} too")
