"""Append, publish and subscribe: the log of each channel, and the bus between processes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

from chat.errors import ChatError
from chat.event import Logged, Past, Published
from chat.orders import Order
from chat.registry.base import ChannelRecord


class Place(NamedTuple):
    """Where a log stands."""

    epoch: str
    """What its offsets belong to."""
    offset: int
    """Of the last event."""


class Subscriber(Protocol):
    """What a channel hears of its log.  Never yields."""

    def heard(self, events: Sequence[Published], process: str = "") -> None:
        """A whole batch, in order; `process` is who has published it, where several do and it is known."""

    def moved(self, place: Place) -> None:
        """The log goes on from `place`: some events before it may be lost, or were not heard here."""

    def told(self, order: Order) -> None:
        """Every process that has the channel does this."""


class Broker(ABC):
    """Publish and subscribe between processes, with a short log per channel.

    * Per channel, every subscriber hears the same order, and every logged event has an offset, without holes.
    * The publisher's own process hears it too, by this same path.
    * Messages, edits and deletes are logged, and in the log before anybody hears them; all other events are heard once.
    * What has the sender and id of something of the last 5 minutes is that one: it is not logged or heard again, and its
      offset is the old one.  Of whispers, which are not logged, only this process knows that.

    `key` is `ChannelRecord.key`; a channel that is not open is a ChannelClosed.
    """

    shared: ClassVar[bool]
    """Whether other processes publish and hear too; then it knows better than the registry where a log stands."""

    @property
    @abstractmethod
    def waits(self) -> bool:
        """Whether publishing what is logged may take any time; then nobody should wait for it who has more to do."""

    @abstractmethod
    def open(self, record: ChannelRecord, subscriber: Subscriber) -> Place:
        """Subscribe, and go on with a channel's log: where `record` stands, unless the broker knows better.  Blocks.

        Raises: BrokerUnavailable, ChannelClosed; then it is not open.
        """

    @abstractmethod
    def publish(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError]:
        """Append what is logged of `events`, and tell every subscriber.  Blocks.

        Returns the offset of each (0: not logged), or the error that it alone has met (NotStorable).
        Batches with something to log must not overlap in one channel.  One with nothing to log may be published at any
        time, also meanwhile, and waits for no log.
        Raises: BrokerUnavailable; then nobody has heard of any of them yet, though the log may hold them: say them again,
        with the same ids.
        """

    @abstractmethod
    def publish_at_once(self, key: str, events: Sequence[Published]) -> Sequence[int | ChatError] | None:
        """The same, if it takes a moment only.  Never yields.

        None: nobody has heard of any of them, but the log may hold them; `publish` them, as they are, before anything else
        that is logged in this channel.
        """

    @abstractmethod
    def tell(self, key: str, order: Order) -> None:
        """Have `order` done in every process that has the channel open, in this one too.  Blocks.

        Raises: BrokerUnavailable; then it may be done in some of them.
        """

    @abstractmethod
    def said(self, key: str, sender: str, id: str) -> int:
        """The offset of what `sender` had logged by that id in the last 5 minutes; 0 when nothing was.  Blocks.

        It must not overlap with `publish` of what is logged.  Raises: BrokerUnavailable.
        """

    @abstractmethod
    def recent(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        """What `read` returns, where it is at hand in this process; else None.  Never yields."""

    @abstractmethod
    def read(self, key: str, after: int, limit: int) -> Sequence[Logged] | None:
        """Everything logged past offset `after`.  Blocks.

        None when that is more than `limit`, or no longer all here, or `after` is beyond the end.
        Raises: BrokerUnavailable.
        """

    @abstractmethod
    def find(self, key: str, offset: int) -> Past | None:
        """The message at `offset` as it now is; None where there is none.  Blocks.

        It must not overlap with `publish` of what is logged.  Raises: BrokerUnavailable.
        """

    @abstractmethod
    def history(
        self, key: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> tuple[list[Past], bool]:
        """The last `limit` messages before offset `before`, or the first after `after`; with neither, the last.  Blocks.

        They come as they now are, the oldest first, and with them whether there are more in that direction.
        Raises: BrokerUnavailable.
        """

    def forget(self, log: str, process: str) -> bool:
        """That process, which is dead, does nothing for `log` any more.  Blocks.  Raises: BrokerUnavailable.

        Returns whether something has to be done that it has left undone: then it is done where the channel is open.
        """
        del log, process
        return False

    @abstractmethod
    def look_round(self) -> None:
        """See whether the logs are still as they were, for somebody has lost something.  Never yields."""

    @abstractmethod
    def last(self, key: str) -> int:
        """The offset of the last event that was heard.  Never yields."""

    @abstractmethod
    def close(self, key: str, subscriber: Subscriber | None = None) -> None:
        """Unsubscribe, and let go of the recent log.  Blocks; idempotent.

        With `subscriber` only where that is who it was opened for: another one's log is left alone.
        What is being published meanwhile is logged or not, and heard by nobody.
        """
