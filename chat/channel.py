"""One channel as everybody else sees it: what can be said and asked, and who may come in.

Everything goes through the inbox of the channel's greenlet, `ChannelLoop`, in one order: messages, joins and leaves.
"""

from collections.abc import Callable, Sequence
from logging import Logger
from time import monotonic
from typing import Final, NamedTuple

import gevent
from gevent.event import AsyncResult
from gevent.event import Event as Flag

from chat.archive import Archive
from chat.broker import Broker
from chat.clock import Clock
from chat.closing import CHANNEL_CLOSED, KICKED, REPLACED, Closing
from chat.config import ServerConf
from chat.conn import Conn, as_direct
from chat.errors import ChannelBusy, ChannelClosed, IdleChannel, ServerClosed, UserNotHere
from chat.event import Deleted, Edited, Message, Past, User, Whisper
from chat.loop import ChannelLoop, Join, Leave, Lost, Stop, Sync
from chat.member import EVERYBODY, Member, State, Step
from chat.names import check_text, check_username
from chat.orders import DropMembers, DropUser, End
from chat.outgoing import Said
from chat.presence import Presence
from chat.reader import Missed
from chat.reception import Reception
from chat.registry import ChannelRecord
from chat.requests import PAGE, Request
from chat.tokens import Grant

PATIENCE: Final = 5.0  # seconds that a caller waits for space, or for the channel's end
LOOK: Final = 0.02  # seconds between two looks at what other processes do
HOOK_ROOM: Final = 10  # times the bound that calls may reach while a hook runs, because then none of them may wait


