"""What the state machine of `test_model.py` knows: whom it let in, what was said, and what must have come of it.

Only the truth about membership is predicted.  What a channel said is not: its log is, and everything heard is held against
that.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import gevent

from chat import ChatChannel, RestrictedChatChannel
from chat.closing import Closing
from chat.conn import OnGone, OnMessage
from chat.errors import BrokerUnavailable
from chat.event import Event, Logged
from chat.member import Member, Resume, State
from chat.requests import Request
from chat.testing import TurnedClock
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive, ThreeMethods

DEADLINE_PASSED = "left a deadline behind"
EXPECTED_FAULTS = ("encode failed", "on_connect failed", "on_disconnect failed", BrokerUnavailable.text, DEADLINE_PASSED)
REMEMBERED = 300.0  # seconds in which an id is known again
ACTIVE = (State.RESERVED, State.JOINING, State.LIVE)


def numbers(text: str) -> list[int]:
    """Each text that is said holds a number of its own, whatever an encoder makes of it."""
    return [int(number) for number in re.findall(r"\bm(\d+)\b", text)]


class Fate(Enum):
    """What must come of something that was said."""

    HEARD = "heard"
    UNKNOWN = "unknown"  # the channel ended, or its log refused
    UNHEARD = "unheard"


@dataclass(eq=False)
class Saying:
    """Something that was said."""

    number: int
    fate: Fate
    sender: str = ""
    to: str | None = None
    id: str | None = None
    ears: "Sequence[Seat]" = ()
    """For a whisper: who is to hear it, if they stay."""


@dataclass(eq=False)
class Room:
    """A channel of one epoch, through all the objects that stand for it."""

    channel: ChatChannel
    stirred: float
    """When something may have happened there last."""
    name: str = field(init=False)
    epoch: str = field(init=False)
    used: float = field(init=False)
    """When something happened there for certain."""
    closed: bool = False
    """Its name is free."""
    stopped: bool = False
    """It waits for another server."""
    seats: "list[Seat]" = field(default_factory=list)
    sayings: dict[int, Saying] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name, self.epoch, self.used = self.channel.name, self.channel.epoch, self.stirred

    def come_back(self, channel: ChatChannel, now: float) -> None:
        """`channel` stands for it now."""
        if channel is not self.channel:
            self.channel, self.stopped = channel, False
            self.used = now
        self.stirred = now

    @property
    def is_deserted(self) -> bool:
        return all(seat.member.state is State.GONE for seat in self.seats)

    def active(self, username: str | None = None) -> "list[Seat]":
        """Who has a name here, by the members' own states."""
        return [
            seat for seat in self.seats if seat.member.state in ACTIVE and (username is None or seat.username == username)
        ]

    def live(self, username: str) -> "list[Seat]":
        return [seat for seat in self.seats if seat.is_live and seat.username == username]


@dataclass(eq=False)
class Seat:
    """One connection of one user in one channel, from the reserved name on."""

    room: Room
    username: str
    member: Member
    conn: "ModelConn | Outsider | None" = None
    resume: Resume | None = None
    joined_in_fault: bool = False
    beyond: bool = False
    """It came back to an offset beyond the end, which may have been reached before its turn came."""
    ends: set[int] = field(default_factory=set)
    """Codes with which it must have ended, whichever came first."""
    frail: set[int] = field(default_factory=set)
    """Codes with which it may."""
    asked: list[Saying] = field(default_factory=list)
    """Requests that reached the channel."""

    @property
    def is_live(self) -> bool:
        return self.member.state is State.LIVE

    @property
    def rests(self) -> bool:
        """Nothing is under way any more."""
        if self.member.state in (State.JOINING, State.LEAVING):
            return False
        if isinstance(self.conn, ModelConn):
            return not self.is_live or not self.conn.unread
        return True


def must_end(seats: Iterable[Seat], code: int) -> None:
    for seat in seats:
        seat.ends.add(code)


