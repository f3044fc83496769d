"""A channel over a WebSocket, as a `Conn`: texts to requests, events to frames.

Plain text has one channel, so there peer and conn are one object.  chat.v1 has many: a `V1Peer` gives each request to the
`V1Conn` of its channel.  What waits for a database, joins and leaves, is handed to `V1Rules.on_move`; nothing here blocks.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from chat.closing import GONE, CloseCode, Closing
from chat.conn import DirectConn, OnGone, OnMessage
from chat.errors import BadRequest, ChannelClosed, ChatError, Forbidden, NotJoined, RateLimited
from chat.event import Ack, Closed, Event, Refusal
from chat.member import Member
from chat.requests import Join, Leave, Ping, Pong, Publish, Read, Request, Typing, decode, id_of
from chat.tokens import Grant
from chat.wire import ping, pong
from web.websocket.base import BaseSocket
from web.websocket.formats import DEFLATED_PLAIN, PLAIN, PlainFormat, V1Format, V1Formats
from web.websocket.peer import Peer, Rules
from web.websocket.protocol import ping_frame, text_frame


class PlainConn(Peer, DirectConn):
    """Without a subprotocol: a frame is what the user says, in the one channel that there is."""

    __slots__ = ("_on_gone", "_on_message", "_texts", "grant", "members")

    grant: Grant
    """Whose it is: `Gate` sets it, and `members`."""

    def __init__(self, socket: BaseSocket, rules: Rules) -> None:
        super().__init__(socket, rules)
        self.members: tuple[Member, ...] = ()
        self._texts = None
        self._on_message: OnMessage | None = None
        self._on_gone: OnGone | None = None

    @property
    def format(self) -> PlainFormat:
        return DEFLATED_PLAIN if self.socket.deflates else PLAIN

    @property
    def sink(self) -> BaseSocket:
        return self.socket

    def start(self, on_message: OnMessage, on_gone: OnGone) -> None:
        self._on_message = on_message
        self._on_gone = on_gone
        self.socket.start(self)

    def write(self, data: bytes) -> None:
        self.socket.write(data)

    def send_str(self, msg: str) -> None:
        """Send one text frame; "" is a ping."""
        self.socket.write(self.format.frame(msg.encode()) if msg else self.PING)

    def pause(self) -> None:
        self.socket.pause()

    def resume(self) -> None:
        if not self._hushed:
            self.socket.resume()

    def ended(self, closing: Closing) -> None:
        on_gone, self._on_message, self._on_gone = self._on_gone, None, None
        self.members = ()  # they refer to us: it leaves no cycle to the collector
        self._rules.on_end(self)
        if on_gone is not None:
            on_gone(closing)

    def _hear(self, text: str) -> None:
        if not self._may_speak():
            self._refuse(RateLimited())
        elif self._on_message is not None:
            self._on_message(Publish(text))

    def _tell(self, event: Event, channel: str) -> None:  # noqa: ARG002 (there is but one)
        self.socket.write(self.format.encode([event]))


PINGS: Final = (Ping, Pong)
SIGNALS: Final = (Typing, Read)  # no messages: who writes much, or scrolls, should not be kept from speaking by it

Move: TypeAlias = Join | Leave
"""What changes the channels that a peer is in; each waits for the one before."""


@dataclass(frozen=True, slots=True)
class V1Rules(Rules):
    """What holds for those who speak chat.v1."""

    formats: V1Formats
    on_move: "Callable[[V1Peer, Move], None]"
    """Called in the hub; raises RateLimited when too many wait."""

    @classmethod
    def beyond(cls, rules: Rules, formats: V1Formats, on_move: "Callable[[V1Peer, Move], None]") -> "V1Rules":
        """`rules`, and these."""
        return cls(rules.clock, rules.messages, rules.controls, rules.max_refused, rules.on_end, formats, on_move)


class V1Peer(Peer):
    """chat.v1: JSON with types and ids, in up to `chat.requests.CHANNELS` channels.

    It is in one from the beginning, and its socket is closed when it is in none, unless it is on its way into one.
    """

    __slots__ = ("conns", "grant", "moves")

    # A browser's page cannot see the WebSocket's own pings, and other clients answer those by themselves.
    PING: ClassVar[bytes] = ping_frame() + text_frame(ping())

    grant: Grant
    _rules: V1Rules

    def __init__(self, socket: BaseSocket, rules: V1Rules, grant: Grant) -> None:
        super().__init__(socket, rules)
        self.grant = grant
        self.conns: tuple[V1Conn, ...] = ()  # most have one, for which a dictionary would be 200 bytes more
        self.moves: deque[Move] | None = None  # those that wait, while one is under way

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(conn.member for conn in self.conns)

    def add(self, member: Member, join_id: str = "") -> "V1Conn":
        """Make the conn of one more channel; `join_id` is acked when the member is welcomed.  Never yields."""
        form = self._rules.formats.of(member.grant.channel, deflated=self.socket.deflates)
        conn = V1Conn(self, member, form, join_id)
        self.conns += (conn,)
        return conn

    def find(self, channel: str) -> "V1Conn | None":
        """The conn of that channel, None where there is none.  Never yields."""
        for conn in self.conns:
            if conn.format.channel == channel:
                return conn
        return None

    def drop(self, conn: "V1Conn") -> None:
        """Be in that channel no more, telling nobody.  Never yields; idempotent."""
        self.conns = tuple(other for other in self.conns if other is not conn)
        self.read_on()

    def part(self, request: Leave) -> None:
        """Give a channel up, as the peer has asked.  Never yields; the server may have ended it meanwhile."""
        conn = self.find(request.channel)
        if conn is not None:
            self._end(conn, Closing(CloseCode.NORMAL, "left"))
        if request.id:
            self._tell(Ack(request.id, None), request.channel)

    def dismiss(self, conn: "V1Conn", closing: Closing) -> None:
        """End one channel from our side, and the socket with the last one.  Never yields; idempotent."""
        if conn not in self.conns:
            return
        if len(self.conns) == 1 and self.moves is None:
            self.close(*closing)
            return
        if not conn.join_id:
            self._tell(Closed(*closing), conn.format.channel)
        self._end(conn, closing)

    def probe_once(self) -> None:
        """Ask for a sign of life that is not asked for yet: channels that are idle together need but one.  Never yields."""
        if self.asked <= self.socket.last_heard:
            self.asked = self._rules.clock.monotonic()
            self.probe()

    def read_on(self) -> None:
        """Read, unless one of the channels does not want that now.  Never yields."""
        if not self._hushed and not any(conn.paused for conn in self.conns):
            self.socket.resume()

    def ended(self, closing: Closing) -> None:
        conns, self.conns = self.conns, ()
        self._rules.on_end(self)
        for conn in conns:
            conn.end(closing)

    def _hear(self, text: str) -> None:
        try:
            request = decode(text)
        except BadRequest as exc:
            self._refuse(exc if self._may_speak() else RateLimited(), exc.id or "", exc.channel)
            return
        if isinstance(request, PINGS):
            self.pinged(1)
            if isinstance(request, Ping):
                self.socket.write(text_frame(pong(request.id)))
            return
        try:
            if not (self._may_signal() if isinstance(request, SIGNALS) else self._may_speak()):
                raise RateLimited
            self._do(request)
        except ChatError as exc:
            channel = "" if isinstance(request, Join) else request.channel
            self._refuse(exc, id_of(request) or "", channel)

    def _do(self, request: Request | Join | Leave) -> None:
        """Raises: NotJoined, RateLimited."""
        if isinstance(request, Join):
            self._rules.on_move(self, request)
            return
        conn = self.find(request.channel)
        if isinstance(request, Leave):
            self._begin_to_leave(conn, request)
        elif conn is None or conn.hear is None:
            raise NotJoined
        else:
            conn.hear(request)

    def _begin_to_leave(self, conn: "V1Conn | None", request: Leave) -> None:
        """Raises: NotJoined, RateLimited."""
        if self.moves is None and (conn is None or conn.leaving):  # otherwise a join that waits may lead there
            raise NotJoined
        self._rules.on_move(self, request)
        if conn is not None:
            conn.go_deaf()

    def _tell(self, event: Event, channel: str) -> None:
        form = self._rules.formats.of(channel, deflated=self.socket.deflates)
        self.socket.write(form.encode([event]))

    def _end(self, conn: "V1Conn", closing: Closing) -> None:
        """Be in that channel no more, and answer the join that was not welcomed yet."""
        self.drop(conn)
        if conn.join_id:
            self._tell(self._unjoined(conn.join_id, closing), conn.format.channel)
        conn.end(closing)

    def _unjoined(self, id: str, closing: Closing) -> Refusal:
        """The answer to a join whose channel was ended before the welcome."""
        kind = Forbidden if closing.code >= CloseCode.LOGGED_OUT else ChannelClosed
        retry = CloseCode.NORMAL < closing.code < CloseCode.LOGGED_OUT
        return Refusal(id, kind.code, closing.reason, retry, self._rules.clock.now())


class V1Conn(DirectConn):
    """One of the channels of a `V1Peer`."""

    __slots__ = ("_on_gone", "_peer", "_texts", "format", "hear", "join_id", "leaving", "member", "paused")

    format: V1Format

    def __init__(self, peer: V1Peer, member: Member, format: V1Format, join_id: str) -> None:
        self.member = member
        self.format = format
        self.join_id = join_id  # "" once that join is answered
        self.leaving = False
        self.paused = False
        self.hear: OnMessage | None = None  # from the welcome until the peer wants to leave
        self._on_gone: OnGone | None = None
        self._peer = peer
        self._texts = None

    @property
    def sink(self) -> BaseSocket:
        return self._peer.socket

    def start(self, on_message: OnMessage, on_gone: OnGone) -> None:
        peer = self._peer
        if self not in peer.conns:  # that, or all of it, was ended before
            on_gone(peer.socket.closing or GONE)
            return
        self.hear = None if self.leaving else on_message
        self._on_gone = on_gone
        if not peer.socket.started:
            peer.socket.start(peer)
        if self.join_id:
            self.write(self.format.encode([Ack(self.join_id, None)]))
            self.join_id = ""

    def go_deaf(self) -> None:
        """Hear no request any more: the peer wants to leave.  Never yields; idempotent."""
        self.leaving = True
        self.hear = None

    def write(self, data: bytes) -> None:
        if self in self._peer.conns:
            self._peer.socket.write(data)

    def send_str(self, msg: str) -> None:
        """Send one text frame; "" is a ping."""
        self.write(self.format.frame(msg.encode()) if msg else self._peer.PING)

    def probe(self) -> None:
        self._peer.probe_once()

    def pause(self) -> None:
        self.paused = True
        self._peer.socket.pause()

    def resume(self) -> None:
        self.paused = False
        self._peer.read_on()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        self._peer.dismiss(self, Closing(code, reason))

    def end(self, closing: Closing) -> None:
        """Tell the channel that it is over; one that has not started it yet is told when it does.  Never yields.

        `member` is there no more: it refers to us, and a cycle would be left to the collector.
        """
        on_gone, self.hear, self._on_gone = self._on_gone, None, None
        del self.member
        if on_gone is not None:
            on_gone(closing)
