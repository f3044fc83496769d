"""One channel, as its client has it: what was heard and not read yet, how far, and who is here."""

import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias

import gevent
from gevent.event import Event as Flag

from chat.client.errors import NotOpen
from chat.client.hearing import Greeting
from chat.client.outbox import Asked, Outbox
from chat.client.position import Lost, Position
from chat.client.receipt import Receipt, Waits
from chat.clock import Clock
from chat.event import (
    Deleted,
    Edited,
    IsTyping,
    Joined,
    Left,
    Logged,
    Message,
    Notice,
    Page,
    Presence,
    Published,
    User,
    Whisper,
)
from chat.names import check_text
from chat.requests import PAGE, Delete, Edit, History, Publish, Read, Typing

REMEMBERED: Final = 200  # whispers: those that may come again because they were said again
TYPING_EVERY: Final = 3.0  # seconds; more often the server tells nobody

WAITED: Final = 10  # times the bound, while somebody waits for an answer

Event: TypeAlias = Published | Lost
"""What is heard in a channel."""


class Home(Protocol):
    """What a channel needs of its client."""

    @property
    def outbox(self) -> Outbox: ...
    @property
    def waits(self) -> Waits: ...
    @property
    def clock(self) -> Clock: ...
    def leave(self, channel: "ClientChannel", timeout: float) -> None: ...
    def has_room(self) -> None: ...


