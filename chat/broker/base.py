"""Append, publish and subscribe: the log of each channel, and the bus between processes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

from chat.event import Logged, Published
from chat.registry.base import ChannelRecord

OnEvents: TypeAlias = Callable[[Sequence[Published]], None]


class Broker(ABC):
    """Publish and subscribe between processes, with a short log per channel.

    * Per channel, every subscriber hears the same order, and every logged event has an offset, from 1, without holes.
    * The publisher's own process hears it too, by this same path.
    * Messages are logged; all other events are heard once.
    * A message with the sender and id of one that was logged in the last 5 minutes is that one: it is not logged or heard
      again, and its offset is the old one.

    `key` is `ChannelRecord.key`.
    """

    @abstractmethod
    def open(self, record: ChannelRecord, on_events: OnEvents) -> None:
        """Go on with a channel's log where `record` stands, and subscribe.  Blocks.

        `on_events` is called with whole batches, in order; it must not block.
        """

    @abstractmethod
    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int]:
        """Append what is logged of `events`, tell every subscriber, and return the offsets (0: not logged).  Blocks.

        Raises: BrokerUnavailable; then all or none of `events` may have been appended: say them again, with the same
        ids.
        """

    @abstractmethod
    def read(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        """Everything logged past offset `after`; None when that is more than `limit` or no longer all here.  Blocks."""

    @abstractmethod
    def last(self, key: str) -> int:
        """The offset of the last logged event.  Blocks."""

    @abstractmethod
    def close(self, key: str) -> None:
        """Unsubscribe, and let go of the recent log.  Blocks; idempotent."""
