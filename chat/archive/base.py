"""The durable log: everything that was ever said, edited or deleted, by log and offset.

It is written ahead: an event is here before anybody hears it, and acked after that.  So what one member has seen can
never be taken back or numbered anew, not even by a process that dies at the worst moment.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from chat.event import Logged, Past

MOST_UNREAD: Final = 100  # counted; whoever missed more wants to know that it is many


class Id(NamedTuple):
    """What tells an event that is said again."""

    sender: str
    id: str
    offset: int
    date: datetime


class Unread(NamedTuple):
    """What waits for one user in one log; both stop at MOST_UNREAD."""

    unread: int
    """Messages of others, not deleted, past the user's mark; 0 where there is no mark."""
    mentions: int
    """Those of them that mention the user; from the beginning of the log where there is no mark."""


class Archive(ABC):
    """Logs that last; `log` is the name of one for ever.  Its offsets count up without holes, and leap only where it was
    lost and goes on from another place; what was said before may come late then.

    Deleting erases: with a Deleted the texts of its target and of that target's edits become "".  What comes for a target
    that was deleted before changes nothing, and an edit's text is not kept then.

    All that blocks raises BrokerUnavailable when the log cannot be reached; what else is said there.
    """

    @abstractmethod
    def append(self, log: str, events: Sequence[Logged]) -> None:
        """Keep `events`, whose offsets are set, all or none.  Blocks; said twice, they are kept once.

        Many callers at once share a transaction.  Raises: BrokerUnavailable: perhaps kept, perhaps not, or an offset is
        held by another event: read what is there; NotStorable: none of these is kept, and one of them never can be.
        """

    def append_at_once(self, log: str, events: Sequence[Logged]) -> bool:
        """The same, if it takes a moment only, in which everything else stands still.  Never yields; raises nothing.

        False: perhaps they are kept, perhaps not, or not yet; `append` them, as they are, before anything else.
        """
        del log, events
        return False

    @abstractmethod
    def read(self, log: str, after: int, limit: int) -> list[Logged]:
        """The first `limit` past offset `after`, in order.  What retention took is missing.  Blocks."""

    @abstractmethod
    def tail(self, log: str, limit: int, since: datetime) -> list[Logged]:
        """The last `limit`, in order, but for those at their beginning that are older than `since`.  Blocks."""

    @abstractmethod
    def ids(self, log: str, since: datetime, limit: int) -> list[Id]:
        """The newest `limit` events that have an id and are not older than `since`, the oldest first.  Blocks."""

    @abstractmethod
    def last(self, log: str) -> int:
        """The last offset, 0 when there is none; never goes back, whatever retention takes.  Blocks."""

    @abstractmethod
    def find(self, log: str, offset: int) -> Past | None:
        """The message at `offset` as it is now; None where there is none.  Blocks."""

    @abstractmethod
    def history(self, log: str, *, before: int | None, after: int | None, limit: int) -> tuple[list[Past], bool]:
        """`limit` messages as they are now, the oldest first, and whether there are more in that direction.  Blocks.

        With `after` the first ones past that offset, else the last ones, below `before` if it is given.
        """

    @abstractmethod
    def mark(self, log: str, username: str, offset: int) -> None:
        """Remember that `username` has read up to `offset`; a mark never goes back.  Never yields.

        Kept in memory, and written down within a second: a kill -9 may cost that.
        """

    @abstractmethod
    def unread(self, username: str, logs: Sequence[str]) -> dict[str, Unread]:
        """What waits for the user in each of `logs`; marks that are not written down yet count too.  Blocks."""

    @abstractmethod
    def trim(self, age: float, count: int) -> None:
        """Drop from the beginning of each log what is older than `age` seconds, and all but the last `count` events.

        0 is no limit.  Blocks, and lets others write meanwhile.
        """

    @abstractmethod
    def forget(self, logs: Sequence[str]) -> None:
        """Drop `logs` with their marks, for good.  Blocks, and lets others write meanwhile."""

    @abstractmethod
    def flush(self) -> None:
        """Write down all marks.  Blocks."""

    @abstractmethod
    def close(self) -> None:
        """Flush, if it can be done, and end.  Blocks; idempotent."""
