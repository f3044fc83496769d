"""Lets sockets in and out: counts them, makes a `Peer` of each, watches over them, and sees them all off at the end.

What is counted and watched over are sockets; what is allowed is asked for each of the channels that they are in.
"""

import logging
import random
from collections.abc import Callable
from typing import Final, Protocol

import gevent

from chat.clock import Clock, SystemClock
from chat.closing import LOGGED_OUT, NOT_ALLOWED, restart
from chat.config import ServerConf
from chat.conn import DirectConn
from chat.errors import ChatError, Forbidden, InvalidToken, ServerClosed
from chat.frames import Limits
from chat.member import Member, Resume
from chat.server import ChatServer
from chat.tokens import Grant
from chat.turn import yield_turn
from web.websocket.base import BaseSocket
from web.websocket.census import Census, Ticket, TooManyConnections
from web.websocket.conn import PlainConn, V1Peer, V1Rules
from web.websocket.formats import V1Formats
from web.websocket.heartbeat import Heartbeat
from web.websocket.limits import Bounds, SocketLimits
from web.websocket.moves import Moves
from web.websocket.peer import Peer, Rules

BATCH: Final = 200  # sockets closed in one go when draining, so that they do not all come back in the same instant
POLL: Final = 0.02  # seconds between two looks whether all are gone
LATE: Final = 60.0  # seconds: a token is asked for before a login ends, and issued after it, when the database was slow
RETURN_RATE: Final = 1000.0  # clients a second that a successor should have to greet


log: Final = logging.getLogger("web")


class GateSettings(Protocol):
    """Those of `web.settings.Settings` that matter here."""

    @property
    def connections(self) -> int: ...
    @property
    def connections_per_user(self) -> int: ...
    @property
    def connections_per_address(self) -> int: ...
    @property
    def sockets(self) -> SocketLimits: ...
    @property
    def resume_limit(self) -> int: ...
    @property
    def conf(self) -> ServerConf: ...


RightsOf = Callable[[str, str], frozenset[str]]
"""What a user may do in a channel, asked of the application.  May block."""


