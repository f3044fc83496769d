"""A client for bots and tests: one socket for many channels, and nothing lost or doubled when it breaks."""

import logging
import ssl
from collections.abc import Callable
from random import random
from types import TracebackType
from typing import Final, Literal, NamedTuple
from urllib.parse import urlencode

import gevent
from gevent.event import Event as Flag

from chat.client.address import Address
from chat.client.backoff import Chance, asked_for, backoff, delay_after, obey
from chat.client.browser import Browser
from chat.client.channel import ClientChannel
from chat.client.closings import is_final, is_for_all
from chat.client.errors import Ended, LoginRefused, NotOpen, Refused
from chat.client.login import Desk, Login, TokenSource
from chat.client.outbox import Outbox
from chat.client.pace import Pace, pause
from chat.client.position import Position
from chat.client.receipt import Waits
from chat.client.session import Session
from chat.client.websocket import WebSocket, shake_hands
from chat.clock import Clock, SystemClock
from chat.closing import CloseCode, Closing
from chat.errors import AlreadyJoined
from chat.names import check_channel_name
from chat.wire import SUBPROTOCOL

log: Final = logging.getLogger("chat.client")

CONNECT: Final = 15.0  # seconds for TCP, TLS and the handshake, each step
GOODBYE: Final = 2.0  # seconds for the server to answer ours
STABLE: Final = 10.0  # seconds online after which the next loss counts as the first again
SLOWLY: Final = 4  # tries that count as made when one was too fast
QUEUE: Final = 1000  # events that wait to be read in one channel; as many as the server sends again


class State(NamedTuple):
    """Where the connection stands."""

    name: Literal["idle", "connecting", "online", "waiting"]
    seconds: float = 0.0
    """Until the next try, when it is waiting."""
    error: Exception | None = None
    """Why it is waiting."""


def nobody(_state: State) -> None:
    """Do nothing."""


