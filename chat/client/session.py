"""One connection's life: what comes is handed to its channels, and the other channels are joined.

The handshake's token joins the first channel.  The others are joined one after the other, by a greenlet, because each wants
a fresh token, which is asked for over HTTP.
"""

import logging
from collections.abc import Mapping
from typing import Final, Protocol

import gevent
import msgspec
from gevent.event import Event as Flag

from chat import frames
from chat.client.backoff import Chance, asked_for, backoff, obey
from chat.client.channel import ClientChannel, new_id
from chat.client.closings import is_final
from chat.client.errors import Ended, Refused
from chat.client.hearing import Greeting, Heard, hear
from chat.client.outbox import Outbox
from chat.client.pace import Pace, pause
from chat.client.receipt import Receipt, Waits
from chat.client.watchdog import Watchdog
from chat.client.websocket import WebSocket
from chat.clock import Clock
from chat.closing import CloseCode, Closing
from chat.event import Ack, Closed, Page, Refusal
from chat.requests import Join, Leave, Pong

log: Final = logging.getLogger("chat.client")

PONG: Final = msgspec.json.encode(Pong())
GOODBYE: Final = Closing(CloseCode.NORMAL)
SILENCE: Final = Closing(CloseCode.STALE, "no sign of life")
BROKEN: Final = Closing(CloseCode.PROTOCOL_ERROR, "that is no frame of chat.v1")


class House(Protocol):
    """What a session needs of its client."""

    @property
    def channels(self) -> Mapping[str, ClientChannel]: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def pace(self) -> Pace: ...
    @property
    def waits(self) -> Waits: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def chance(self) -> Chance: ...
    @property
    def room(self) -> Flag: ...
    def token(self, channel: str) -> str: ...
    def refused(self, channel: ClientChannel, error: Exception, attempt: int) -> float | None: ...
    def end(self, channel: ClientChannel, error: Exception | None = None) -> None: ...
    def online(self) -> None: ...