class RecordedArchive(GatedArchive):
    """Keeps what it was given, and when, beyond the reach of whoever gave it."""

    def __init__(self, clock: TurnedClock) -> None:
        super().__init__()
        self.clock = clock
        self.logs: dict[str, list[tuple[float, Logged]]] = {}

    def append(self, log: str, events: Sequence[Logged]) -> None:
        now = self.clock.monotonic()
        super().append(log, events)
        self._record(now, log, events)

    def append_at_once(self, log: str, events: Sequence[Logged]) -> bool:
        if is_kept := super().append_at_once(log, events):
            self._record(self.clock.monotonic(), log, events)
        return is_kept

    def _record(self, now: float, log: str, events: Sequence[Logged]) -> None:
        kept = self.logs.setdefault(log, [])
        assert [event.offset for event in events] == list(range(len(kept) + 1, len(kept) + len(events) + 1))
        kept += [(now, copy(event)) for event in events]

    def log_of(self, room: Room) -> list[Logged]:
        return [event for _, event in self.logs.get(room.channel.log, [])]


class ModelConn(DirectFake):
    """Breaks when `fuse` writes are done, in the middle of the fan-out; keeps apart what is written after its end."""

    def __init__(self, write_buf: int = 1 << 20) -> None:
        super().__init__(EventFormat(), write_buf)
        self.fuse = -1
        self.late: list[bytes] = []
        self.on_request = lambda _request: None
        self.on_end = lambda: None

    def start(self, on_message: OnMessage, on_gone: OnGone) -> None:
        def hear(request: Request) -> None:
            self.on_request(request)
            on_message(request)

        super().start(hear, on_gone)

    def write(self, data: bytes) -> None:
        if self.closing is not None and self.started:
            self.late.append(data)
        if self.closing is not None:
            return
        if not self.fuse:
            self.hang_up()
            return
        self.fuse -= 1
        super().write(data)

    def _end(self, closing: Closing) -> None:
        if self.closing is None:
            self.on_end()
        super()._end(closing)

    @property
    def sent(self) -> list[Event]:
        """What was written, whether or not the peer reads it."""
        assert isinstance(self.format, EventFormat)
        return self.format.decode(b"".join([*self.writes, *self._queue]))

    @property
    def belated(self) -> list[Event]:
        assert isinstance(self.format, EventFormat)
        return self.format.decode(b"".join(self.late))


class Outsider(ThreeMethods):
    """A transport with greenlets around; its `send_str` raises when `fuse` texts are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = -1

    def send_str(self, msg: str) -> None:
        if not self.fuse:
            raise ConnectionResetError
        self.fuse -= 1
        super().send_str(msg)


class Machine(Protocol):
    """What hooks make the state machine do."""

    def speak(self, channel: ChatChannel | RestrictedChatChannel) -> None: ...
    def kick(self, channel: ChatChannel, user: str) -> None: ...
    def end(self, channel: ChatChannel) -> None: ...


class Faults(logging.Handler):
    """What the server reports."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.unexpected: list[str] = []
        self.deadlines = 0
        """How many that hooks had left behind passed in the middle of a call that they must not cut short."""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        self.deadlines += DEADLINE_PASSED in said
        if record.exc_info and isinstance(record.exc_info[1], gevent.Timeout):  # it passed anywhere else
            return
        if not any(expected in said for expected in EXPECTED_FAULTS):
            self.unexpected.append(f"{said}: {record.exc_info}")


class Controller:
    """Does in its hooks what texts, and the machine, tell it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.greeting = ""
        self.parting = ""
        self.deadlines: list[gevent.Timeout] = []

    def encode(self, channel: ChatChannel, date: object, msg: str, sender: str, to: str) -> str:
        if numbers(msg):
            self._act(msg.split()[0], channel, sender)
        return "" if msg.startswith("cancel") else f"<{msg}>"

    def on_connect(self, channel: ChatChannel, username: str) -> None:
        self._act(self.greeting, channel, username)

    def on_disconnect(self, channel: RestrictedChatChannel, username: str) -> None:
        self._act(self.parting, channel, username)

    def _act(self, what: str, channel: ChatChannel | RestrictedChatChannel, username: str) -> None:
        if what == "deadline":
            self.deadlines.append(gevent.Timeout.start_new(0))
            return
        while self.deadlines:  # what a hook leaves behind for other hooks is their own affair
            self.deadlines.pop().close()
        if what == "raise":
            raise ValueError(username)
        if what == "yield":
            gevent.sleep(0)
        elif what == "speak":
            self.machine.speak(channel)
        elif isinstance(channel, ChatChannel) and what == "kick":
            self.machine.kick(channel, username or "ada")
        elif isinstance(channel, ChatChannel) and what == "close":
            self.machine.end(channel)
