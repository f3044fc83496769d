"""The durable log: everything that was ever said, by channel, epoch and offset.

It is written ahead: an event is here before anybody hears it, and acked after that.  So what one member has seen can
never be taken back or numbered anew, not even by a process that dies at the worst moment.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from chat.event import Message


class Archive(ABC):
    """A log that lasts.  Offsets of one channel and epoch count from 1 without holes."""

    @abstractmethod
    def append(self, channel: str, epoch: str, events: Sequence[Message]) -> None:
        """Keep `events`, whose offsets are set, all or none.  Blocks; said twice, they are kept once.

        Raises: BrokerUnavailable.
        """

    @abstractmethod
    def read(self, channel: str, epoch: str, after: int, limit: int) -> list[Message]:
        """The first `limit` events past offset `after`, in order.  Blocks.  Raises: BrokerUnavailable."""

    @abstractmethod
    def last(self, channel: str, epoch: str) -> int:
        """The last offset, 0 when there is none.  Blocks.  Raises: BrokerUnavailable."""
