"""The greenlet of one channel: takes what waits in the inbox, and does it, in one order.

It runs the application's hooks, lists and unlists users, and hands what is to be heard to the broker, in batches.  What
the broker says comes back to `Fanout`, which has a greenlet of its own, so that a hook that blocks delays what is said
here but nothing that is heard.
"""

from collections.abc import Callable
from logging import Logger
from typing import Final, NamedTuple, TypeAlias, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.event import Event as Flag

from chat.broker import Broker
from chat.clock import Clock
from chat.closing import CHANNEL_CLOSED, INTERNAL, Closing
from chat.config import ServerConf
from chat.crowd import LISTED
from chat.errors import BrokerUnavailable, ChannelClosed, ChatError, IdleChannel, UserNotHere
from chat.event import Logged, Message, User, Welcome, Whisper
from chat.fanout import Arrival, Fanout
from chat.floor import Floor
from chat.hooks import Hooks
from chat.inbox import Inbox
from chat.member import Member, State, Step
from chat.notices import Notices
from chat.outgoing import Outgoing
from chat.presence import Presence
from chat.registry import ChannelRecord
from chat.restricted import Speech

BATCH: Final = 256  # items in one turn at most, so that joins behind them wait a bounded time

T = TypeVar("T")


class Said(NamedTuple):
    """Somebody, or the application, has said something."""

    event: Message | Whisper
    member: Member | None


class Join(NamedTuple):
    """A member wants in; whoever waits for `listed` knows when it is."""

    member: Member
    listed: "AsyncResult[None] | None"


class Leave(NamedTuple):
    """A member's connection has ended."""

    member: Member


class Sync(NamedTuple):
    """Whoever waits for `reached` knows that all before it has been published."""

    reached: Flag


class Stop(NamedTuple):
    """The channel ends, behind all that was put before."""

    closing: Closing


class _Fold(NamedTuple):
    """A folded notice of a large room is due."""


class _Idle(NamedTuple):
    """Nothing may have happened for long enough."""


Item: TypeAlias = Said | Join | Leave | Sync | Stop | _Fold | _Idle