class Gate:
    """All WebSockets of one application in this process."""

    def __init__(self, settings: GateSettings, server: ChatServer, rights_of: RightsOf, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.retiring = False  # nobody new should be sent here
        self.draining = False
        self.census = Census(
            per_process=settings.connections,
            per_user=settings.connections_per_user,
            per_address=settings.connections_per_address,
        )
        conf, limits = settings.conf, settings.sockets
        self.bounds = Bounds(
            write_buf=conf.write_buf,
            read_buf=conf.read_buf,
            max_message=limits.max_frame,
            max_fragments=limits.max_fragments,
            close_timeout=limits.close_timeout,
            on_closed=self._closed,
        )
        self._server = server
        self._rights_of = rights_of
        self._moves = Moves(self, settings.resume_limit)
        self._rules = Rules.of(limits, self.clock, self._left)
        formats = V1Formats(Limits(conf.max_message, limits.message_rate), limits.ping_interval)
        self._v1_rules = V1Rules.beyond(self._rules, formats, self._moves.put)
        self._heartbeat = Heartbeat(limits, self.clock)
        self._token_deadline = conf.token_deadline
        self._ended: dict[str | None, float] = {}  # logins that have ended, for as long as a token of theirs may live
        self._guests: dict[Peer, str] = {}  # and the address that each is counted under
        self._leaving: dict[BaseSocket, Ticket] = {}  # of guests no more, but the descriptor is still open

    def __len__(self) -> int:
        return len(self._guests)

    def count(self, username: str, address: str) -> Ticket:
        """Take a place for who comes.  Never yields.  Raises: TooManyConnections.

        Where there is none, one of the same user's that is closing is cut off for it: a peer that was lost does not answer
        our close, and who comes back should not have to wait for that.
        """
        try:
            return self.census.enter(username, address)
        except TooManyConnections:
            closing = next((socket for socket, ticket in self._leaving.items() if ticket.username == username), None)
            if closing is None:
                raise
            closing.abort()
            return self.census.enter(username, address)

    def redeem(self, token: str) -> Grant:
        """Spend `token`.  Blocks.  Raises: InvalidToken, for that of a login that has ended too; ServerClosed."""
        grant = self._server.redeem(token)
        if self.has_ended(grant.session):
            raise InvalidToken
        return grant

    def reserve(self, grant: Grant) -> Member:
        """Take the name in the channel, if the application allows it.  Blocks.

        Raises: Forbidden, InvalidChannel, IdleChannel, ChannelClosed, UserAlreadyConnected.
        """
        rights = self._rights_of(grant.username, grant.channel)
        if "join" not in rights:
            raise Forbidden
        return self._server.reserve(grant, rights)

    def enter(self, socket: BaseSocket, member: Member, ticket: Ticket, *, v1: bool, resume: Resume | None) -> None:
        """Join an upgraded socket to its channel.  Never blocks."""
        peer, conn = self._v1(socket, member) if v1 else self._plain(socket, member)
        self._guests[peer] = ticket.address
        self._heartbeat.add(peer)
        if self.has_ended(member.grant.session):
            member.cancel()
            peer.close(*LOGGED_OUT)
            return
        try:
            if self.draining:
                raise ServerClosed
            member.join(conn, resume=resume)
        except ChatError:  # the channel, or everything, ended while the 101 was on its way
            member.cancel()
            peer.close(*restart(_spread(1)))

    def _v1(self, socket: BaseSocket, member: Member) -> tuple[Peer, DirectConn]:
        peer = V1Peer(socket, self._v1_rules, member.grant)
        return peer, peer.add(member)

    def _plain(self, socket: BaseSocket, member: Member) -> tuple[Peer, DirectConn]:
        conn = PlainConn(socket, self._rules)
        conn.grant, conn.members = member.grant, (member,)
        return conn, conn

    def has_ended(self, session: str | None) -> bool:
        """Whether that login has ended lately."""
        return self._ended.get(session, 0.0) > self.clock.monotonic()

    def turn_away(self, member: Member, ticket: Ticket) -> None:
        """There will be no socket after all: give back what was taken for it.  Never yields."""
        member.cancel()
        self.census.leave(ticket)

    def close_session(self, session: str) -> None:
        """End the connections of a login that has ended, and let none in by its unspent tokens.  Never yields."""
        now = self.clock.monotonic()
        self._ended = {ended: until for ended, until in self._ended.items() if until > now}
        self._ended[session] = now + self._token_deadline + LATE
        for peer in list(self._guests):
            if peer.grant.session == session:
                peer.close(*LOGGED_OUT)

    def review(self) -> None:
        """Ask again what each user may do, and end what is not allowed any more.  Blocks."""
        known: dict[tuple[str, str], frozenset[str]] = {}
        for member in [member for peer in self._guests for member in peer.members]:
            who = member.username, member.grant.channel
            if who not in known:
                known[who] = self._ask(who, member.rights)
                yield_turn()
            member.rights = known[who]
            if "join" not in member.rights:
                member.drop(NOT_ALLOWED)

    def _ask(self, who: tuple[str, str], had: frozenset[str]) -> frozenset[str]:
        try:
            return self._rights_of(*who)
        except Exception:
            log.exception("authorize() failed; this user keeps what it had")
            return had

    def retire(self) -> None:
        """Be ready no more, and go on as before.  Never yields."""
        self.retiring = True

    def hush(self) -> None:
        """Let nobody in and hear nobody out: what was said is still answered.  Never yields."""
        self.retiring = self.draining = True
        for peer in self._guests:
            peer.hush()

    def see_off(self, is_over: Callable[[], bool]) -> None:
        """Say goodbye to everybody with 1012, in batches.  Blocks, for 5 ms a batch, and no more once `is_over()`."""
        self._heartbeat.stop()
        count = len(self._guests)
        for number, peer in enumerate(list(self._guests), 1):
            peer.close(*restart(_spread(count)))
            if number % BATCH == 0 and not is_over():
                gevent.sleep(0.005)

    def await_goodbyes(self, is_over: Callable[[], bool]) -> None:
        """Return when all that were closing are closed; those that are not when `is_over()` are cut off.  Blocks."""
        while self._leaving and not is_over():
            gevent.sleep(POLL)
        for socket in list(self._leaving):
            socket.abort()
        self._moves.stop()

    def _left(self, peer: Peer) -> None:
        """A connection has ended; its place is free once its descriptor is.  Called in the hub."""
        self._heartbeat.forget(peer)
        address = self._guests.pop(peer, None)
        if address is None:
            return
        ticket = Ticket(peer.grant.username, address)
        if peer.socket.closed:
            self.census.leave(ticket)
        else:
            self._leaving[peer.socket] = ticket

    def _closed(self, socket: object) -> None:
        """A descriptor is gone.  Called in the hub."""
        assert isinstance(socket, BaseSocket)
        ticket = self._leaving.pop(socket, None)
        if ticket is not None:
            self.census.leave(ticket)


def _spread(count: int) -> float:
    """Seconds after which one of `count` clients should come back."""
    return 0.25 + random.random() * max(1.0, count / RETURN_RATE)  # noqa: S311 (nobody gains by guessing it)
