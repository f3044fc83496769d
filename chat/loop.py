"""The greenlet of one channel: takes what waits in the inbox, and does it, in one order.

It runs the application's hooks, lists and unlists users, and hands what is to be heard to the broker, in batches.  What
the broker says comes back to `Fanout`, which has a greenlet of its own, so that a hook that blocks delays what is said
here but nothing that is heard.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from logging import Logger
from typing import Final, NamedTuple, TypeAlias, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.event import Event as Flag

from chat.broker import Broker, Place
from chat.clock import Clock
from chat.closing import CHANNEL_CLOSED, INTERNAL, REPLACED, Closing
from chat.config import ServerConf
from chat.crowd import LARGE, LISTED
from chat.errors import (
    BrokerUnavailable,
    ChannelClosed,
    ChatError,
    IdleChannel,
    ServerClosed,
    UserAlreadyConnected,
    UserNotHere,
)
from chat.event import NOTICES, Edited, Joined, Message, Notice, Published, User, Welcome, Whisper
from chat.event import Presence as Folded
from chat.fanout import Again, Arrival, Fanout, Moved
from chat.floor import Floor
from chat.hooks import Hooks
from chat.inbox import Inbox
from chat.member import Member, State, Step
from chat.notices import Notices
from chat.orders import DropMembers, DropUser, Greet, Order
from chat.outgoing import Outgoing, Said
from chat.packed import Packed
from chat.presence import Presence
from chat.reader import Missed, Reader
from chat.registry import ChannelRecord
from chat.restricted import Speech
from chat.roster import Roster

BATCH: Final = 256  # items in one turn at most, so that joins behind them wait a bounded time
OWED: Final = 1.0  # seconds after which it is tried again to write down who left, or is here

T = TypeVar("T")


class Join(NamedTuple):
    """A member wants in; whoever waits for `listed` knows when it is."""

    member: Member
    listed: "AsyncResult[None] | None"
    missed: Missed | None


class Leave(NamedTuple):
    """A member's connection has ended."""

    member: Member


class Lost(NamedTuple):
    """The process of these users has died, and they are listed no more."""

    users: Sequence[User]


class Sync(NamedTuple):
    """Whoever waits for `reached` knows that all before it has been done, or is under way to the log."""

    reached: Flag


class Stop(NamedTuple):
    """The channel ends, behind all that was put before."""

    closing: Closing


class _Restore(NamedTuple):
    """Who is here may have been lost with the log."""


class _Fold(NamedTuple):
    """A folded notice of a large room is due."""


class _Untold(NamedTuple):
    """Who came and who left could not be told."""


class _Idle(NamedTuple):
    """Nothing may have happened for long enough."""


Item: TypeAlias = Said | Join | Leave | Lost | Sync | Stop | _Restore | _Fold | _Untold | _Idle


class _ToBeRead(Exception):
    """What a member has missed is not at hand; nobody was listed."""

    def __init__(self, missed: Missed) -> None:
        self.missed = missed


