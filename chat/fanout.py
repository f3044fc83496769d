"""From the broker to the members: one greenlet a channel, one write per member and turn.

All that waits is taken at once; each event is encoded once per format, and every member gets the same bytes, however many
messages they hold.  With one message in flight its latency is that of a direct write; only a large room that is busy waits
for what is about to come: see `chat.pace`.
"""

from collections.abc import Callable, Iterable, Sequence
from logging import Logger
from time import perf_counter
from typing import Final, NamedTuple, TypeAlias

import gevent
from gevent.event import Event as Flag

from chat.broker import Place
from chat.conn import Sink
from chat.crowd import LARGE
from chat.errors import ChatError
from chat.event import LOGGED, Ack, Event, IsTyping, Logged, Message, Page, Published, Refusal, User, Welcome, Whisper
from chat.format import Format
from chat.member import Member, State, Step
from chat.pace import Pace
from chat.packed import Packed
from chat.turn import yield_turn

SLICE: Final = 0.005  # seconds of writing before other channels and sockets get a turn
BACKLOG: Final = 256  # items that wait while a turn is written, before publishers wait
LOOK: Final = 64  # writes between two looks at the clock: about 0.3 ms


class Arrival(NamedTuple):
    """A member that is listed and shall hear everything from here on."""

    member: Member
    welcome: Welcome
    missed: Sequence[Logged]
    """What was logged between where it stopped and here."""


class Note(NamedTuple):
    """Something for one member alone."""

    member: Member
    event: Ack | Refusal | Page


class Moved(NamedTuple):
    """The log goes on from another place, which all members are told as if they had come back."""

    place: Place


class Again(NamedTuple):
    """All members are told who is here, as if they had come back and missed nothing."""

    epoch: str


class Batch(NamedTuple):
    """Some that the broker has handed over together."""

    events: Sequence[Published]


Group: TypeAlias = dict[Member, Sink]  # members that get the same bytes
Item: TypeAlias = Batch | Arrival | Note | Moved | Again
ReadRoster: TypeAlias = Callable[[], tuple[tuple[User, ...], int]]
"""Some of the users that are here, and how many they are.  May block.  Raises: ChatError; then an `Again` will follow."""


class Turn:
    """What one turn writes: the same to everybody, and something more to some."""

    __slots__ = ("private", "public", "typing", "whispered")

    def __init__(self) -> None:
        self.public: list[Event] = []
        self.private: dict[Member, list[Event]] = {}
        self.typing: dict[str, IsTyping] = {}  # by username; everybody else is told
        self.whispered = False