class Keeper(NamedTuple):
    """What a channel tells its server."""

    new_id: Callable[[], str]
    """Makes the id of another member, unique over all processes."""
    lasting: bool
    """An idle channel is unloaded, and comes back; otherwise that is its end."""

    on_close: Callable[["ChatChannel"], None]
    """It was closed: its name must be free when this returns.  May block."""
    on_closed_elsewhere: Callable[["ChatChannel"], None]
    """Another process has closed it, and its name is free.  Never yields."""
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
        archive: Archive | None,
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
        self._keeper = keeper
        self._is_closing = False
        self._loop = ChannelLoop(
            self,
            record,
            conf=conf,
            broker=broker,
            presence=presence,
            clock=clock,
            log=log,
            on_closed=self._closed_elsewhere,
            on_end=lambda _: keeper.on_end(self),
        )
        self._reception = Reception(self._loop, record, conf=conf, archive=archive, clock=clock)

    # What applications call

    @property
    def name(self) -> str:
        """The channel's name, in NFC."""
        return self._record.name

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, or was unloaded: nothing can be said or joined by this object any more."""
        return self._loop.ended_as is not None

    @property
    def epoch(self) -> str:
        """What the offsets of this channel's log belong to; an opaque string."""
        return self._loop.epoch

    @property
    def log(self) -> str:
        """By what name the archive knows this channel, for ever."""
        return self._record.log

    @property
    def offset(self) -> int:
        """The offset of the last event that was said here, 0 when there is none."""
        return self._loop.fanout.offset

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

    def edit_message(self, target: int, text: str, sender: str = "") -> None:
        """Give the message at offset `target` another text, as `sender`, "" for the system; nobody's permission is asked.

        Return once it is in the log, in a hook at once, and then what goes wrong is logged.
        Raises also: InvalidUser, NoSuchMessage, MessageDeleted, NotStorable, HookFailed; BrokerUnavailable: it may be said
        again.
        """
        self._change(Edited(target, _sender(sender), self._text(text), self._clock.now()))

    def delete_message(self, target: int, sender: str = "") -> None:
        """Take the message at offset `target` back, as `sender`.  The same as `edit_message` in all else."""
        self._change(Deleted(target, _sender(sender), self._clock.now()))

    def history(self, before: int | None = None, after: int | None = None, limit: int = PAGE) -> tuple[list[Past], bool]:
        """The last `limit` messages before offset `before`, or the first after `after`; with neither, the last.  Blocks.

        They come as they now are, the oldest first, and with them whether there are more in that direction.
        Raises: ChannelClosed, IdleChannel, BrokerUnavailable.
        """
        self._check_open()
        return self._broker.history(self._record.key, before=before, after=after, limit=limit)

    def mark_read(self, username: str, offset: int) -> None:
        """Note that a user has read everything up to `offset`.  Raises: InvalidUser, ChannelClosed, IdleChannel."""
        self._check_open()
        self._reception.mark(check_username(username), offset)

    def get_users(self) -> list[str]:
        """Who is here, sorted."""
        return [user.username for user in self._presence.users(self._record.key)]

    def count(self) -> int:
        """How many users are here."""
        return self._presence.count(self._record.key)

    def remove_user(self, username: str) -> None:
        """End all connections of a user, who may come back; return once the user is not listed any more.

        Raises: InvalidUser, UserNotHere, ChannelClosed, IdleChannel, BrokerUnavailable.
        """
        self._check_open()
        username = check_username(username)
        if not self._presence.is_listed(self._record.key, username):
            raise UserNotHere(username, "is not in the channel")
        self._broker.tell(self._record.key, DropUser(username, *KICKED))
        reached = Flag()
        self._loop.inbox.force(Sync(reached))
        self._wait_outside_hooks(reached)
        if self._broker.shared and self._loop.may_wait:
            self._await_gone(username)

    def connect_user(self, username: str, conn: Conn) -> None:
        """Let a user in over `conn`, without a token; return once the user is listed.

        Raises: InvalidUser, UserAlreadyConnected, ChannelClosed, IdleChannel; then `conn` is left open.
        """
        self.join(Grant(check_username(username), self.name), conn)

    def connect_user_and_wait(self, username: str, conn: Conn) -> None:
        """The same, and return when the connection has ended."""
        member = self.join(Grant(check_username(username), self.name), conn)
        if not self._loop.is_current:  # in a hook that would be for ever: it lets nobody in
            member.wait()

    def close(self) -> None:
        """End the channel: what was said before is delivered, then everybody is disconnected; the name is free at once.

        Returns when that is done, or after 5 seconds, while it goes on; in a hook at once.  Idempotent.
        Raises: BrokerUnavailable: it is open as before, here at least; IdleChannel when it was only unloaded, so that
        another object stands for it now.
        """
        if self._loop.ended_as is IdleChannel and self._keeper.lasting:
            raise IdleChannel(self.name)
        if self._loop.ended_as is None and not self._is_closing:
            self._is_closing = True
            try:
                if self._broker.shared and self._loop.may_wait:  # from then on the log takes nothing more
                    self.flush()
                self._broker.tell(self._record.key, End())
            except BaseException:
                self._is_closing = False
                raise
            self._loop.ended_as = ChannelClosed
            try:
                self._keeper.on_close(self)
            finally:
                self._loop.inbox.force(Stop(CHANNEL_CLOSED))
        self.wait_ended()

    # What the server calls

    @property
    def held_at(self) -> int | None:
        """The last offset of the log while a hook holds the channel up, so that it grows no further; otherwise None."""
        return self._loop.held_at

    @property
    def may_grow(self) -> bool:
        """Whether its log may be growing still, because what was under way was given up."""
        return self._loop.out.may_grow

    def wait_ended(self) -> None:
        """Return when its end is done, or after 5 seconds; in a hook at once.  Blocks."""
        self._wait_outside_hooks(self._loop.done)

    def reserve(self, grant: Grant, rights: frozenset[str] = EVERYBODY) -> Member:
        """Take the name for a connection that is still to come: `Member.join` or `Member.cancel` must follow.  Blocks.

        Raises: UserAlreadyConnected, ChannelClosed, IdleChannel.
        """
        self._check_open()
        member = Member(self._keeper.new_id(), grant, self, rights)
        self._loop.members[member.id] = member  # before anything may yield: a channel with members is not unloaded
        try:
            evicted = self._presence.reserve(self._record.key, grant.username, member.id, self._conf.duplicate_user)
        except BaseException:
            self._loop.members.pop(member.id, None)
            raise
        if evicted:
            self._broker.tell(self._record.key, DropMembers(tuple(evicted), *REPLACED))
        self._check_open()
        return member

    def join(self, grant: Grant, conn: Conn) -> Member:
        """Let a user in, and return once the user is listed.  Raises: as `connect_user`."""
        direct = as_direct(conn, self._conf.write_buf)
        member = self.reserve(grant)
        member.join(direct, wait=True)
        return member

    def stop(self, closing: Closing) -> Flag:
        """Begin to end with the server, telling the members `closing`; return what to wait for."""
        if self._loop.ended_as is None:
            self._loop.ended_as = ServerClosed
            self._loop.inbox.force(Stop(closing))
        if not self._loop.is_current:
            return self._loop.done
        nothing = Flag()  # a hook cannot wait for itself
        nothing.set()
        return nothing

    def see_off(self, users: Sequence[User]) -> None:
        """Say that these have left, whose process has died.  Never yields."""
        if users and self._loop.ended_as is None:
            self._loop.inbox.force(Lost(users))

    def drop_all(self, closing: Closing) -> None:
        """End all connections.  Never yields."""
        for member in list(self._loop.members.values()):
            member.drop(closing)

    def give_up(self) -> None:
        """Refuse what is not in the log by now, and whatever is still said.  Never yields; idempotent."""
        self._loop.out.give_up()

    def await_written(self) -> None:
        """Return when all that is to be told by now is written.  Blocks."""
        self._loop.fanout.flush()

    def flush(self) -> None:
        """Return when all that was said is published and written.  Blocks."""
        if self._loop.done.is_set():
            return
        reached = Flag()
        self._loop.inbox.force(Sync(reached))
        reached.wait()
        self._loop.flush()

    # What members call: `chat.member.Home`

    def receive(self, member: Member, request: Request) -> None:
        """Have done what a member asks for, or refuse it.  Never yields: this runs in the hub."""
        self._reception.receive(member, request)

    def enter(self, member: Member, *, wait: bool) -> None:
        """Queue a join."""
        if self._loop.ended_as is not None:
            member.step(Step.DROPPED)
            self._loop.forget(member)
            raise self._loop.ended_as(self.name)
        listed: AsyncResult[None] | None = AsyncResult() if wait and not self._loop.hooks.running else None
        resume = member.resume
        may_resume = resume is not None and resume.epoch == self._loop.epoch and "history" in member.rights
        missed = Missed(resume) if resume is not None and may_resume else None
        self._loop.inbox.force(Join(member, listed, missed))
        if listed is None:
            return
        try:
            listed.get()
        except BaseException:  # it could not be listed, or the caller's patience is at an end
            member.give_up()
            raise

    def lost(self, member: Member) -> None:
        """Queue a leave; the name is free at once."""
        self._presence.abandon(self._record.key, member.username, member.id)
        if member.state is State.GONE:  # it was only reserved
            self._loop.members.pop(member.id, None)
            return
        self._loop.fanout.remove(member)
        self._loop.inbox.force(Leave(member))

    # The ways in

    def _text(self, msg: str) -> str:
        return check_text(msg, self._conf.max_message)

    def _whisper(self, whisper: Whisper) -> None:
        self._check_open()
        if not self._presence.is_listed(self._record.key, whisper.to):
            raise UserNotHere(whisper.to, "is not in the channel")
        self._say(whisper)

    def _change(self, event: Edited | Deleted) -> None:
        """Say it, and wait for what comes of it, where that may be waited for."""
        done: AsyncResult[int] | None = AsyncResult() if self._loop.may_wait else None
        self._say(event, done)
        if done is not None:
            done.get()

    def _say(self, event: Message | Edited | Deleted | Whisper, done: "AsyncResult[int] | None" = None) -> None:
        self._check_open()
        item = Said(event, done=done)
        if self._loop.hooks.running and self._loop.inbox.load < HOOK_ROOM * self._conf.inbox:
            self._loop.inbox.force(item)
        elif self._loop.hooks.running or not self._loop.inbox.wait_for_space(PATIENCE):
            raise ChannelBusy(self.name)
        else:
            self._check_open()  # it may have ended meanwhile
            self._loop.inbox.force(item)

    def _check_open(self) -> None:
        if self._loop.ended_as is not None:
            raise self._loop.ended_as(self.name)

    def _closed_elsewhere(self) -> None:
        if self._loop.ended_as is None and not self._is_closing:
            self._loop.ended_as = ChannelClosed
            self._keeper.on_closed_elsewhere(self)
            self._loop.inbox.force(Stop(CHANNEL_CLOSED))

    def _await_gone(self, username: str) -> None:
        """Other processes need a moment to see their connections of that user off."""
        until = monotonic() + PATIENCE
        while self._presence.is_listed(self._record.key, username) and monotonic() < until:
            gevent.sleep(LOOK)

    def _wait_outside_hooks(self, flag: Flag) -> None:
        if self._loop.may_wait:
            flag.wait(PATIENCE)


def _sender(name: str) -> str:
    """Raises: InvalidUser."""
    return check_username(name) if name else ""
