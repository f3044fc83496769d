"""Reads the log of one channel for its members, each time in a greenlet of its own: who asks waits, and nobody else."""

from collections.abc import Callable
from logging import Logger
from typing import Final

from gevent import Timeout
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from chat.broker import Broker
from chat.errors import BrokerUnavailable, ChatError, RateLimited
from chat.event import Logged, Page
from chat.fanout import Fanout, Note
from chat.member import Member, Resume
from chat.outgoing import Outgoing
from chat.registry import ChannelRecord
from chat.requests import History

AT_ONCE: Final = 4  # reads of one channel: when thousands come back, only so many hold what they have read
READS: Final = 2  # for one who comes back; where more is said meanwhile than is kept, one more would not help


class Missed:
    """What was logged since a returning member stopped, as far as it has been read; `is_lost` when it cannot be told."""

    __slots__ = ("_after", "_room", "epoch", "events", "is_lost", "reads")

    def __init__(self, resume: Resume) -> None:
        self.epoch = resume.epoch
        self._after = resume.offset
        self._room = resume.limit
        self.events: list[Logged] = []
        self.reads = 0
        self.is_lost = False

    @property
    def after(self) -> int:
        """The offset behind which it is not known yet."""
        return self.events[-1].offset if self.events else self._after

    @property
    def room(self) -> int:
        """How many more there may be."""
        return self._room - len(self.events)


class Reader:
    """What members ask of the log."""

    def __init__(self, record: ChannelRecord, broker: Broker, fanout: Fanout, out: Outgoing, log: Logger) -> None:
        self._key = record.key
        self._name = record.name
        self._broker = broker
        self._fanout = fanout
        self._out = out
        self._log = log
        self._turns = BoundedSemaphore(AT_ONCE)
        self._greenlets = Group()
        self._asking: set[Member] = set()

    def complete(self, missed: Missed) -> bool:
        """Add what is at hand.  False: the rest must be read first, by `read`.  Never yields."""
        if missed.is_lost:
            return True
        found = self._broker.recent(self._key, missed.after, missed.room)
        if found is not None:
            missed.events += found
        else:
            missed.is_lost = missed.reads == READS
        return found is not None or missed.is_lost

    def read(self, missed: Missed, then: Callable[[], None]) -> None:
        """Read on, and have the hub call `then` in any case.  Never yields."""
        missed.reads += 1
        missed.is_lost = True
        self._greenlets.spawn(self._read, missed).link(lambda _: then())  # even if it is killed before it has begun

    def page(self, member: Member, request: History) -> None:
        """Answer it.  Never yields.  Raises: RateLimited while another one of this member is not answered."""
        if member in self._asking:
            raise RateLimited(request.id)
        self._asking.add(member)
        self._greenlets.spawn(self._page, member, request)

    def stop(self) -> None:
        """End all that is being read.  Blocks."""
        self._greenlets.kill()

    def _read(self, missed: Missed) -> None:
        try:
            with self._turns:
                found = self._broker.read(self._key, missed.after, missed.room)
            if found is not None:
                missed.events += found
                missed.is_lost = False
        except (Exception, Timeout) as exc:
            self._unavailable(exc)

    def _page(self, member: Member, request: History) -> None:
        try:
            with self._turns:
                events, more = self._broker.history(
                    self._key, before=request.before, after=request.after, limit=request.limit
                )
        except (Exception, Timeout) as exc:
            self._out.refuse(member, request.id, self._unavailable(exc))
        else:
            self._fanout.put(Note(member, Page(request.id, tuple(events), more)))
        finally:
            self._asking.discard(member)

    def _unavailable(self, exc: BaseException) -> ChatError:
        """Log what went wrong, and return what may be told of it."""
        if isinstance(exc, ChatError):
            self._log.error("channel %r cannot be read: %s", self._name, exc)
            return exc
        self._log.error("channel %r cannot be read", self._name, exc_info=exc)
        return BrokerUnavailable()
