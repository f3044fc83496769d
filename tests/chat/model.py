"""What the state machine of `test_model.py` knows: whom it let in, what was said, and what must have come of it.

Only the truth about membership is predicted.  What a channel said is not: its log is, and everything heard is held against
that.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from chat import ChatChannel
from chat.closing import CHANNEL_CLOSED, GONE, Closing
from chat.conn import OnGone, OnMessage
from chat.errors import BadText, BrokerUnavailable, HookFailed, UserNotHere
from chat.event import Ack, Event, Joined, Left, Message, Refusal, Welcome, Whisper
from chat.member import Member, Resume, State
from chat.testing import TurnedClock
from chat.wire import Request
from tests.chat.fakes import DirectFake, EventFormat, GatedArchive, ThreeMethods

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
        self.logs: dict[tuple[str, str], list[tuple[float, Message]]] = {}
        self.forgotten = 0.0
        """Seconds added because another server has no memory of ids."""

    def append(self, channel: str, epoch: str, events: Sequence[Message]) -> None:
        now = self.clock.monotonic() + self.forgotten
        super().append(channel, epoch, events)
        log = self.logs.setdefault((channel, epoch), [])
        assert [event.offset for event in events] == list(range(len(log) + 1, len(log) + len(events) + 1))
        log += [(now, _copy(event)) for event in events]

    def log_of(self, room: Room) -> list[Message]:
        return [event for _, event in self.logs.get((room.name, room.epoch), [])]


def _copy(event: Message) -> Message:
    return Message(event.sender, event.text, event.date, event.id, event.offset, event.rendered)


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


# What must be so once everything has settled


def check_log(archive: RecordedArchive, room: Room) -> None:
    """Everything accepted is in the log once, nothing refused is, each member's in the order it was said."""
    entries = archive.logs.get((room.name, room.epoch), [])
    logged = Counter(number for _, event in entries for number in numbers(event.text))
    assert all(count == 1 for count in logged.values()), logged
    last: dict[tuple[str, str], float] = {}
    for when, event in entries:
        if event.id:
            before = last.get((event.sender, event.id))
            assert before is None or when - before >= REMEMBERED, f"{event.id} of {event.sender} is logged twice"
            last[event.sender, event.id] = when
    for saying in room.sayings.values():
        if saying.to is not None:
            assert saying.number not in logged
        elif saying.fate is Fate.UNHEARD:
            assert saying.number not in logged, saying
        elif saying.fate is Fate.HEARD:
            assert saying.number in logged or (saying.sender, saying.id) in last, saying
    for seat in room.seats:
        own = {saying.number for saying in seat.asked}
        order = [number for _, event in entries for number in numbers(event.text) if number in own]
        assert order == sorted(order)


def check_heard(archive: RecordedArchive, seat: Seat) -> None:
    """The member heard one contiguous run of the log, from where it was told to the end, or to its own."""
    log = archive.log_of(seat.room)
    if isinstance(seat.conn, Outsider):
        _check_lines(log, seat, seat.conn)
        return
    if seat.conn is None or not (events := seat.conn.sent):
        return
    welcome = events[0]
    assert isinstance(welcome, Welcome)
    assert not any(isinstance(event, Welcome) for event in events[1:])
    start = _start(seat, welcome)
    heard = [event for event in events if isinstance(event, Message)]
    assert heard == log[start : start + len(heard)], "a gap, a duplicate, or another order"
    whispers = [event for event in events if isinstance(event, Whisper)]
    assert all(seat.username in (event.sender, event.to) for event in whispers)
    assert max(Counter(number for event in whispers for number in numbers(event.text)).values(), default=1) == 1
    _check_acks(log, seat, events)
    if seat.member.state is State.LIVE or seat.ends == {CHANNEL_CLOSED.code}:
        assert start + len(heard) == len(log), "something was not heard by a member that stayed to the end"
    if seat.member.state is State.LIVE:
        _check_answers(seat, events)
        _check_people(seat, welcome, events)
        for saying in seat.room.sayings.values():
            if seat in saying.ears and saying.fate is Fate.HEARD:
                assert saying.number in [number for event in whispers for number in numbers(event.text)]