class ChannelLoop:
    """The inside of a channel, whose outside `channel` is.

    `inbox` is the way in, `done` is set when it has ended; `on_end(name)` is called shortly before.
    """

    def __init__(
        self,
        channel: Speech,
        record: ChannelRecord,
        *,
        conf: ServerConf,
        broker: Broker,
        presence: Presence,
        clock: Clock,
        log: Logger,
        on_end: Callable[[str], None],
    ) -> None:
        self._channel = channel
        self._record = record
        self._key = record.key
        self._conf = conf
        self._broker = broker
        self._presence = presence
        self._clock = clock
        self._log = log
        self._on_end = on_end
        self.ended_as: type[ChannelClosed] | type[IdleChannel] | None = None  # what is raised from then on
        self.done = Flag()
        self.members: dict[str, Member] = {}
        self._active = clock.monotonic()
        self._idle_is_due = False
        self.inbox: Inbox[Item] = Inbox(conf.inbox)
        self.floor = Floor(conf.inbox)
        self.fanout = Fanout(record.offset, log)
        self.hooks = Hooks(conf.controller, log)
        self.out = Outgoing(self._key, broker, self.fanout, self.hooks, clock)
        self._notices = Notices(
            channel, self.hooks, clock, lambda: presence.count(self._key), lambda: self.inbox.force(_Fold())
        )
        try:
            broker.open(record, self.fanout.heard)
        except BaseException:
            self.fanout.stop()
            raise
        self._timer = clock.later(conf.channel_idle_timeout, self._look_idle)
        self._greenlet = gevent.spawn(self._run)

    @property
    def ended(self) -> bool:
        """Whether nothing more comes in."""
        return self.ended_as is not None

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this greenlet, so that waiting for it would be for ever."""
        return gevent.getcurrent() is self._greenlet

    @property
    def may_wait(self) -> bool:
        """Whether a caller may wait for what this greenlet does; while a hook runs nobody may."""
        return not self.hooks.running and not self.is_current

    @property
    def held_at(self) -> int | None:
        """The last offset of the log while a hook runs, otherwise None: it may be growing."""
        return self._broker.last(self._key) if self.hooks.running else None

    def _run(self) -> None:
        while not self.done.is_set():
            self._try(ChannelLoop._turn, self)  # a deadline that a hook has left behind may pass anywhere in here
        self._release_waiters()

    def _turn(self) -> None:
        for item in self.inbox.take(BATCH):
            if not self.done.is_set() or isinstance(item, Sync):  # Stop need not be the last of its batch
                self._try(self._do, item)
        self._try(Outgoing.publish, self.out)
        if self._idle_is_due and not self.done.is_set():
            self._try(ChannelLoop._do_idle, self)
        if self.done.is_set():
            return
        try:
            self.fanout.wait_for_room()
        finally:  # also when a deadline strikes that a hook has left behind
            if not self.inbox.full:
                self.floor.resume()
        if self.inbox:
            gevent.sleep(0)

    def _do(self, item: Item) -> None:
        match item:
            case Said(event, member):
                self._do_say(event, member)
            case Join(member, listed):
                self._do_join(member, listed)
            case Leave(member):
                self._do_leave(member)
            case Sync(reached):
                self._try(Outgoing.publish, self.out)
                reached.set()
            case Stop(closing):
                self._do_stop(closing)
            case _Fold():
                self.out.add(self._notices.folded())
            case _Idle():
                self._idle_is_due = True  # once the batch is done, which may be activity

    def _do_say(self, event: Message | Whisper, member: Member | None) -> None:
        if member is not None:
            self.floor.leave(member)
        self._active = self._clock.monotonic()
        to = event.to if isinstance(event, Whisper) else ""
        try:
            if to and not self._presence.is_listed(self._key, to):
                raise UserNotHere(to, "is not here")
            if self.hooks.encodes:
                event.text = self.hooks.encode(self._channel, event.date, event.text, event.sender, to)
                event.rendered = True
        except ChatError as exc:
            self.out.answer(member, event.id, exc)
            return
        if event.rendered and not event.text:  # the encoder cancelled it
            self.out.answer(member, event.id)
        else:
            self.out.add(event, member, event.id)

    def _do_join(self, member: Member, listed: "AsyncResult[None] | None") -> None:
        try:
            self._try(Outgoing.publish, self.out)  # what was said before it came is not for its ears
            before = self.hooks.shield(lambda: self._list(member))
        except Exception as exc:
            if listed is None:
                member.drop(INTERNAL)
            else:
                listed.set_exception(exc)
            raise
        if listed is not None:
            listed.set(None)
        if before is None:
            self.out.add(self._notices.joined(member.user))
            self._notices.call_connected(member.username)
        elif before != member.user:
            self.out.add(self._notices.renamed(before, member.user))

    def _list(self, member: Member) -> User | None:
        """Let the member hear all from here on; return how its user was listed until now, None if not."""
        if member.state is not State.JOINING:  # it has gone by now
            return member.user
        key = self._key
        before = self._presence.confirm(key, member.user, member.id)
        self._active = self._clock.monotonic()
        missed = self._missed(member)
        users = tuple(self._presence.users(key, LISTED))
        welcome = Welcome(
            member.user, users, self._presence.count(key), self._record.epoch, 0, recovered=missed is not None
        )
        self.fanout.put(Arrival(member, welcome, missed or ()))
        if self._conf.debug_log:
            self._log.debug("user %r is in channel %r", member.username, self._record.name)
        return before

    def _missed(self, member: Member) -> list[Logged] | None:
        """What was said since a returning client stopped; None when that cannot be told, or it does not return."""
        resume = member.resume
        if resume is None or resume.epoch != self._record.epoch:
            return None
        try:
            found = self._broker.read(self._key, resume.offset, resume.limit)
        except BrokerUnavailable as exc:
            self._log.error("channel %r: what %r missed cannot be read: %s", self._record.name, member.username, exc)
            return None
        return None if found is None else list(found)

    def _do_leave(self, member: Member) -> None:
        if member.state is not State.LEAVING:  # it was announced already
            return
        if user := self.forget(member):
            self._active = self._clock.monotonic()
            if not self.ended:
                self.out.add(self._notices.left(user))
            self._notices.call_disconnected(member.username)

    def forget(self, member: Member) -> User | None:
        """Let the member go; return its user if they were listed and are so no more."""
        gone = self._presence.release(self._key, member.username, member.id)
        self.members.pop(member.id, None)
        member.step(Step.ANNOUNCED)
        if self._conf.debug_log:
            self._log.debug("a connection of user %r has left channel %r", member.username, self._record.name)
        return gone

    # The end

    def _look_idle(self) -> None:
        """A timer calls this in the hub."""
        if not self.ended:
            self.inbox.force(_Idle())

    def _do_idle(self) -> None:
        self._idle_is_due = False
        rest = self._active + self._conf.channel_idle_timeout - self._clock.monotonic()
        if rest <= 0 and not self.members and not self.inbox and not self.ended:
            self.ended_as = IdleChannel
            self._do_stop(CHANNEL_CLOSED)
            return
        if rest <= 0:
            rest = self._conf.channel_idle_timeout
            self._active = self._clock.monotonic()
            for member in [member for member in self.members.values() if member.state is State.LIVE]:
                member.conn.probe()
        self._timer = self._clock.later(rest, self._look_idle)

    def _do_stop(self, closing: Closing) -> None:
        self._timer.cancel()
        self._try(Outgoing.publish, self.out)
        self.hooks.shield(self.fanout.flush)
        members = list(self.members.values())
        for member in members:
            member.drop(closing)
        for member in members:
            self._try(self._do_leave, member)
        self.hooks.shield(self._let_go)
        self.done.set()

    def _let_go(self) -> None:
        self._try(self._broker.close, self._key)
        self.fanout.stop()
        self._try(self._on_end, self._record.name)

    def _release_waiters(self) -> None:
        """Nobody waits for a greenlet that has ended."""
        while self.inbox:
            for item in self.inbox.take(BATCH):
                if isinstance(item, Sync):
                    item.reached.set()

    def _try(self, work: Callable[[T], None], on: T) -> None:
        """What fails costs itself only: the channel goes on."""
        try:
            work(on)
        except BrokerUnavailable as exc:
            self._log.error("channel %r: %s", self._record.name, exc)
        except (Exception, gevent.Timeout):
            self._log.exception("channel %r could not do what it was asked", self._record.name)
