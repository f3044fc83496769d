"""What was asked for and is not answered yet, in the order of asking.

The server knows each request by its random id: saying it again with the same id does it once.  So after a lost connection
everything unanswered is simply said again, in its order, by the same code that says it first.

In each channel one request is under way at a time: were there several, and the first refused for a moment, the others would
overtake it.
"""

from bisect import insort
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from math import inf
from typing import Any, Final

import gevent
import msgspec

from chat.client.backoff import Chance, backoff
from chat.client.errors import NotOpen, OutboxFull, Refused, Unconfirmed
from chat.client.pace import Pace
from chat.client.receipt import Receipt
from chat.clock import Clock, Timer
from chat.errors import ChatError, NoSuchMessage, NotJoined
from chat.event import Refusal
from chat.requests import Delete, Edit, History, Publish, Read, Typing

AGAIN_WITHIN: Final = 290.0  # seconds; the server remembers an id for 300, and what is said now takes a moment
MARK_EVERY: Final = 2.0  # seconds: what is read is told at most so often, or it would use up what may be said
MOMENT: Final = 1e-3  # seconds: what a float is off by must not wake us again and again in the same instant
TOO_FAST: Final = "rate_limited"

Asked = Publish | Edit | Delete | History


_Lane = tuple[str, bool]  # in which requests follow one another: what changes a channel; and beside it, what does not


class _Entry:
    """One request.  `said`: when it was said first; None while it was not."""

    __slots__ = ("channel", "data", "is_aimed", "is_harmless", "lane", "not_before", "number", "receipt", "said", "tries")

    def __init__(self, request: Asked, receipt: Receipt[Any], number: int) -> None:
        self.channel = request.channel
        self.data = msgspec.json.encode(request)
        self.is_harmless = isinstance(request, History)
        self.is_aimed = isinstance(request, Edit | Delete)  # at an offset
        self.lane: _Lane = request.channel, self.is_harmless
        self.receipt = receipt
        self.number = number
        self.said: float | None = None
        self.not_before = 0.0
        self.tries = 0

    def is_forgotten(self, now: float) -> bool:
        """The server may no longer know that it was said, so to say it again may do it twice."""
        return self.said is not None and not self.is_harmless and now - self.said > AGAIN_WITHIN


class _Mark:
    """How far a channel was read."""

    __slots__ = ("not_before", "request")

    def __init__(self, request: Read) -> None:
        self.request = request
        self.not_before = 0.0