class Fanout:
    """The members of one channel in this process, and what is on its way to them."""

    def __init__(self, offset: int, log: Logger, read_roster: ReadRoster) -> None:
        self._log = log
        self._read_roster = read_roster
        self.offset = offset  # of the last event that was written
        self._items: list[Item] = []
        self._waiting = 0  # in them, each event counted
        self._is_logged = False  # something of the log is among them
        self._work = Flag()
        self._written = 0  # so far, counted alike
        self._writing = 0  # in this turn
        self._wrote = Flag()
        self._room = Flag()
        self._groups: dict[Format, Group] = {}
        self._users: dict[str, tuple[Member, ...]] = {}
        self._pace = Pace(lambda: self._waiting)
        self._was_sliced = False  # whether others had a turn in the middle of it
        self._greenlet = gevent.spawn(self._run)

    def expect(self, wait_for_log: Callable[[float], None]) -> None:
        """Let what is on its way to the log be written with what is in it by now, where that saves work.

        `wait_for_log` returns when nothing is on its way, or after that many seconds.
        """
        self._pace.wait_for_log = wait_for_log

    def heard(self, events: Sequence[Published], process: str = "") -> None:
        """Take a batch from the broker, of that process.  Never yields."""
        if isinstance(events, Packed) or any(isinstance(event, LOGGED) for event in events):
            self._is_logged = True
        self._pace.heard(process)
        self._put(Batch(events), len(events))

    def put(self, item: Arrival | Note | Moved | Again) -> None:
        """Take what is no event, in its place among the batches.  Never yields."""
        if not isinstance(item, Again) or item not in self._items:
            self._put(item, 1)

    @property
    def is_large(self) -> bool:
        """Whether so many users hear here that they are not told of every trifle."""
        return len(self._users) > LARGE

    def wait_for_room(self) -> None:
        """Return when little enough waits to be written.  Blocks.

        Writing to a large room takes many turns of the hub, in which sockets bring more; whoever publishes waits here, so
        that its inbox fills, and with it the senders' patience is what bounds the queue.
        """
        while self._waiting >= BACKLOG:
            self._room.clear()
            self._room.wait()

    def remove(self, member: Member) -> None:
        """Write to it no more.  Never yields; idempotent."""
        group = self._groups.get(member.conn.format, {})
        if member not in group:
            return
        del group[member]
        if not group:
            del self._groups[member.conn.format]
        others = tuple(other for other in self._users.pop(member.username) if other is not member)
        if others:
            self._users[member.username] = others

    def flush(self) -> None:
        """Return when all that was put has been written.  Blocks."""
        goal = self._written + self._writing + self._waiting
        while self._written < goal:
            self._wrote.clear()
            self._wrote.wait()

    def stop(self) -> None:
        """End the greenlet.  Blocks."""
        self._greenlet.kill()

    def _put(self, item: Item, many: int) -> None:
        self._items.append(item)
        self._waiting += many
        self._work.set()
        self._pace.more()

    def _run(self) -> None:
        while True:
            while self._items:
                if self._is_logged:  # who comes and goes, or types, waits for no log
                    self._pace.await_more()
                self._pace.begins()
                items, self._items = self._items, []
                self._writing, self._waiting = self._waiting, 0
                self._is_logged = False
                self._room.set()
                try:
                    self._turns(items)
                except Exception:
                    self._log.exception("a batch could not be written to everybody")
                self._pace.ends(min(self._writing, BACKLOG))
                self._written += self._writing
                self._writing = 0
                self._wrote.set()
                self._give_way()
            self._work.clear()
            self._work.wait()

    def _give_way(self) -> None:
        """Give the other greenlets a turn; what they have to tell becomes the next batch.

        Where sockets were heard between two slices, they are first: whoever heard the turn early has answered by now, and
        whoever heard it late shall be in the same batch, for two cost twice as much.
        """
        if self._was_sliced:
            self._was_sliced = False
            yield_turn()
            yield_turn()  # for the channel's greenlet, which was told only now
        else:
            gevent.sleep(0)

    def _turns(self, items: Iterable[Item]) -> None:
        turn = Turn()
        for item in items:
            if isinstance(item, Batch):
                turn = self._gather(turn, item.events)
            elif isinstance(item, Note):
                turn.private.setdefault(item.member, []).append(item.event)
            elif isinstance(item, Arrival):
                self._write(turn)
                turn = Turn()
                self._admit(item)
            elif isinstance(item, Moved):
                self._write(turn)
                turn = Turn()
                self.offset = item.place.offset
                self._greet(item.place.epoch, recovered=False)
            else:
                self._write(turn)
                turn = Turn()
                self._greet(item.epoch, recovered=True)
        self._write(turn)

    def _gather(self, turn: Turn, events: Sequence[Published]) -> Turn:
        """Add `events` to `turn`, or to another one where that had to be written."""
        if isinstance(events, Packed):
            messages = events = self._unpacked(events)
            if messages and not turn.whispered:
                turn.public += messages
                self.offset = messages[-1].offset
                return turn
        for event in events:
            if isinstance(event, Whisper):
                self._whisper(turn, event)
            elif isinstance(event, IsTyping):
                turn.typing[event.user.username] = event
            else:
                if turn.whispered:  # keep the order between a whisper and what was said after it
                    self._write(turn)
                    turn = Turn()
                turn.public.append(event)
                if isinstance(event, LOGGED):
                    self.offset = event.offset
        return turn

    def _unpacked(self, messages: Packed) -> list[Message]:
        """Those that cannot be read are missed, and nothing else."""
        try:
            return [*messages]
        except ValueError:
            self._log.exception("messages %d to %d cannot be read", messages.first, messages.last)
            return []

    def _whisper(self, turn: Turn, whisper: Whisper) -> None:
        turn.whispered = True
        for member in {*self._users.get(whisper.to, ()), *self._users.get(whisper.sender, ())}:
            turn.private.setdefault(member, []).append(whisper)

    def _admit(self, arrival: Arrival) -> None:
        member, welcome, missed = arrival
        if member.state is not State.JOINING:
            return
        member.step(Step.WELCOMED)
        self._groups.setdefault(member.conn.format, {})[member] = member.conn.sink
        self._users[member.username] = (*self._users.get(member.username, ()), member)
        welcome.offset = self.offset
        form = member.conn.format
        member.conn.write(form.encode([welcome]) + form.encode_for_one(missed))
        member.start()

    def _greet(self, epoch: str, *, recovered: bool) -> None:
        try:
            users, count = self._read_roster()
        except ChatError:  # who is here is told when that is known again
            if recovered:
                return
            users, count = (), 0
        for form, group in list(self._groups.items()):
            for member, sink in list(group.items()):
                welcome = Welcome(member.user, users, count, epoch, self.offset, recovered)
                sink.write(form.encode([welcome]))

    def _write(self, turn: Turn) -> None:
        """One write per member.  Yields only between slices; who ends meanwhile gets nothing any more."""
        slice_ends = perf_counter() + SLICE
        for form, group in list(self._groups.items()):
            typing = list(turn.typing.values())  # ahead of what is said: one's own message ends it
            shared = form.encode([*typing, *turn.public]) if typing or turn.public else b""
            apart = self._apart(turn, form, group, shared)
            sinks, done, count = tuple(group.values() if shared else apart), 0, len(group)
            while done < len(sinks):
                for sink in sinks[done : done + LOOK]:
                    sink.write(apart.get(sink, shared))
                done += LOOK
                if perf_counter() > slice_ends:
                    self._was_sliced = True
                    yield_turn()
                    slice_ends = perf_counter() + SLICE
                    if len(group) < count:  # it does not grow meanwhile: we admit nobody while we write
                        sinks, done, count = _staying(sinks[done:], group), 0, len(group)

    def _apart(self, turn: Turn, form: Format, group: Group, shared: bytes) -> dict[Sink, bytes]:
        """What those get who do not get just what everybody does."""
        begin: dict[Member, bytes] = {}
        for username in turn.typing:
            others = [item for item in turn.typing.values() if item.user.username != username]
            for member in self._users.get(username, ()):
                if member in group:
                    begin[member] = form.encode([*others, *turn.public])
        for member, events in turn.private.items():
            if member in group:
                begin[member] = begin.get(member, shared) + form.encode(events)
        return {group[member]: data for member, data in begin.items()}


def _staying(sinks: Sequence[Sink], group: Group) -> tuple[Sink, ...]:
    """Those that still lead to a member: a socket that other channels share stays open when one of them is left."""
    members = set(group.values())
    return tuple(sink for sink in sinks if sink in members)
