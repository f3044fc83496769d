"""One channel: what is said, who comes and who goes, in one order.

Everything passes through the inbox, and one greenlet takes it from there, in batches: it runs the application's hooks,
lists and unlists users, and hands what is to be heard to the broker.  What the broker says comes back to `Fanout`, which
has a greenlet of its own, so that a hook that blocks delays what is said here but nothing that is heard.
"""

from collections.abc import Callable
from itertools import count
from logging import Logger
from typing import Final, NamedTuple, TypeAlias, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.event import Event as Flag

from chat.broker import Broker
from chat.clock import Clock
from chat.closing import CHANNEL_CLOSED, INTERNAL, KICKED, REPLACED, Closing
from chat.config import ServerConf
from chat.conn import Conn, as_direct
from chat.crowd import LISTED
from chat.errors import (
    BrokerUnavailable,
    ChannelBusy,
    ChannelClosed,
    ChatError,
    Forbidden,
    IdleChannel,
    ServerClosed,
    UserNotHere,
)
from chat.event import Message, Welcome, Whisper
from chat.fanout import Arrival, Fanout
from chat.hooks import Hooks
from chat.inbox import Inbox
from chat.member import EVERYBODY, Member, State, Step
from chat.names import check_text, check_username
from chat.notices import Notices
from chat.outgoing import Outgoing
from chat.presence import Presence
from chat.registry import ChannelRecord
from chat.tokens import Grant
from chat.wire import Request

BATCH: Final = 256  # items in one turn at most, so that joins behind them wait a bounded time
PATIENCE: Final = 5.0  # seconds that a caller waits for space, or for the channel's end
HOOK_ROOM: Final = 10  # times the bound that calls may reach while a hook runs, because then none of them may wait
SHARE: Final = 32  # messages of one member in the inbox before that member is paused: a flood fills only its own share

T = TypeVar("T")

_ids: Final = count(1)


class _Said(NamedTuple):
    event: Message | Whisper
    member: Member | None


class _Join(NamedTuple):
    member: Member
    listed: "AsyncResult[None] | None"


class _Leave(NamedTuple):
    member: Member


class _Sync(NamedTuple):
    """Whoever waits for `reached` knows that all before it has been published."""

    reached: Flag


class _Stop(NamedTuple):
    closing: Closing


class _Fold(NamedTuple):
    """A folded notice of a large room is due."""


class _Idle(NamedTuple):
    """Nothing may have happened for long enough."""


_Item: TypeAlias = _Said | _Join | _Leave | _Sync | _Stop | _Fold | _Idle


class Keeper(NamedTuple):
    """What a channel tells its server."""

    on_close: Callable[["ChatChannel"], None]
    """It was closed: its name must be free when this returns.  May block."""
    on_end: Callable[["ChatChannel"], None]
    """It has ended, for whatever reason, and `offset` is final.  May block."""


