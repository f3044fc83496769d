"""Which channels there are, and where the log of each one stands.

A channel is *taken* by the server that loads it and *put back*, with its last offset, when it is unloaded.  A record that
is taken although nobody has it loaded was left behind by a process that died: what it had numbered is not known, so its
log goes on under a new epoch.
"""

import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """One channel as it stands."""

    name: str
    epoch: str
    """Opaque; offsets can be compared only within one."""
    offset: int = 0
    """Of the last event in the log."""
    created_by: str = ""

    @property
    def key(self) -> str:
        """What presence and the broker know it by.  A name may be free, and taken again, while the channel that had it
        is still ending; they must not be taken for one.  No name holds a `/`."""
        return f"{self.name}/{self.epoch}"


class Registry(ABC):
    """Which channels there are.  A name belongs to at most one open channel."""

    lasting: ClassVar[bool]
    """Whether channels outlive the process: then an idle one is unloaded rather than closed."""

    @abstractmethod
    def create(self, name: str, created_by: str = "") -> ChannelRecord:
        """Add a channel, with an epoch of its own, and take it.  Blocks.  Raises: DuplicatedChannel."""

    @abstractmethod
    def take(self, name: str) -> ChannelRecord:
        """Take an existing channel.  Blocks.

        Raises: InvalidChannel; IdleChannel when it ended because nobody used it.
        """

    @abstractmethod
    def put_back(self, name: str, offset: int) -> None:
        """Give a taken channel back with the offset of its last event.  Blocks; unknown names are ignored.

        A server that ends puts thousands back at once, each from a greenlet of its own: they may share a transaction, and
        its failure.
        """

    @abstractmethod
    def close(self, name: str, *, idle: bool = False) -> None:
        """End it; its name is free at once.  Blocks; unknown names are ignored."""

    @abstractmethod
    def names(self) -> list[str]:
        """The open channels, sorted.  Blocks."""

    @abstractmethod
    def sweep(self, age: float) -> None:
        """Forget channels that ended `age` seconds ago or earlier.  Blocks."""


def new_epoch() -> str:
    """Random, so that no two logs of any channel, here or elsewhere, are taken for one."""
    return secrets.token_hex(8)