class Session:
    """Over one WebSocket.  `joined` are the names of the channels that it is in."""

    def __init__(self, socket: WebSocket, house: House, rider: ClientChannel) -> None:
        """`rider`: whose token was shown in the handshake."""
        self.joined: set[str] = set()
        self.has_left = False
        """We have said goodbye."""
        self.began: float | None = None
        """When it was welcomed."""
        self._socket = socket
        self._house = house
        self._rider = rider
        self._answer: Receipt[str] | None = None  # the name of the channel that is welcomed
        self._leaving: dict[str, str] = {}  # channels by the ids of requests that are not answered
        self._wake = Flag()
        self._resting: set[str] = set()  # channels that could not be joined, until they are tried again
        self._watchdog = Watchdog(house.clock, lambda: socket.abort(SILENCE))
        socket.on_drained = house.outbox.pump

    def run(self) -> Closing:
        """Hand on what comes, until the end.  Blocks."""
        joiner = gevent.spawn(self._join_others)
        try:
            while (texts := self._socket.recv()) is not None:
                self._watchdog.heard()
                for text in texts:
                    if not self._hear(text):
                        break  # and nothing of what came behind it, or it would seem to have been heard
                self._wait_for_room()
        finally:
            self._watchdog.stop()
            self._house.outbox.lost()
            for channel in self._house.channels.values():
                channel.lost()
            joiner.kill()
            self._socket.hang_up()
        assert self._socket.closing is not None
        return self._socket.closing

    def join_others(self) -> None:
        """There are more channels.  Never yields."""
        if self.has_left:
            self._socket.abort()  # who has said goodbye begins anew, and does not wait for the answer
        self._wake.set()

    def part(self, channel: str) -> None:
        """Leave one; with the last one, hang up.  Never yields."""
        if self.joined == {channel}:
            self.say_goodbye()
        elif channel in self.joined:
            self._house.pace.spend()
            id = new_id()
            self._leaving[id] = channel
            self._send(msgspec.json.encode(Leave(channel, id)))
        self.joined.discard(channel)

    def say_goodbye(self) -> None:
        """Never yields; `run` returns when the server has answered."""
        self.has_left = True
        self._socket.say_goodbye(GOODBYE)
        self._watchdog.said()

    # Hearing

    def _hear(self, text: bytes) -> bool:
        """Take one frame; return whether it was one."""
        try:
            heard = hear(text, self._house.clock.now)
        except ValueError:
            log.warning("the server has sent what is no frame of chat.v1, and is hung up on")
            self._socket.fail(BROKEN)
            return False
        if heard is not None:
            self._take(heard)
        return True

    def _take(self, heard: Heard) -> None:
        match heard.event:
            case frames.Ping():
                self._socket.send(PONG)
            case Greeting():
                self._welcome(heard.channel, heard.event)
            case Closed(code, reason):
                self._closed(heard.channel, Closing(code, reason))
            case Ack() | Page() | Refusal():
                self._answered(heard.event)
            case event:
                if heard.channel in self.joined and heard.channel in self._house.channels:
                    self._house.channels[heard.channel].take(event)

    def _answered(self, answer: Ack | Page | Refusal) -> None:
        self._leaving.pop(answer.id, None)
        match answer:
            case Ack(id, offset):
                self._house.outbox.answer(id, offset)
            case Page(id):
                self._house.outbox.answer(id, answer)
            case Refusal():
                self._refusal(answer)

    def _welcome(self, name: str, greeting: Greeting) -> None:
        if name in self._leaving.values():
            return  # it crossed with the leave, and is no answer to a join
        was_in = name in self.joined  # then its log goes on from another place
        if self.began is None:
            self.began = self._house.clock.monotonic()
            self._watchdog.expect(greeting.ping)
            self._house.pace.begin(greeting.limits.rate)
            self._house.outbox.open(self._send, lambda: self._socket.is_jammed)
            self._house.online()
            if name != self._rider.name:
                self._house.end(self._rider, _other_channel(name))
        self.joined.add(name)
        channel = self._house.channels.get(name)
        if channel is None:
            self.part(name)  # it was left meanwhile
        else:
            channel.welcome(greeting)
        if self._answer is not None and not was_in:
            self._answer.settle(name)
        self._wake.set()

    def _refusal(self, refusal: Refusal) -> None:
        if self._answer is not None and refusal.id == self._answer.id:
            self._answer.fail(Refused(refusal.code, refusal.message, retry=refusal.retry))
        elif not self._house.outbox.refuse(refusal):
            log.info("the server has refused something: %s", refusal.message)

    def _closed(self, name: str, closing: Closing) -> None:
        self.joined.discard(name)
        channel = self._house.channels.get(name)
        if channel is None:
            return
        if is_final(closing.code):
            self._house.end(channel, Ended(closing))
            return
        channel.lost()
        self._house.outbox.unready(name)
        asked = asked_for(closing.reason)
        chance = self._house.chance
        self._try_again(channel, backoff(channel.tries, chance) if asked is None else obey(asked, chance))

    def _wait_for_room(self) -> None:
        """Leave the rest to the socket, and so to the server, until what was heard is read."""
        if not self._is_full():
            return
        self._watchdog.stop()
        while self._is_full():
            self._house.room.clear()
            self._house.room.wait()
        self._watchdog.heard()

    def _is_full(self) -> bool:
        return any(channel.is_full for channel in self._house.channels.values())

    # Speaking

    def _send(self, data: bytes) -> None:
        self._socket.send(data)
        self._watchdog.said()

    # Joining

    def _join_others(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            for channel in list(self._house.channels.values()):
                if self.began is not None and self._is_due(channel):
                    self._join(channel)

    def _is_due(self, channel: ClientChannel) -> bool:
        is_wanted = self._house.channels.get(channel.name) is channel and channel.name not in self.joined
        return is_wanted and channel.name not in self._resting

    def _join(self, channel: ClientChannel) -> None:
        try:
            token = self._house.token(channel.name)
            pause(self._house.clock, self._house.pace.delay())
            if not self._is_due(channel):
                return
            self._house.pace.spend()
            epoch, offset = channel.heard or (None, None)
            self._answer = Receipt(new_id(), self._house.waits)
            self._send(msgspec.json.encode(Join(token, self._answer.id, epoch, offset)))
            welcomed = self._answer.wait()
            if welcomed != channel.name:
                raise _other_channel(welcomed)
        except Exception as exc:  # the application's token function may raise what it likes
            delay = self._house.refused(channel, exc, channel.tries)
            if delay is not None:
                self._try_again(channel, delay)

    def _try_again(self, channel: ClientChannel, delay: float) -> None:
        channel.tries += 1
        self._resting.add(channel.name)
        self._house.clock.later(delay, lambda: self._rested(channel.name))

    def _rested(self, name: str) -> None:
        self._resting.discard(name)
        self._wake.set()


def _other_channel(name: str) -> Refused:
    """A token that leads elsewhere; asking for one again, at once, would lead there again."""
    return Refused("other_channel", f"the token was for another channel, {name!r}")