class ClientChannel:
    """Made by `ChatClient.join`.  It outlives connections; what it says and hears is neither lost nor doubled by them."""

    def __init__(self, name: str, home: Home, *, position: Position | None, patient: bool, queue: int) -> None:
        """`queue`: events that wait to be read; with 0 none is kept."""
        self.name = name
        self.entered: Receipt[None] = Receipt("", home.waits)
        """Settled by the first welcome."""
        self.users: dict[str, User] = {}
        """Who is here, by user name; in large rooms not all of them."""
        self.count = 0
        """How many users are here."""
        self.username = ""
        """Who we are here."""
        self.is_patient = patient
        """It is tried again when it fails before the first welcome."""
        self.tries = 0
        """How often it could not be joined since it was last."""
        self._home = home
        self._limit = 0  # bytes of one text
        self._heard = self._read = position
        self._until = 0  # the offset up to which something was missed
        self._is_ready = False  # welcomed, and what was missed is heard
        self._is_over = False
        self._error: Exception | None = None
        self._bound = queue
        self._events: deque[Event] = deque()
        self._some = Flag()
        self._whispers: dict[tuple[str, str], None] = {}
        self._mark = 0
        self._typed = -TYPING_EVERY

    # Speaking

    def publish(self, text: str, *, to: str | None = None, id: str | None = None) -> Receipt[int | None]:
        """Say `text`, to everybody or `to` one user.  Never yields.

        The receipt's `wait` returns the offset, None for a whisper or what the application dropped.  `id`: one of your own
        (1 to 64 visible ASCII characters, unique over all devices of the user), so that a program that was started again
        can say again what it does not know to be said, within 5 minutes.

        Raises: MessageTooBig; BadText; OutboxFull; NotOpen; Ended.
        """
        return self._ask(Publish(check_text(text, self._limit), self.name, id or new_id(), to))

    def edit(self, offset: int, text: str) -> Receipt[int | None]:
        """Give the message at `offset` another text.  Never yields.  Raises: the same."""
        return self._ask(Edit(offset, check_text(text, self._limit), self.name, new_id()))

    def delete(self, offset: int) -> Receipt[int | None]:
        """Take the message at `offset` back.  Never yields.  Raises: OutboxFull; NotOpen; Ended."""
        return self._ask(Delete(offset, self.name, new_id()))

    def history(
        self, *, before: int | None = None, after: int | None = None, limit: int = PAGE, timeout: float | None = 30.0
    ) -> Page:
        """What was said before `before`, or after `after`, or last; at most `limit` messages, as they now are.  Blocks.

        Raises: TimeoutError after `timeout` seconds; Refused; OutboxFull; NotOpen; Ended.
        """
        receipt: Receipt[Page] = self._ask(History(new_id(), self.name, before, after, limit))
        return receipt.wait(timeout)

    def read(self, offset: int) -> None:
        """The user has seen everything up to `offset`.  Told at most every 2 seconds.  Never yields."""
        if offset > self._mark and not self._is_over:
            self._mark = offset
            self._home.outbox.mark(Read(offset, self.name))

    def typing(self) -> None:
        """The user is writing something.  Call it as often as you like.  Never yields."""
        now = self._home.clock.monotonic()
        if now - self._typed >= TYPING_EVERY:
            self._typed = now
            self._home.outbox.mention(Typing(self.name))

    def leave(self, timeout: float = 5.0) -> None:
        """Leave it for good, once what was said is confirmed, or after `timeout` seconds.  Blocks.  Idempotent."""
        if not self._is_over:
            self._home.leave(self, timeout)

    def _ask(self, request: Asked) -> Receipt[Any]:
        if self._is_over:
            raise self._error or NotOpen()
        assert request.id is not None
        receipt: Receipt[Any] = Receipt(request.id, self._home.waits)
        self._home.outbox.ask(request, receipt)
        return receipt

    # Hearing

    @property
    def position(self) -> Position | None:
        """Behind the last event that was read here; None before the first welcome.  Given to `join`, it goes on there."""
        return self._read

    def recv(self, timeout: float | None = None) -> Event:
        """The next event.  Blocks.  Raises: TimeoutError after `timeout` seconds; NotOpen once left; Refused; Ended."""
        if not self._events:
            with gevent.Timeout(timeout, TimeoutError(f"nothing was heard within {timeout} s")):
                self._wait()
        event = self._events.popleft()
        self._advance(event)
        if len(self._events) == self._bound // 2:
            self._home.has_room()
        return event

    def __iter__(self) -> Iterator[Event]:
        """All events, until it is left.  Raises: Refused, Ended, when it is the server that ends it."""
        with suppress(NotOpen):
            while True:
                yield self.recv()

    def _wait(self) -> None:
        while not self._events:
            if self._is_over:
                raise self._error or NotOpen()
            self._some.clear()
            self._some.wait()

    def _advance(self, event: Event) -> None:
        match event:
            case Lost():
                self._read = event.position
            case Message() | Edited() | Deleted():
                assert self._read is not None
                self._read = Position(self._read.epoch, event.offset)

    # For the connection

    @property
    def heard(self) -> Position | None:
        """Where to resume."""
        return self._heard

    @property
    def is_full(self) -> bool:
        """So much waits to be read here that the socket has to wait too.  Who waits for an answer needs the socket: then it
        is ten times as much."""
        most = self._bound * (WAITED if self._home.waits.count else 1)
        return bool(most) and len(self._events) >= most

    def welcome(self, greeting: Greeting) -> None:
        """It is joined, again perhaps; or it was already, and its log goes on from another place."""
        welcome, before = greeting.welcome, self._heard
        self._home.outbox.unready(self.name)  # what is under way may have gone with the log
        self.username = welcome.user.username
        self.tries = 0
        self.users = {user.username: user for user in welcome.users}
        self.count = welcome.count
        self._limit = greeting.limits.message
        self._heard = Position(welcome.epoch, before.offset if before and welcome.recovered else welcome.offset)
        self._until = welcome.offset
        if before is None:
            self._read = self._heard
        elif not welcome.recovered:
            if before.epoch != welcome.epoch:
                self._home.outbox.begin(self.name)
                self._mark = 0
            self._put(Lost(self._heard))
        self._look_round()
        self.entered.settle(None)

    def take(self, event: Published) -> None:
        """Something was heard."""
        match event:
            case Message() | Edited() | Deleted():
                self._log(event)
            case Whisper():
                self._whisper(event)
            case _:
                self._notice(event)
                self._put(event)

    def lost(self) -> None:
        """The connection has gone."""
        self._is_ready = False

    def end(self, error: Exception | None = None) -> None:
        """It is left, or, with `error`, ended by the server.  Idempotent."""
        if self._is_over:
            return
        self._is_over, self._error = True, error
        self.entered.fail(error or NotOpen())
        self._some.set()

    def _log(self, event: Logged) -> None:
        assert self._heard is not None
        if event.offset <= self._heard.offset:
            return
        self._heard = Position(self._heard.epoch, event.offset)
        if event.id and event.sender == self.username:
            self._home.outbox.answer(event.id, event.offset)  # what was said on a connection that took the ack along
        self._put(event)
        if not self._is_ready:
            self._look_round()

    def _look_round(self) -> None:
        """Speak, once all that was missed is heard: some of what we would say again may be in it."""
        assert self._heard is not None
        if self._heard.offset >= self._until:
            self._is_ready = True
            self._home.outbox.ready(self.name)

    def _whisper(self, event: Whisper) -> None:
        key = event.sender, event.id
        if event.id and key in self._whispers:
            return
        self._whispers[key] = None
        if len(self._whispers) > REMEMBERED:
            del self._whispers[next(iter(self._whispers))]
        self._put(event)

    def _notice(self, event: Notice | IsTyping) -> None:
        """Who is here."""
        match event:
            case Joined(user):
                self.count += user.username not in self.users
                self.users[user.username] = user
            case Left(username):
                self.count -= self.users.pop(username, None) is not None
            case Presence():
                self.users.update((user.username, user) for user in event.joined)
                for username in event.left:
                    self.users.pop(username, None)
                self.count = event.count

    def _put(self, event: Event) -> None:
        if self._bound:
            self._events.append(event)
            self._some.set()
        else:
            self._advance(event)


def new_id() -> str:
    """96 random bits: unique over all devices of a user."""
    return secrets.token_hex(12)