def _check_lines(log: Sequence[Message], seat: Seat, conn: Outsider) -> None:
    logged = [number for event in log for number in numbers(event.text)]
    heard = [number for text in conn.sent for number in numbers(text) if number in logged]
    if heard:
        start = logged.index(heard[0])
        assert heard == logged[start : start + len(heard)]
        assert seat.member.state is not State.LIVE or start + len(heard) == len(logged)


def _start(seat: Seat, welcome: Welcome) -> int:
    """The offset behind which it hears; `recovered` is held against the truth."""
    resume = seat.resume
    assert welcome.epoch == seat.room.epoch
    can_be = resume is not None and resume.epoch == welcome.epoch and 0 <= welcome.offset - resume.offset <= resume.limit
    assert welcome.recovered == can_be or (can_be and seat.joined_in_fault)
    return resume.offset if resume is not None and welcome.recovered else welcome.offset


def _check_acks(log: Sequence[Message], seat: Seat, events: Sequence[Event]) -> None:
    """Every ack's offset holds that message."""
    for event in events:
        if isinstance(event, Ack) and event.offset is not None:
            found = log[event.offset - 1]
            assert (found.sender, found.id) == (seat.username, event.id)


def _check_answers(seat: Seat, events: Sequence[Event]) -> None:
    """Every request with an id has one answer, and the right one."""
    asked = Counter(saying.id for saying in seat.asked if saying.id is not None)
    answers = [event for event in events if isinstance(event, Ack | Refusal) and event.id]
    assert Counter(event.id for event in answers) == asked
    allowed = {error.code for error in (BadText, BrokerUnavailable, HookFailed, UserNotHere)}
    assert {event.code for event in answers if isinstance(event, Refusal)} <= allowed
    for saying in seat.asked:
        if saying.id is not None and asked[saying.id] == 1 and saying.to is None:
            (answer,) = [event for event in answers if event.id == saying.id]
            offset = answer.offset if isinstance(answer, Ack) else None
            if saying.fate is Fate.HEARD:
                assert offset is not None
            elif saying.fate is Fate.UNHEARD:
                assert offset is None


def _check_people(seat: Seat, welcome: Welcome, events: Sequence[Event]) -> None:
    """Who follows joins and leaves knows who is here."""
    here = {user.username for user in welcome.users}
    for event in events:
        if isinstance(event, Joined):
            here.add(event.user.username)
        elif isinstance(event, Left):
            here.discard(event.username)
    assert here == {other.username for other in seat.room.seats if other.member.state is State.LIVE}


def check_end(seat: Seat) -> None:
    """It has ended if it had to, by the right code, and heard nothing that was said after."""
    conn = seat.conn
    if isinstance(conn, ModelConn) and conn.closing is not None and conn.closing.code in seat.frail:
        seat.ends.add(conn.closing.code)
    elif isinstance(conn, Outsider) and conn.closed.is_set() and GONE.code in seat.frail:
        seat.ends.add(GONE.code)
    if not seat.ends:
        assert seat.member.state in (State.RESERVED, State.LIVE), f"{seat.username} was lost"
        assert conn is None or (conn.closing is None if isinstance(conn, ModelConn) else not conn.closed.is_set())
    else:
        assert seat.member.state is State.GONE, f"{seat.username} is a ghost"
        if isinstance(conn, ModelConn) and conn.closing is not None:
            assert conn.closing.code in seat.ends


def check_late(seat: Seat, offset: int) -> None:
    """Of what came after its end, nothing was said after it; `offset` is what had been said then."""
    assert isinstance(seat.conn, ModelConn)
    assert all(event.offset <= offset for event in seat.conn.belated if isinstance(event, Message))
