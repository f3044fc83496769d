"""What must be so once everything has settled: the log, what each member heard of it, and how it ended."""

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from chat.closing import CHANNEL_CLOSED, GONE
from chat.errors import BadText, BrokerUnavailable, HookFailed, MessageDeleted, NoSuchMessage, NotYourMessage, UserNotHere
from chat.event import Ack, Deleted, Edited, Event, Joined, Left, Logged, Refusal, Welcome, Whisper
from chat.member import State
from tests.chat.model import REMEMBERED, Fate, ModelConn, Outsider, RecordedArchive, Room, Seat, numbers

UNCHANGEABLE = MessageDeleted, NoSuchMessage, NotYourMessage


def check_log(archive: RecordedArchive, room: Room) -> None:
    """Everything accepted is in the log once, nothing refused is, each member's in the order it was said."""
    entries = archive.logs.get(room.channel.log, [])
    logged = Counter(number for _, event in entries for number in numbers(text_of(event)))
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
        order = [number for _, event in entries for number in numbers(text_of(event)) if number in own]
        assert order == sorted(order)


def check_heard(archive: RecordedArchive, seat: Seat) -> None:
    """The member heard one contiguous run of the log, from where it was told to the end, or to its own."""
    log = archive.log_of(seat.room)
    if isinstance(seat.conn, Outsider):
        _check_lines(log, seat, seat.conn)
        return
    if seat.conn is None:
        return
    if not (events := seat.conn.sent):
        assert seat.member.state is not State.LIVE, f"{seat.username} is in, and was never told"
        return
    welcome = events[0]
    assert isinstance(welcome, Welcome)
    assert not any(isinstance(event, Welcome) for event in events[1:])
    start = _start(seat, welcome)
    heard = [event for event in events if isinstance(event, Logged)]
    gone = erased(log)
    for event, kept in zip(heard, log[start:], strict=False):
        is_erased = event.offset in gone and not isinstance(event, Deleted) and not event.text
        assert (replace(event, text=text_of(kept)) if is_erased else event) == kept, "a gap, a duplicate, or another order"
    whispers = [event for event in events if isinstance(event, Whisper)]
    assert all(seat.username in (event.sender, event.to) for event in whispers)
    assert max(Counter(number for event in whispers for number in numbers(event.text)).values(), default=1) == 1
    _check_acks(log, seat, events)
    assert start + len(heard) <= len(log)
    if seat.member.state is State.LIVE or seat.ends == {CHANNEL_CLOSED.code}:
        assert start + len(heard) == len(log), "something was not heard by a member that stayed to the end"
    if seat.member.state is State.LIVE:
        _check_answers(seat, events)
        _check_people(seat, welcome, events)
        heard_before: set[tuple[str | None, ...]] = set()  # which need not be heard again
        for saying in seat.room.sayings.values():
            key = saying.sender, saying.id, saying.to
            if seat in saying.ears and saying.fate is Fate.HEARD and key not in heard_before:
                assert saying.number in [number for event in whispers for number in numbers(event.text)]
            if saying.id is not None and saying.fate is not Fate.UNHEARD:
                heard_before.add(key)


def text_of(event: Logged) -> str:
    return "" if isinstance(event, Deleted) else event.text


def erased(log: Sequence[Logged]) -> set[int]:
    """The offsets of texts that were deleted; whoever comes late does not get them."""
    targets = {event.target for event in log if isinstance(event, Deleted)}
    return targets | {event.offset for event in log if isinstance(event, Edited) and event.target in targets}


def _check_lines(log: Sequence[Logged], seat: Seat, conn: Outsider) -> None:
    gone = erased(log)
    logged = [number for event in log if event.offset not in gone for number in numbers(text_of(event))]
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
    assert welcome.recovered == can_be or (can_be and (seat.joined_in_fault or seat.beyond))
    return resume.offset if resume is not None and welcome.recovered else welcome.offset


def _check_acks(log: Sequence[Logged], seat: Seat, events: Sequence[Event]) -> None:
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
    allowed = {error.code for error in (BadText, BrokerUnavailable, HookFailed, UserNotHere, *UNCHANGEABLE)}
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


def reached(seat: Seat) -> Counter[str]:
    """What came to pass for the member, of all that could be judged."""
    if isinstance(seat.conn, Outsider):
        return Counter({"lines outside": sum(bool(numbers(text)) for text in seat.conn.sent)})
    events = seat.conn.sent if seat.conn is not None else []
    seen = Counter(type(event).__name__ for event in events)
    seen["recovered"] = sum(isinstance(event, Welcome) and event.recovered for event in events)
    seen["refused by the log"] = sum(
        isinstance(event, Refusal) and event.code == BrokerUnavailable.code for event in events
    )
    return seen


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
    assert all(event.offset <= offset for event in seat.conn.belated if isinstance(event, Logged))