class Outbox:
    """Of one client, for all of its channels: their requests share one socket, and its pace."""

    def __init__(self, bound: int, pace: Pace, clock: Clock, chance: Chance) -> None:
        """`bound`: requests; past it `ask` raises OutboxFull."""
        self._bound = bound
        self._pace = pace
        self._clock = clock
        self._chance = chance
        self._entries: dict[str, _Entry] = {}
        self._unsaid: list[_Entry] = []  # by number
        self._marks: dict[str, _Mark] = {}  # of channels
        self._unmarked: set[str] = set()  # whose mark is to be said
        self._numbers = count()
        self._ready: set[str] = set()  # channels
        self._under_way: dict[_Lane, _Entry] = {}
        self._send: Callable[[bytes], None] | None = None
        self._is_jammed: Callable[[], bool] = bool
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def ask(self, request: Asked, receipt: Receipt[Any]) -> None:
        """Say `request` as soon as that can be, and again until it is answered.  Never yields.

        Raises: OutboxFull.
        """
        if len(self._entries) >= self._bound:
            raise OutboxFull
        entry = _Entry(request, receipt, next(self._numbers))
        self._entries[receipt.id] = entry
        self._unsaid.append(entry)
        self.pump()

    def mark(self, request: Read) -> None:
        """Say it once in a while; the last one counts, and is said again on each connection.  Never yields."""
        mark = self._marks.setdefault(request.channel, _Mark(request))
        mark.request = request
        self._unmarked.add(request.channel)
        self.pump()

    def mention(self, request: Typing) -> None:
        """Say it now or never.  Never yields."""
        if self._send is not None and request.channel in self._ready and self._delay(0.0, 0.0) <= 0:
            self._transmit(msgspec.json.encode(request))

    # The connection

    def open(self, send: Callable[[bytes], None], is_jammed: Callable[[], bool]) -> None:
        """There is a connection: `send` takes frames, unless it `is_jammed`; whoever finds it free again calls `pump`."""
        self._send = send
        self._is_jammed = is_jammed

    def ready(self, channel: str) -> None:
        """What was missed in `channel` is heard, so that what is still not answered may be said again."""
        self._ready.add(channel)
        now = self._clock.monotonic()
        for entry in [entry for entry in self._of(channel) if entry.is_forgotten(now)]:
            self._drop(entry).fail(Unconfirmed())
        self.pump()

    def unready(self, channel: str) -> None:
        """Nothing can be said in `channel`, and what was said there may be lost."""
        self._ready.discard(channel)
        for entry in self._of(channel):
            self._under_way.pop(entry.lane, None)
        self._unsaid = sorted({*self._unsaid, *self._of(channel)}, key=_number)

    def lost(self) -> None:
        """The connection has gone."""
        self._send = None
        self._cancel()
        self._ready.clear()
        self._under_way.clear()
        self._unsaid = list(self._entries.values())
        self._unmarked = set(self._marks)

    def begin(self, channel: str) -> None:
        """The log of `channel` has begun anew: edits, deletes and marks would hit other messages.  Never yields."""
        self._unmark(channel)
        for entry in [entry for entry in self._of(channel) if entry.is_aimed]:
            self._drop(entry).fail(Refused(NoSuchMessage.code, NoSuchMessage.text))

    # Answers

    def answer(self, id: str, answer: object) -> bool:
        """The request was done; return whether it was one of these."""
        entry = self._entries.get(id)
        if entry is not None:
            self._drop(entry).settle(answer)
            self.pump()
        return entry is not None

    def refuse(self, refusal: Refusal) -> bool:
        """It was not done: say it again later where that may help, everything behind it in its channel waiting for it."""
        entry = self._entries.get(refusal.id)
        if entry is None:
            return False
        if self._under_way.get(entry.lane) is not entry:
            return True  # it was said twice, and waits to be said again since the first refusal
        now = self._clock.monotonic()
        # `not_joined`: it crossed with the channel's end, which we are about to hear of, and may come back from.
        is_passing = refusal.retry or refusal.code == NotJoined.code
        if not is_passing or entry.is_forgotten(now):
            self._drop(entry).fail(Refused(refusal.code, refusal.message, retry=refusal.retry))
            self.pump()
            return True
        if refusal.code == TOO_FAST:
            self._pace.slow_down()
        else:
            entry.not_before = now + backoff(entry.tries, self._chance)
            entry.tries += 1
        self._under_way.pop(entry.lane, None)
        insort(self._unsaid, entry, key=_number)
        self.pump()
        return True

    def end(self, channel: str) -> None:
        """Nothing will be said in `channel` any more."""
        self._ready.discard(channel)
        self._unmark(channel)
        for entry in self._of(channel):
            was_said = entry.said is not None and not entry.is_harmless
            self._drop(entry).fail(Unconfirmed() if was_said else NotOpen())

    def wait(self, timeout: float, channel: str = "") -> None:
        """Return when all that was asked, in `channel` or anywhere, is answered, or after `timeout` seconds.  Blocks."""
        with suppress(TimeoutError), gevent.Timeout(timeout, TimeoutError()):
            for entry in self._of(channel) if channel else list(self._entries.values()):
                with suppress(ChatError):
                    entry.receipt.wait()

    def pump(self) -> None:
        """Say what can be said.  Never yields."""
        self._cancel()
        if self._send is None:
            return
        now = self._clock.monotonic()
        delays: dict[_Lane, float] = dict.fromkeys(self._under_way, inf)  # until the next one; endless ones end by `pump`
        rest: list[_Entry] = []
        for entry in self._unsaid:
            if entry.channel in self._ready and entry.lane not in delays:
                delays[entry.lane] = self._delay(entry.not_before, now)
                if delays[entry.lane] <= 0:
                    delays[entry.lane] = inf
                    self._say(entry, now)
                    continue
            rest.append(entry)
        self._unsaid = rest
        soonest = min(
            [*delays.values(), *(self._mark(channel, now) for channel in self._unmarked & self._ready)], default=inf
        )
        if soonest < inf:
            self._timer = self._clock.later(max(soonest, MOMENT), self.pump)

    def _unmark(self, channel: str) -> None:
        self._marks.pop(channel, None)
        self._unmarked.discard(channel)

    def _delay(self, not_before: float, now: float) -> float:
        """Seconds until something may be said."""
        return inf if self._is_jammed() else max(not_before - now, self._pace.delay())

    def _say(self, entry: _Entry, now: float) -> None:
        if entry.said is None:
            entry.said = now
        self._under_way[entry.lane] = entry
        self._transmit(entry.data)

    def _mark(self, channel: str, now: float) -> float:
        """Say how far it was read, or return in how many seconds that may be."""
        mark = self._marks[channel]
        delay = self._delay(mark.not_before, now)
        if delay > 0:
            return delay
        mark.not_before = now + MARK_EVERY
        self._unmarked.discard(channel)
        self._transmit(msgspec.json.encode(mark.request))
        return inf

    def _transmit(self, data: bytes) -> None:
        assert self._send is not None
        self._pace.spend()
        self._send(data)

    def _of(self, channel: str) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.channel == channel]

    def _drop(self, entry: _Entry) -> Receipt[Any]:
        del self._entries[entry.receipt.id]
        if entry in self._unsaid:
            self._unsaid.remove(entry)
        elif self._under_way.get(entry.lane) is entry:
            del self._under_way[entry.lane]
        return entry.receipt

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _number(entry: _Entry) -> int:
    return entry.number