class ChatChannel:
    """A channel of a `ChatServer`, which makes it.

    All that speaks raises ChannelClosed, or IdleChannel, once the channel has ended, BadText and MessageTooBig for what
    cannot be said, and ChannelBusy when the channel has had no room for 5 seconds; then nothing was said.
    """

    def __init__(
        self,
        record: ChannelRecord,
        *,
        conf: ServerConf,
        broker: Broker,
        presence: Presence,
        clock: Clock,
        log: Logger,
        keeper: Keeper,
    ) -> None:
        self._record = record
        self._conf = conf
        self._broker = broker
        self._presence = presence
        self._clock = clock
        self._log = log
        self._keeper = keeper
        self._ended_as: type[ChannelClosed] | type[IdleChannel] | None = None
        self._done = Flag()
        self._members: dict[str, Member] = {}
        self._paused: list[Member] = []
        self._active = clock.monotonic()
        self._idle_is_due = False
        self._inbox: Inbox[_Item] = Inbox(conf.inbox)
        self._fanout = Fanout(record.offset, log)
        self._out = Outgoing(record.key, broker, self._fanout, clock)
        self._hooks = Hooks(conf.controller, log)
        self._notices = Notices(self, self._hooks, clock, self.count, lambda: self._inbox.force(_Fold()))
        try:
            broker.open(record, self._fanout.heard)
        except BaseException:
            self._fanout.stop()
            raise
        self._timer = clock.later(conf.channel_idle_timeout, self._look_idle)
        self._greenlet = gevent.spawn(self._run)

    # What applications call

    @property
    def name(self) -> str:
        """The channel's name, in NFC."""
        return self._record.name

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, or was unloaded: nothing can be said or joined by this object any more."""
        return self._ended_as is not None

    @property
    def epoch(self) -> str:
        """What the offsets of this channel's log belong to; an opaque string."""
        return self._record.epoch

    @property
    def offset(self) -> int:
        """The offset of the last event that was said here, 0 when there is none."""
        return self._fanout.offset

    def new_broadcast(self, msg: str, sender: str) -> None:
        """Say `msg` to everybody, as `sender`, who need not be here.  Raises also: InvalidUser."""
        self._say(Message(check_username(sender), self._text(msg), self._clock.now()))

    def new_system_broadcast(self, msg: str) -> None:
        """Say `msg` to everybody, as the system."""
        self._say(Message("", self._text(msg), self._clock.now()))

    def new_whisper(self, msg: str, sender: str, to: str) -> None:
        """Say `msg` to one user, as `sender`.  Raises also: InvalidUser; UserNotHere when `to` is not in the channel."""
        self._whisper(Whisper(check_username(sender), check_username(to), self._text(msg), self._clock.now()))

    def new_system_whisper(self, msg: str, to: str) -> None:
        """Say `msg` to one user, as the system.  Raises also: InvalidUser; UserNotHere."""
        self._whisper(Whisper("", check_username(to), self._text(msg), self._clock.now()))

    def get_users(self) -> list[str]:
        """Who is here, sorted."""
        return self._presence.users(self._record.key)

    def count(self) -> int:
        """How many users are here."""
        return self._presence.count(self._record.key)

    def remove_user(self, username: str) -> None:
        """End all connections of a user, who may come back; return once the user is not listed any more.

        Raises: InvalidUser, UserNotHere, ChannelClosed, IdleChannel.
        """
        self._check_open()
        username = check_username(username)
        if not self._presence.is_listed(self._record.key, username):
            raise UserNotHere(username, "is not in the channel")
        for member in [member for member in self._members.values() if member.username == username]:
            member.drop(KICKED)
        reached = Flag()
        self._inbox.force(_Sync(reached))
        self._wait_outside_hooks(reached)

    def connect_user(self, username: str, conn: Conn) -> None:
        """Let a user in over `conn`, without a token; return once the user is listed.

        Raises: InvalidUser, UserAlreadyConnected, ChannelClosed, IdleChannel; then `conn` is left open.
        """
        self.join(Grant(check_username(username), self.name), conn)

    def connect_user_and_wait(self, username: str, conn: Conn) -> None:
        """The same, and return when the connection has ended."""
        member = self.join(Grant(check_username(username), self.name), conn)
        if gevent.getcurrent() is not self._greenlet:  # in a hook that would be for ever: it lets nobody in
            member.wait()

    def close(self) -> None:
        """End the channel: what was said before is delivered, then everybody is disconnected; the name is free at once.

        Returns when that is done, or after 5 seconds, while it goes on; in a hook at once.  Idempotent.
        """
        if self._ended_as is None:
            self._ended_as = ChannelClosed
            try:
                self._keeper.on_close(self)
            finally:
                self._inbox.force(_Stop(CHANNEL_CLOSED))
        self._wait_outside_hooks(self._done)

    # What the server calls

    def reserve(self, grant: Grant, rights: frozenset[str] = EVERYBODY) -> Member:
        """Take the name for a connection that is still to come: `Member.join` or `Member.cancel` must follow.  Blocks.

        Raises: UserAlreadyConnected, ChannelClosed, IdleChannel.
        """
        self._check_open()
        member = Member(str(next(_ids)), grant, self, rights)
        self._members[member.id] = member  # before anything may yield: a channel with members is not unloaded
        try:
            evicted = self._presence.reserve(self._record.key, grant.username, member.id, self._conf.duplicate_user)
        except BaseException:
            self._members.pop(member.id, None)
            raise
        for loser in [self._members[id] for id in evicted if id in self._members]:
            loser.drop(REPLACED)
        self._check_open()
        return member

    def join(self, grant: Grant, conn: Conn) -> Member:
        """Let a user in, and return once the user is listed.  Raises: as `connect_user`."""
        direct = as_direct(conn, self._conf.write_buf)
        member = self.reserve(grant)
        member.join(direct, wait=True)
        return member

    def stop(self, closing: Closing) -> Flag:
        """Begin to end with the server, telling the members `closing`; return what is set when it is done."""
        if self._ended_as is None:
            self._ended_as = ServerClosed
            self._inbox.force(_Stop(closing))
        return self._done

    def flush(self) -> None:
        """Return when all that was said is published and written.  Blocks."""
        if self._done.is_set():
            return
        reached = Flag()
        self._inbox.force(_Sync(reached))
        reached.wait()
        self._fanout.flush()

    # What members call: `chat.member.Home`

    def receive(self, member: Member, request: Request) -> None:
        """Queue what a member says, or refuse it.  Never yields: this runs in the hub."""
        try:
            event = self._event(member, request)
        except ChatError as exc:
            self._out.answer(member, request.id or "", exc)
            return
        member.queued += 1
        self._inbox.force(_Said(event, member))
        if member.queued >= SHARE or self._inbox.full:
            member.conn.pause()
            self._paused.append(member)

    def enter(self, member: Member, *, wait: bool) -> None:
        """Queue a join."""
        if self._ended_as is not None:
            member.step(Step.DROPPED)
            self._forget(member)
            raise self._ended_as(self.name)
        listed: AsyncResult[None] | None = AsyncResult() if wait and not self._hooks.running else None
        self._inbox.force(_Join(member, listed))
        if listed is not None:
            listed.get()

    def lost(self, member: Member) -> None:
        """Queue a leave; the name is free at once."""
        self._presence.abandon(self._record.key, member.username, member.id)
        if member.state is State.GONE:  # it was only reserved
            self._members.pop(member.id, None)
            return
        self._fanout.remove(member)
        self._inbox.force(_Leave(member))

    # The ways in

    def _text(self, msg: str) -> str:
        return check_text(msg, self._conf.max_message)

    def _event(self, member: Member, request: Request) -> Message | Whisper:
        text, now, id = self._text(request.text), self._clock.now(), request.id or ""
        if ("publish" if request.to is None else "whisper") not in member.rights:
            raise Forbidden
        if request.to is None:
            return Message(member.username, text, now, id)
        return Whisper(member.username, check_username(request.to), text, now, id)

    def _whisper(self, whisper: Whisper) -> None:
        self._check_open()
        if not self._presence.is_listed(self._record.key, whisper.to):
            raise UserNotHere(whisper.to, "is not in the channel")
        self._say(whisper)

    def _say(self, event: Message | Whisper) -> None:
        self._check_open()
        item = _Said(event, None)
        if self._hooks.running and len(self._inbox) < HOOK_ROOM * self._conf.inbox:
            self._inbox.force(item)
        elif self._hooks.running or not self._inbox.wait_for_space(PATIENCE):
            raise ChannelBusy(self.name)
        else:
            self._check_open()  # it may have ended meanwhile
            self._inbox.force(item)

    def _check_open(self) -> None:
        if self._ended_as is not None:
            raise self._ended_as(self.name)

    def _wait_outside_hooks(self, flag: Flag) -> None:
        if not self._hooks.running and gevent.getcurrent() is not self._greenlet:
            flag.wait(PATIENCE)

    # The channel's greenlet

    def _run(self) -> None:
        while not self._done.is_set():
            self._try(ChatChannel._turn, self)  # a deadline that a hook has left behind may pass anywhere in here
        self._release_waiters()

    def _turn(self) -> None:
        for item in self._inbox.take(BATCH):
            if not self._done.is_set() or isinstance(item, _Sync):  # _Stop need not be the last of its batch
                self._try(self._do, item)
        self._try(Outgoing.publish, self._out)
        if self._idle_is_due and not self._done.is_set():
            self._try(ChatChannel._do_idle, self)
        if self._done.is_set():
            return
        self._fanout.wait_for_room()
        self._resume()
        if self._inbox:
            gevent.sleep(0)

    def _do(self, item: _Item) -> None:
        match item:
            case _Said(event, member):
                self._do_say(event, member)
            case _Join(member, listed):
                self._do_join(member, listed)
            case _Leave(member):
                self._do_leave(member)
            case _Sync(reached):
                self._try(Outgoing.publish, self._out)
                reached.set()
            case _Stop(closing):
                self._do_stop(closing)
            case _Fold():
                self._out.add(self._notices.folded())
            case _Idle():
                self._idle_is_due = True  # once the batch is done, which may be activity

    def _do_say(self, event: Message | Whisper, member: Member | None) -> None:
        if member is not None:
            member.queued -= 1
        self._active = self._clock.monotonic()
        to = event.to if isinstance(event, Whisper) else ""
        try:
            if to and not self._presence.is_listed(self._record.key, to):
                raise UserNotHere(to, "is not here")
            if self._hooks.encodes:
                event.text = self._hooks.encode(self, event.date, event.text, event.sender, to)
                event.rendered = True
        except ChatError as exc:
            self._out.answer(member, event.id, exc)
            return
        if event.rendered and not event.text:  # the encoder cancelled it
            self._out.answer(member, event.id)
        else:
            self._out.add(event, member, event.id)

    def _do_join(self, member: Member, listed: "AsyncResult[None] | None") -> None:
        try:
            first = member.state is State.JOINING and self._list(member)
        except Exception as exc:
            member.drop(INTERNAL)
            if listed is not None:
                listed.set_exception(exc)
            raise
        if listed is not None:
            listed.set(None)
        if first:
            self._out.add(self._notices.joined(member.username))
            self._notices.call_connected(member.username)

    def _list(self, member: Member) -> bool:
        """Let the member hear all from here on; return whether nobody of its name was here."""
        self._try(Outgoing.publish, self._out)  # what was said before it came is not for its ears
        key = self._record.key
        first = self._presence.confirm(key, member.username, member.id)
        self._active = self._clock.monotonic()
        missed = self._missed(member)
        users = tuple(self._presence.users(key, LISTED))
        welcome = Welcome(member.username, users, self.count(), self.epoch, 0, recovered=missed is not None)
        self._fanout.put(Arrival(member, welcome, missed or ()))
        if self._conf.debug_log:
            self._log.debug("user %r is in channel %r", member.username, self.name)
        return first

    def _missed(self, member: Member) -> list[Message] | None:
        """What was said since a returning client stopped; None when that cannot be told, or it does not return."""
        resume = member.resume
        if resume is None or resume.epoch != self.epoch:
            return None
        try:
            found = self._broker.read(self._record.key, resume.offset, resume.limit)
        except BrokerUnavailable as exc:
            self._log.error("channel %r: what %r missed cannot be read: %s", self.name, member.username, exc)
            return None
        return None if found is None else list(found)

    def _do_leave(self, member: Member) -> None:
        if member.state is not State.LEAVING:  # it was announced already
            return
        if self._forget(member):
            self._active = self._clock.monotonic()
            if not self.is_closed:
                self._out.add(self._notices.left(member.username))
            self._notices.call_disconnected(member.username)

    def _forget(self, member: Member) -> bool:
        """Let the member go; return whether its user was listed and is so no more."""
        gone = self._presence.release(self._record.key, member.username, member.id)
        self._members.pop(member.id, None)
        member.step(Step.ANNOUNCED)
        if self._conf.debug_log:
            self._log.debug("a connection of user %r has left channel %r", member.username, self.name)
        return gone

    def _resume(self) -> None:
        if self._paused and not self._inbox.full:
            paused, self._paused = self._paused, []
            for member in paused:
                if member.state is State.LIVE:
                    member.conn.resume()

    # The end

    def _look_idle(self) -> None:
        """A timer calls this in the hub."""
        if not self.is_closed:
            self._inbox.force(_Idle())

    def _do_idle(self) -> None:
        self._idle_is_due = False
        rest = self._active + self._conf.channel_idle_timeout - self._clock.monotonic()
        if rest <= 0 and not self._members and not self._inbox and not self.is_closed:
            self._ended_as = IdleChannel
            self._do_stop(CHANNEL_CLOSED)
            return
        if rest <= 0:
            rest = self._conf.channel_idle_timeout
            self._active = self._clock.monotonic()
            for member in [member for member in self._members.values() if member.state is State.LIVE]:
                member.conn.probe()
        self._timer = self._clock.later(rest, self._look_idle)

    def _do_stop(self, closing: Closing) -> None:
        self._timer.cancel()
        self._try(Outgoing.publish, self._out)
        self._fanout.flush()
        members = list(self._members.values())
        for member in members:
            member.drop(closing)
        for member in members:
            self._try(self._do_leave, member)
        self._try(self._broker.close, self._record.key)
        self._fanout.stop()
        self._try(self._keeper.on_end, self)
        self._done.set()

    def _release_waiters(self) -> None:
        """Nobody waits for a greenlet that has ended."""
        while self._inbox:
            for item in self._inbox.take(BATCH):
                if isinstance(item, _Sync):
                    item.reached.set()

    def _try(self, work: Callable[[T], None], on: T) -> None:
        """What fails costs itself only: the channel goes on."""
        try:
            work(on)
        except BrokerUnavailable as exc:
            self._log.error("channel %r: %s", self.name, exc)
        except (Exception, gevent.Timeout):
            self._log.exception("channel %r could not do what it was asked", self.name)
