"""Which channels there are, and where the log of each one stands.

A channel is *taken* by the server that loads it and *put back*, with its last offset, when it is unloaded.  A record that
is taken although nobody has it loaded was left behind by a process that died; what that means for its log is for the
server to say, which knows whether there is an archive.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar


class Fate(Enum):
    """What became of a channel before it was taken."""

    NEW = auto()
    """Nobody has taken it before: nothing was ever said."""
    PUT_BACK = auto()
    """It was put back: its offset is the last one."""
    PROCESS_DIED = auto()
    """Whoever had it never put it back.  What was committed is there; its offset is that of the time before."""
    MACHINE_DIED = auto()
    """What was committed last may be lost, and who reads it cannot tell: perhaps the machine lost its power."""


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """One channel as it stands."""

    name: str
    epoch: str
    """Opaque; a position counts only within one."""
    log: str
    """The name of its log, for ever; no other channel, of whatever name, ever has the same."""
    offset: int = 0
    """Of the last event in the log."""
    created_by: str = ""
    fate: Fate = Fate.PUT_BACK

    @property
    def key(self) -> str:
        """What presence and the broker know it by.  A name may be free, and taken again, while the channel that had it
        is still ending; they must not be taken for one.  No name holds a `/`."""
        return key_of(self.name, self.log)


def key_of(name: str, log: str) -> str:
    """`ChannelRecord.key`."""
    return f"{name}/{log}"


class Registry(ABC):
    """Which channels there are.  A name belongs to at most one open channel."""

    lasting: ClassVar[bool]
    """Whether channels outlive the process: then an idle one is unloaded rather than closed."""

    @abstractmethod
    def create(self, name: str, created_by: str = "") -> ChannelRecord:
        """Add a channel, with an epoch and a log of its own, and take it.  Blocks.  Raises: DuplicatedChannel."""

    @abstractmethod
    def take(self, name: str) -> ChannelRecord:
        """Take an existing channel, its epoch and offset as they stand.  Blocks.

        Until it is put back or renewed, taking it again tells the same fate, or a worse one.
        Raises: InvalidChannel; IdleChannel when it ended because nobody used it.
        """

    @abstractmethod
    def renew(self, name: str, offset: int) -> ChannelRecord:
        """Give a taken channel a new epoch, which goes on past `offset`.  Blocks.  Raises: InvalidChannel."""

    @abstractmethod
    def put_back(self, name: str, offset: int) -> None:
        """Give a taken channel back with the offset of its last event.  Blocks; unknown names are ignored.

        A server that ends puts thousands back at once, each from a greenlet of its own: they may share a transaction, and
        its failure.
        """

    @abstractmethod
    def close(self, name: str, *, log: str | None = None, idle: bool = False) -> None:
        """End it; its name is free at once.  Blocks; unknown names are ignored.

        With `log` only where that is its log: another process may have closed it, and somebody else taken the name.
        """

    @abstractmethod
    def names(self) -> list[str]:
        """The open channels, sorted.  Blocks."""

    @abstractmethod
    def logs(self) -> Mapping[str, str]:
        """The log of each open channel, by its name.  Blocks."""

    @abstractmethod
    def ended(self, age: float) -> list[str]:
        """The logs of channels that ended `age` seconds ago or earlier, and are not forgotten yet.  Blocks."""

    @abstractmethod
    def sweep(self, age: float) -> list[str]:
        """Forget channels that ended `age` seconds ago or earlier, and return their logs.  Blocks."""


def new_epoch() -> str:
    """Random, so that no two logs of any channel, here or elsewhere, are taken for one."""
    return secrets.token_hex(8)


new_log = new_epoch