class ChannelLoop:
    """The inside of a channel, whose outside `channel` is.

    `inbox` is the way in, `done` is set when it has ended; `on_end(name)` is called shortly before.  `on_closed` is called
    in the hub when another process has closed the channel.
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
        on_closed: Callable[[], None],
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
        self._on_closed = on_closed
        self._on_end = on_end
        self.epoch = record.epoch
        self.ended_as: type[ChannelClosed] | type[IdleChannel] | None = None  # what is raised from then on
        self.done = Flag()
        self.members: dict[str, Member] = {}
        self._active = clock.monotonic()
        self._idle_is_due = False
        self.inbox: Inbox[Item] = Inbox(conf.inbox)
        self.floor = Floor(conf.inbox)
        self._roster = Roster(record.key, presence, clock)
        self.fanout = Fanout(record.offset, log, self._roster_for_all)
        self.hooks = Hooks(conf.controller, log)
        self.out = Outgoing(
            record,
            broker,
            self.fanout,
            clock,
            log,
            window=conf.edit_window,
            on_settled=self._settled,
            on_untold=self._greet_later,
        )
        self.reader = Reader(record, broker, self.fanout, self.out, log)
        self._untold = 0  # notices that are gathered, or under way
        self._counted = 0  # users, when it was last known
        self._owes_greeting = False
        self._notices = Notices(
            channel,
            self.hooks,
            clock,
            count=self._count,
            untold=lambda: self._untold,
            fold=lambda: self.inbox.force(_Fold()),
            others_tell=broker.shared,
        )
        try:
            self.epoch, self.fanout.offset = broker.open(record, self)
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
        """The last offset of the log while a hook runs and nothing is under way, otherwise None: it may be growing."""
        return self._broker.last(self._key) if self.hooks.running and not self.out.may_grow else None

    # What the broker says: `chat.broker.Subscriber`

    def heard(self, events: Sequence[Published], process: str = "") -> None:
        """Write it to all members."""
        if not isinstance(events, Packed):
            self._roster.told(events)
        self.fanout.heard(events, process)

    def moved(self, place: Place) -> None:
        """Tell all members, and have them listed again."""
        self.epoch = place.epoch
        self._roster.reset()
        self.fanout.put(Moved(place))
        self.inbox.force(_Restore())

    def told(self, order: Order) -> None:
        """Do it here."""
        if isinstance(order, DropUser):
            members = [member for member in self.members.values() if member.username == order.username]
        elif isinstance(order, DropMembers):
            members = [self.members[id] for id in order.members if id in self.members]
        elif isinstance(order, Greet):
            self._roster.reset()
            self.fanout.put(Again(self.epoch))
            return
        else:
            self._on_closed()
            return
        for member in members:
            member.drop(Closing(order.code, order.reason))

    def flush(self) -> None:
        """Return when what was gathered is published, or given up, and written.  Blocks."""
        self.out.flush()
        self.fanout.flush()

    def _run(self) -> None:
        while not self.done.is_set():
            self._try(ChannelLoop._turn, self)  # a deadline that a hook has left behind may pass anywhere in here
        self._release_waiters()

    def _turn(self) -> None:
        for item in self.inbox.take(BATCH):
            if self.done.is_set():  # Stop need not be the last of its batch
                self._release(item)
            else:
                self._try(self._do, item)
        self.out.publish()
        if self._idle_is_due and not self.done.is_set():
            self._try(ChannelLoop._do_idle, self)
        if self.done.is_set():
            return
        try:
            self.fanout.wait_for_room()
        finally:  # also when a deadline strikes that a hook has left behind
            self._resume()
        if self.inbox:
            gevent.sleep(0)

    def _do(self, item: Item) -> None:
        match item:
            case Said():
                self._do_say(item)
            case Join():
                self._do_join(item)
            case Leave(member):
                self._do_leave(member)
            case Lost(users):
                for user in users:
                    self._say_left(user)
            case Sync(reached):
                self.out.publish()
                reached.set()
            case Stop(closing):
                self._do_stop(closing)
            case _:
                self._do_own(item)

    def _do_own(self, item: _Restore | _Fold | _Untold | _Idle) -> None:
        match item:
            case _Restore():
                self._do_restore()
            case _Untold():
                self._do_greet()
            case _Fold():
                self._notify(self._notices.folded())
            case _Idle():
                self._idle_is_due = True  # once the batch is done, which may be activity

    def _do_say(self, said: Said) -> None:
        self._active = self._clock.monotonic()
        try:
            is_cancelled = not self._may_be_said(said.event)
        except ChatError as exc:
            self._answer(said, exc)
        except BaseException:
            self._answer(said, BrokerUnavailable())
            raise
        else:
            if is_cancelled:
                self._answer(said, 0)
            else:
                self._gather(said)

    def _may_be_said(self, event: Published) -> bool:
        """Let the encoder make the text; False when it cancels it.  Raises: UserNotHere, HookFailed."""
        to = event.to if isinstance(event, Whisper) else ""
        if to and not self._presence.is_listed(self._key, to):
            raise UserNotHere(to, "is not here")
        if not self.hooks.encodes or not isinstance(event, Message | Edited | Whisper):
            return True
        event.text = self.hooks.encode(self._channel, event.date, event.text, event.sender, to)
        event.rendered = True
        return event.text != ""

    def _answer(self, said: Said, fate: int | ChatError) -> None:
        """Of what the broker shall not hear of."""
        if said.member is not None:
            self.floor.leave(said.member)
        self.out.answer(said, fate)

    def _notify(self, notice: Notice | None) -> None:
        if notice is not None:
            self._untold += 1
            self._gather(Said(notice))

    def _gather(self, said: Said) -> None:
        self.inbox.hold()
        self.out.add(said)

    def _settled(self, settled: Sequence[Said]) -> None:
        """Their fate is known, so others may speak."""
        for said in settled:
            if said.member is not None:
                self.floor.leave(said.member)
            elif isinstance(said.event, NOTICES):
                self._untold -= 1
        self.inbox.let_go(len(settled))
        self._resume()

    def _resume(self) -> None:
        if not self.inbox.full:
            self.floor.resume()

    def _do_join(self, join: Join) -> None:
        member, listed, missed = join
        try:
            self.out.publish()  # what was said before it came is not for its ears, where the log is not waited for
            before = self.hooks.shield(lambda: self._list(member, missed))
        except _ToBeRead as exc:
            self.reader.read(exc.missed, lambda: self.inbox.force(join))
            return
        except Exception as exc:
            is_replaced = isinstance(exc, UserAlreadyConnected)
            if listed is None:
                member.drop(REPLACED if is_replaced else INTERNAL)
            else:
                listed.set_exception(exc)
            if is_replaced:
                return
            raise
        if listed is not None:
            listed.set(None)
        if before is None:
            self._notify(self._notices.joined(member.user))
            self._notices.call_connected(member.username)
        elif before != member.user:
            self._notify(self._notices.renamed(before, member.user))

    def _list(self, member: Member, missed: Missed | None) -> User | None:
        """Let the member hear all from here on; return how its user was listed until now, None if not.

        Raises: _ToBeRead, UserAlreadyConnected.
        """
        if member.state is not State.JOINING:  # it has gone by now
            return member.user
        if missed is not None and not self.reader.complete(missed):
            raise _ToBeRead(missed)
        key = self._key
        try:
            before = self._presence.confirm(key, member.user, member.id)
        except KeyError:  # another process has given the name to somebody else since it was reserved
            raise UserAlreadyConnected(member.username, self._record.name) from None
        self._active = self._clock.monotonic()
        users, count = self._roster.read()
        recovered = (
            missed is not None and self.reader.complete(missed) and not missed.is_lost and missed.epoch == self.epoch
        )  # nothing yields from here on
        welcome = Welcome(member.user, users, count, self.epoch, 0, recovered)
        self.fanout.put(Arrival(member, welcome, missed.events if missed is not None and recovered else ()))
        if self._conf.debug_log:
            self._log.debug("user %r is in channel %r", member.username, self._record.name)
        return before

    def _roster_for_all(self) -> tuple[tuple[User, ...], int]:
        try:
            return self._roster.read()
        except ChatError:
            self._clock.later(OWED, lambda: self.told(Greet()))
            raise

    def _count(self) -> int:
        """How many users are here, as far as is known: whoever came or left has to be told."""
        with suppress(BrokerUnavailable):
            self._counted = self._presence.count(self._key)
        return self._counted

    def _do_restore(self) -> None:
        """Whoever was lost is told of anew: others may have asked who is here before we said so."""
        here = [member for member in self.members.values() if member.state is State.LIVE]
        try:
            lost = self._presence.restore(self._key, [(member.user, member.id) for member in here])
        except BrokerUnavailable:
            self._later(_Restore())
            return
        if len(lost) > LARGE:
            self._notify(Folded(tuple(lost[:LISTED]), (), self._presence.count(self._key), self._clock.now()))
            return
        for user in lost:
            self._notify(Joined(user, self._clock.now()))

    def _greet_later(self) -> None:
        if not self._owes_greeting:
            self._owes_greeting = True
            self._later(_Untold())

    def _do_greet(self) -> None:
        """What could not be told is true all the same, so all members, in all processes, are told who is here."""
        self._owes_greeting = False
        try:
            self._broker.tell(self._key, Greet())
        except BrokerUnavailable:
            self._greet_later()

    def _later(self, item: Item) -> None:
        """Try again what could not be done."""
        self._clock.later(OWED, lambda: self.inbox.force(item))

    def _do_leave(self, member: Member) -> None:
        if member.state is not State.LEAVING:  # it was announced already
            return
        try:
            user = self.forget(member)
        except BrokerUnavailable:
            if self.ended:  # and who is here is known no more, or by a lease that ends
                raise
            self._later(Leave(member))
            return
        if user:
            self._active = self._clock.monotonic()
            self._say_left(user)

    def _say_left(self, user: User) -> None:
        if not self.ended or self._outlives:
            self._notify(self._notices.left(user))
        self._notices.call_disconnected(user.username)

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
        if rest <= 0 and not self.members and not self.inbox and not self.out and not self.ended:
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
        self.hooks.shield(self.flush)
        members = list(self.members.values())
        for member in members:
            member.drop(closing)
        for member in members:
            self._try(self._do_leave, member)
        if self._outlives:
            self.hooks.shield(self._say_goodbye)
        self.hooks.shield(self._let_go)
        self.done.set()

    def _say_goodbye(self) -> None:
        """Others go on, and are to know who has left."""
        self.out.flush()
        self._notify(self._notices.folded())
        self.out.flush()

    @property
    def _outlives(self) -> bool:
        """Whether the channel goes on in other processes, though it ends here."""
        return self._broker.shared and self.ended_as is ServerClosed

    def _let_go(self) -> None:
        self.reader.stop()
        self._try(lambda loop: self._broker.close(self._key, loop), self)
        self.fanout.stop()
        self._try(self._on_end, self._record.name)

    def _release_waiters(self) -> None:
        """Nobody waits for a greenlet that has ended."""
        while self.inbox:
            for item in self.inbox.take(BATCH):
                self._release(item)

    def _release(self, item: Item) -> None:
        match item:
            case Sync(reached):
                reached.set()
            case Join(listed=AsyncResult() as listed):  # what it had missed was still being read when it was disconnected
                listed.set(None)

    def _try(self, work: Callable[[T], None], on: T) -> None:
        """What fails costs itself only: the channel goes on."""
        try:
            work(on)
        except BrokerUnavailable as exc:
            self.out.complain(exc)
        except (Exception, gevent.Timeout):
            self._log.exception("channel %r could not do what it was asked", self._record.name)
