"""The server: which channels are loaded, and the way in by token."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from logging import Logger, getLogger
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import gevent
from gevent.lock import RLock

from chat.archive import Archive, Unread
from chat.broker import Broker, MemoryBroker
from chat.burial import Burial
from chat.channel import PATIENCE, ChatChannel, Keeper
from chat.clock import Clock, SystemClock
from chat.closing import SERVER_CLOSED, TAKEN_FOR_DEAD, Closing
from chat.config import ServerConf
from chat.conn import Conn, as_direct
from chat.errors import ChannelClosed, ChatError, IdleChannel, ServerClosed
from chat.member import EVERYBODY, Member
from chat.names import check_channel_name, check_display_name, check_username
from chat.presence import MemoryPresence, Presence
from chat.registry import ChannelRecord, Fate, MemoryRegistry, Registry, key_of
from chat.tokens import Grant, MemoryTokens, Tokens

if TYPE_CHECKING:  # redis-py is there only where it is wanted
    from chat.fleet import Fleet

GOODBYE: Final = 0.5  # seconds of the patience, half of it at most, that are left when a log that hangs is given up
PUT_BACK_WAIT: Final = 1.0  # seconds that held channels have for being put back: one transaction

log: Final = getLogger("chat")

_ids: Final = count(1)


class ChatServer:
    """Channels, and tokens to enter them.

    Everything is in memory unless other backends are given; `fleet` is what those have in common that many processes share.
    As a context manager it closes at the end.  After `close`
    all that uses a channel or a token raises ServerClosed.
    """

    def __init__(
        self,
        conf: ServerConf | None = None,
        *,
        tokens: Tokens | None = None,
        presence: Presence | None = None,
        registry: Registry | None = None,
        broker: Broker | None = None,
        archive: Archive | None = None,
        fleet: "Fleet | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self._conf = conf or ServerConf()
        self._clock = clock or SystemClock()
        self._log: Logger = self._conf.logger or log
        if tokens is None:
            tokens = MemoryTokens(
                deadline=self._conf.token_deadline, per_user=self._conf.tokens_per_user, clock=self._clock
            )
        self._tokens = tokens
        self._presence = MemoryPresence() if presence is None else presence
        self._registry = MemoryRegistry(self._clock) if registry is None else registry
        if broker is None:
            recent, age = self._conf.at_hand
            broker = MemoryBroker(archive, recent=recent, age=age, clock=self._clock)
        self._archive = archive
        self._broker = broker
        self._channels: dict[str, ChatChannel] = {}
        self._closing: set[ChatChannel] = set()  # closed, their names free, but not yet done
        self._loading = RLock()  # at most one greenlet makes channels of records
        self._is_closed = False
        self._sweeping: gevent.Greenlet[[], None] | None = None
        if broker.shared and not self._registry.lasting:
            raise ValueError("registry: channels that several processes share want one that lasts")
        self._fleet = fleet
        self._keeper = Keeper(self._new_id, self._registry.lasting, self._on_close, self._on_closed_elsewhere, self._on_end)
        if fleet is not None:
            burial = Burial(fleet.lease, self._presence, broker, self.get_channel, lambda: self._is_closed)
            fleet.start(burial.bury, self._taken_for_dead, broker.look_round)
        self._clock.later(self._conf.token_cleanup_delay, self._sweep_tokens)
        self._clock.later(self._conf.channel_cleanup_delay, self._sweep_channels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def conf(self) -> ServerConf:
        """The settings, which cannot be changed."""
        return self._conf

    @property
    def is_up(self) -> bool:
        """Whether it can reach the other processes, if there are any."""
        return self._fleet is None or self._fleet.is_up

    @property
    def loaded(self) -> int:
        """How many channels this process has at hand.  Never yields."""
        return len(self._channels)

    def request_token(
        self, username: str, channel: str, *, session: str | None = None, data: dict[str, object] | None = None
    ) -> str:
        """Return 64 hexadecimal digits that let `username` into `channel` once, for `token_deadline` seconds.

        `session` and `data` ride to the member.  `data["name"]`, if it is there, is the display name, and all members of
        the channel see it; the rest of `data` goes to nobody.  Whether the channel exists is asked at connect.
        Raises: InvalidUser, InvalidChannel (for the names), TooManyTokens.
        """
        self._check_open()
        if data is not None and "name" in data:
            data = data | {"name": check_display_name(data["name"])}
        return self._tokens.issue(check_username(username), check_channel_name(channel), session=session, data=data)

    def create_channel(self, name: str, *, created_by: str = "") -> ChatChannel:
        """Make a channel.  Unless somebody joins within `channel_idle_timeout` it ends, or is unloaded.

        Raises: InvalidChannel (for the name), DuplicatedChannel.
        """
        self._check_open()
        name = check_channel_name(name)
        with self._loading:
            self._check_open()
            record = self._registry.create(name, created_by)
            try:
                return self._load(record)
            except BaseException:
                self._registry.close(name)  # so that it can be tried again
                raise

    def get_channel(self, name: str) -> ChatChannel:
        """Return an open channel, loading it if need be.

        Raises: InvalidChannel, IdleChannel; ChannelClosed where it is not done ending after 5 seconds.
        """
        self._check_open()
        name = check_channel_name(name)
        channel = self._channels.get(name)
        if channel is not None and not channel.is_closed:
            return channel
        with self._loading:
            channel = self._channels.get(name)
            if channel is not None and channel.is_closed:  # on its way out: its offset is not written down yet
                channel.wait_ended()
                if self._channels.get(name) is channel:  # two loops of one channel would number its log twice
                    raise ChannelClosed(name)
            elif channel is not None:
                return channel
            self._check_open()
            record = self._take(name)
            try:
                return self._load(record)
            except BaseException:
                self._registry.put_back(name, record.offset)  # so that its log can go on
                raise

    def channels(self) -> list[str]:
        """The names of all open channels, sorted."""
        self._check_open()
        return self._registry.names()

    def counts(self, names: Iterable[str]) -> dict[str, int]:
        """How many users are in each of these channels; 0 where it does not exist.  Blocks.  Raises: BrokerUnavailable."""
        names = list(names)
        if not self._broker.shared:
            return {name: self._channels[name].count() if name in self._channels else 0 for name in names}
        logs = self._registry.logs()
        keys = {name: key_of(name, logs[name]) for name in names if name in logs}
        return dict.fromkeys(names, 0) | dict(zip(keys, self._presence.counts(list(keys.values())), strict=True))

    def unread(self, username: str, names: Iterable[str]) -> dict[str, Unread]:
        """What waits for a user, in those of these channels of which that is known: none without an archive.  Blocks.

        Raises: BrokerUnavailable, DatabaseUnavailable.
        """
        self._check_open()
        if self._archive is None:
            return {}
        logs = self._registry.logs()
        found = {name: logs[name] for name in names if name in logs}
        unread = self._archive.unread(username, list(found.values()))
        return {name: unread[log] for name, log in found.items()}

    def connect(self, token: str, conn: Conn) -> None:
        """Spend `token` and let its user in over `conn`; return once the user is listed.

        Raises: InvalidToken, InvalidChannel, IdleChannel, ChannelClosed, UserAlreadyConnected; then `conn` is left open.
        """
        self._connect(token, conn)

    def connect_and_wait(self, token: str, conn: Conn) -> None:
        """The same, and return when the connection has ended."""
        self._connect(token, conn).wait()

    def close(self) -> None:
        """End everything: what was said is delivered, everybody is disconnected.  Blocks, for some 6 s at most; idempotent.

        Channels of a registry that lasts can be used again by the next server.  What hangs in a backend, or in a hook, goes
        on when the time is up.
        """
        self.stop(SERVER_CLOSED)

    def stop(self, closing: Closing, patience: float = PATIENCE) -> None:
        """The same, telling the members `closing`, and within `patience` seconds.

        Shortly before they are over, what a log that hangs has not taken is refused, so that everybody hears of it.  Of a
        channel that a hook holds up longer is written down how far its log has come, so that it goes on there; that may
        take a second more.
        """
        self._is_closed = True
        until = monotonic() + patience
        if self._sweeping is not None:
            self._sweeping.kill(timeout=min(GOODBYE, patience))
        is_mine = self._loading.acquire(timeout=patience)  # who makes a channel ends it, if that takes any longer
        try:
            endings = {channel: channel.stop(closing) for channel in {*self._channels.values(), *self._closing}}
            goodbye = min(GOODBYE, patience / 2)
            gevent.wait(list(endings.values()), timeout=max(until - goodbye - monotonic(), 0))
            for channel in [channel for channel, done in endings.items() if not done.is_set()]:
                channel.give_up()
            gevent.wait(list(endings.values()), timeout=max(until - monotonic(), 0))
            if self._registry.lasting:
                held = [channel for channel, done in endings.items() if not done.is_set() and channel not in self._closing]
                gevent.joinall([gevent.spawn(self._put_back_held, channel) for channel in held], timeout=PUT_BACK_WAIT)
        finally:
            if is_mine:
                self._loading.release()
            if self._fleet is not None:
                self._fleet.stop()

    # In two steps, for whoever has to answer before there is a connection

    def redeem(self, token: str) -> Grant:
        """Spend `token`.  Blocks.  Raises: InvalidToken."""
        self._check_open()
        return self._tokens.redeem(token)

    def reserve(self, grant: Grant, rights: frozenset[str] = EVERYBODY) -> Member:
        """Take the name in the channel; `Member.join` or `Member.cancel` must follow.  Blocks.

        Raises: InvalidChannel, IdleChannel, ChannelClosed, UserAlreadyConnected.
        """
        try:
            return self.get_channel(grant.channel).reserve(grant, rights)
        except IdleChannel:  # it was unloaded between the two calls
            return self.get_channel(grant.channel).reserve(grant, rights)

    def give_up(self) -> None:
        """Refuse what is not in the log by now, and whatever is still said; return once who waits is told.  Blocks."""
        channels = list(self._channels.values())
        for channel in channels:
            channel.give_up()
        for channel in channels:
            channel.await_written()

    def flush(self) -> None:
        """Return when all that was said is published and written.  Blocks."""
        for channel in list(self._channels.values()):
            if not channel.is_closed:
                channel.flush()

    def _connect(self, token: str, conn: Conn) -> Member:
        direct = as_direct(conn, self._conf.write_buf)
        member = self.reserve(self.redeem(token))
        member.join(direct, wait=True)
        return member

    def _check_open(self) -> None:
        if self._is_closed:
            raise ServerClosed

    def _take(self, name: str) -> ChannelRecord:
        """Take a channel where its log goes on, under a new epoch if nobody can tell that it is whole.

        When this fails the channel stays taken, so that its fate is not taken for a better one.
        """
        record = self._registry.take(name)
        if self._broker.shared:
            return record
        if self._archive is None:
            return record if record.fate is Fate.PUT_BACK else self._registry.renew(name, 0)
        last = max(record.offset, self._archive.last(record.log))
        return self._registry.renew(name, last) if record.fate is Fate.MACHINE_DIED else replace(record, offset=last)

    def _load(self, record: ChannelRecord) -> ChatChannel:
        channel = ChatChannel(
            record,
            conf=self._conf,
            broker=self._broker,
            archive=self._archive,
            presence=self._presence,
            clock=self._clock,
            log=self._log,
            keeper=self._keeper,
        )
        self._channels[record.name] = channel
        if self._is_closed:  # `stop` has not waited for a registry or a broker that hung
            channel.stop(SERVER_CLOSED)
        return channel

    def _on_close(self, channel: ChatChannel) -> None:
        if self._channels.get(channel.name) is not channel:
            return
        self._closing.add(channel)
        try:
            self._registry.close(channel.name, log=channel.log)
        except BaseException:  # then it ends as one that is unloaded, and nobody loads it before
            self._closing.discard(channel)
            raise
        if self._channels.get(channel.name) is channel:
            del self._channels[channel.name]

    def _on_closed_elsewhere(self, channel: ChatChannel) -> None:
        if self._channels.get(channel.name) is channel:
            self._closing.add(channel)
            del self._channels[channel.name]

    def _on_end(self, channel: ChatChannel) -> None:
        """Of a closed channel all is done already; another one was unloaded, or ends for lack of users."""
        self._closing.discard(channel)
        if self._channels.get(channel.name) is not channel:
            return
        if self._registry.lasting and not channel.may_grow:  # else it is found as one whose process died
            self._registry.put_back(channel.name, channel.offset)
        elif not self._registry.lasting:
            self._registry.close(channel.name, idle=True)
        del self._channels[channel.name]

    # Among other processes

    def _new_id(self) -> str:
        return f"{self._fleet.lease.process}.{next(_ids)}" if self._fleet is not None else str(next(_ids))

    def _taken_for_dead(self) -> None:
        for channel in {*self._channels.values(), *self._closing}:
            channel.drop_all(TAKEN_FOR_DEAD)

    def _put_back_held(self, channel: ChatChannel) -> None:
        offset = channel.held_at
        if offset is None:
            return
        try:
            self._registry.put_back(channel.name, offset)
        except ChatError as exc:
            self._log.error("channel %r: how far it has come cannot be written down: %s", channel.name, exc)

    def _sweep_tokens(self) -> None:
        """A timer calls this in the hub."""
        if not self._is_closed:
            gevent.spawn(self._tokens.sweep)
            self._clock.later(self._conf.token_cleanup_delay, self._sweep_tokens)

    def _sweep_channels(self) -> None:
        """A timer calls this in the hub."""
        if not self._is_closed:
            if self._sweeping is None or self._sweeping.ready():
                self._sweeping = gevent.spawn(self._forget)
            self._clock.later(self._conf.channel_cleanup_delay, self._sweep_channels)

    def _forget(self) -> None:
        """Forget what ended long enough ago, and what is too old to be kept."""
        conf = self._conf
        try:
            if self._archive is None:
                self._registry.sweep(conf.channel_cleanup_delay)
                return
            self._forget_ended(self._archive)
            if conf.retention_age or conf.retention_count:
                self._archive.trim(conf.retention_age, conf.retention_count)
        except ChatError as exc:
            self._log.warning("what is too old will be forgotten later: %s", exc)

    def _forget_ended(self, archive: Archive) -> None:
        """The registry forgets last, for nobody else knows the names of logs without a channel."""
        age = self._conf.channel_cleanup_delay
        ended = frozenset(self._registry.ended(age))
        if ended:
            archive.forget(sorted(ended))
        if late := [log for log in self._registry.sweep(age) if log not in ended]:  # come of age in between
            archive.forget(late)