class ChatClient:
    """Connects when the first channel is joined.  A context manager: at its end it waits for what is not confirmed.

    Works with and without gevent's monkey patching.  Nothing of it may be used from another thread.
    """

    def __init__(
        self,
        url: str,
        *,
        login: Login | None = None,
        token: TokenSource | str | None = None,
        tls: ssl.SSLContext | None = None,
        on_state: Callable[[State], None] = nobody,
        queue: int = QUEUE,
        outbox: int = QUEUE,
        clock: Clock | None = None,
        chance: Chance = random,
    ) -> None:
        """`url` is where the chat is mounted: `https://example.org/chat`.

        Either a `login` of the standalone site, or `token`: a function that gives a fresh one for a channel each time
        (or one token, good for one connection).  `tls`: whom to trust; the system's certificates otherwise.  `on_state`
        is told what becomes of the connection, and must not block.  `queue`: events that wait to be read in one channel;
        past it the socket is not read on (see `ClientChannel.is_full`).  `outbox`: requests that are not answered yet.

        Raises: ValueError.
        """
        self.address = Address.parse(url)
        self.clock = clock or SystemClock()
        self.chance = chance
        self.channels: dict[str, ClientChannel] = {}
        self.pace = Pace(self.clock)
        self.outbox = Outbox(outbox, self.pace, self.clock, chance)
        self.room = Flag()
        self.waits = Waits(self.room.set)
        self.state = State("idle")
        self._desk = Desk(Browser(self.address, tls), login) if login else None
        self._tokens = _source(self._desk, token)
        self._tls = tls
        self._on_state = on_state
        self._queue = queue
        self._session: Session | None = None
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._attempt = 0
        self._trouble: Exception | None = None
        """What went wrong last, until it goes well."""
        self._is_closed = False

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None) -> None:
        self.close(5.0 if kind is None else 0.0)

    def join(
        self,
        name: str,
        *,
        position: Position | None = None,
        listen: bool = True,
        patient: bool = True,
        timeout: float | None = 30.0,
    ) -> ClientChannel:
        """Enter a channel, and return once welcomed.  Blocks.

        With `position` it goes on there: what was said since follows, or, where that cannot be had, Lost.  Without
        `listen` nothing that is heard is kept: for who only speaks.  Who is not `patient` gives up when it fails at first,
        though it may go well a little later.

        Raises: InvalidChannel; AlreadyJoined; Refused, with the server's own code; LoginRefused; Ended; and after `timeout`
        seconds what went wrong last, or TimeoutError.  Then it is as if it had not been asked.
        """
        name = check_channel_name(name)
        if self._is_closed:
            raise NotOpen
        if name in self.channels:
            raise AlreadyJoined
        channel = ClientChannel(name, self, position=position, patient=patient, queue=self._queue if listen else 0)
        self.channels[name] = channel
        self._start()
        try:
            channel.entered.wait(timeout)
        except TimeoutError as exc:
            raise self._trouble or exc from exc
        finally:
            if not channel.username:
                self.leave(channel, 0.0)
        return channel

    def create_channel(self, name: str) -> None:
        """Blocks.  Raises: Refused, with code duplicated_channel where there is one; ValueError without a login."""
        if self._desk is None:
            raise ValueError("login: without one, channels are created by the application")
        self._desk.create_channel(name)

    def close(self, timeout: float = 5.0) -> None:
        """Leave all channels, once what was said is confirmed, or after `timeout` seconds.  Blocks.  Idempotent.

        What is not confirmed then fails with Unconfirmed.
        """
        if timeout:
            self.outbox.wait(timeout)
        self._is_closed = True
        for channel in list(self.channels.values()):
            self.end(channel)
        greenlet, session = self._greenlet, self._session
        if greenlet is None:
            return
        if session is not None:
            session.say_goodbye()
            greenlet.join(min(timeout, GOODBYE))
        greenlet.kill()

    # For channels

    def leave(self, channel: ClientChannel, timeout: float) -> None:
        """See `ClientChannel.leave`."""
        if timeout:
            self.outbox.wait(timeout, channel.name)
        if self.channels.get(channel.name) is not channel:
            return
        self.end(channel)
        if self._session is not None:
            self._session.part(channel.name)
        elif not self.channels and self._greenlet is not None:
            self._greenlet.kill()

    def has_room(self) -> None:
        """A channel can take more.  Never yields."""
        self.room.set()

    # For the session

    def token(self, channel: str) -> str:
        """A fresh one.  Blocks."""
        given = self._tokens(channel)
        return given if isinstance(given, str) else given[0]

    def online(self) -> None:
        """It was welcomed."""
        self._trouble = None
        self._tell(State("online"))

    def refused(self, channel: ClientChannel, error: Exception, attempt: int) -> float | None:
        """`channel` was not entered.  Return after how many seconds to try again; None where it was ended."""
        delay = delay_after(error, attempt, self.chance, was_in=channel.heard is not None)
        if delay is not None and (channel.is_patient or channel.username):
            return delay
        for refused in list(self.channels.values()) if isinstance(error, LoginRefused) else [channel]:
            self.end(refused, error)
        return None

    def end(self, channel: ClientChannel, error: Exception | None = None) -> None:
        """It is left, or the server has ended it.  Never yields; idempotent."""
        if self.channels.get(channel.name) is channel:
            del self.channels[channel.name]
            self.outbox.end(channel.name)
        channel.end(error)
        self.room.set()

    # The connection

    def _start(self) -> None:
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._live)
        elif self._session is not None:
            self._session.join_others()

    def _live(self) -> None:
        try:
            while self.channels:
                name, channel = next(iter(self.channels.items()))
                delay, error = self._visit(channel)
                if delay is None:
                    continue
                if name in self.channels:  # another one may have better luck
                    self.channels[name] = self.channels.pop(name)
                self._tell(State("waiting", delay, error))
                pause(self.clock, delay)
        except Exception as exc:  # a fault, ours or of `on_state`: better told by all channels than waited for
            log.exception("a client of %s has failed", self.address.origin)
            for channel in list(self.channels.values()):
                self.end(channel, exc)
        finally:
            self._greenlet = None
            self.state = State("idle")
        self._on_state(self.state)

    def _visit(self, channel: ClientChannel) -> tuple[float | None, Exception | None]:
        """Connect, and stay until the end.  Return after how many seconds to come again, and why not at once."""
        self._tell(State("connecting"))
        try:
            session = self._session = Session(self._connect(channel), self, channel)
        except Exception as exc:  # the application's token function may raise what it likes
            delay = self.refused(channel, exc, self._attempt)
            self._attempt += delay is not None
            self._trouble = exc
            return delay, exc
        try:
            closing = session.run()
        finally:
            self._session = None
        return self._after(session, closing), Ended(closing)

    def _connect(self, channel: ClientChannel) -> WebSocket:
        token = self.token(channel.name)
        query = urlencode(channel.heard._asdict()) if channel.heard else ""
        sock = self.address.dial(CONNECT, self._tls)
        try:
            url, headers = self.address.socket_url(query), {"Authorization": f"Bearer {token}"}
            with gevent.Timeout(CONNECT, TimeoutError(f"no answer within {CONNECT:g} s")):
                socket = shake_hands(sock, url, subprotocols=[SUBPROTOCOL], headers=headers)
        except BaseException:
            sock.close()
            raise
        sock.settimeout(None)  # from now on the watchdog waits
        return socket

    def _after(self, session: Session, closing: Closing) -> float | None:
        if session.has_left:
            return None
        if closing.code == CloseCode.RATE:
            self._attempt = max(self._attempt, SLOWLY)
        elif session.began is not None and self.clock.monotonic() - session.began > STABLE:
            self._attempt = 0
        if is_final(closing.code):
            for channel in [*self.channels.values()]:
                if is_for_all(closing.code) or channel.name in session.joined:
                    self.end(channel, Ended(closing))
        asked = asked_for(closing.reason) if closing.code == CloseCode.RESTART else None
        delay = backoff(self._attempt, self.chance) if asked is None else obey(asked, self.chance)
        self._attempt += 1
        return delay

    def _tell(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._on_state(state)


def _source(desk: Desk | None, token: TokenSource | str | None) -> TokenSource:
    if (desk is None) == (token is None):
        raise ValueError("login, token: exactly one of them is wanted")
    if desk is not None:
        return desk
    assert token is not None
    return _once(token) if isinstance(token, str) else token


def _once(token: str) -> TokenSource:
    """The one token, which is good for one connection only."""
    left = [token]

    def give(_channel: str) -> str:
        if not left:
            raise Refused("token_used", "the token was used already; give a function that gets a fresh one each time")
        return left.pop()

    return give
