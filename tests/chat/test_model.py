"""Whatever happens to channels, in whatever order: a state machine, with hypothesis to think of the orders.

`--hypothesis-profile=long` tries some thousands of them.
"""

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from typing import NamedTuple

import gevent
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from chat import ChatChannel, ChatServer, RestrictedChatChannel, ServerConf, fanout, pace
from chat.broker import MemoryBroker
from chat.closing import CHANNEL_CLOSED, GONE, KICKED, REPLACED, SERVER_CLOSED, SLOW
from chat.config import DUPLICATE_USER
from chat.conn import as_direct
from chat.errors import (
    BrokerUnavailable,
    ChannelClosed,
    ChatError,
    DuplicatedChannel,
    IdleChannel,
    InvalidChannel,
    UserAlreadyConnected,
    UserNotHere,
)
from chat.event import Message
from chat.member import Resume, State
from chat.presence import MemoryPresence
from chat.registry import MemoryRegistry
from chat.requests import Delete, Edit, Publish, Request
from chat.testing import TurnedClock, chat_greenlets
from chat.tokens import Grant
from tests.chat.fakes import LastingRegistry
from tests.chat.model import (
    REMEMBERED,
    Controller,
    Fate,
    Faults,
    ModelConn,
    Outsider,
    RecordedArchive,
    Room,
    Saying,
    Seat,
    must_end,
    numbers,
)
from tests.chat.verdicts import check_end, check_heard, check_late, check_log, reached

PHASES = (Phase.generate, Phase.shrink)  # what explains a fault traces each line, and takes minutes
IDLE = REMEMBERED  # seconds; a channel that is unloaded sooner forgets the ids it should know again

USERS = st.sampled_from(["ada", "bob", "cy"])
CHANNELS = st.sampled_from(["lobby", "attic"])
IDS = st.sampled_from([None, None, "i1", "i2", "i3"])
ADDRESSEES = st.sampled_from([None, None, "ada", "bob", "cy"])
CHANGES = st.tuples(st.booleans(), st.sampled_from([0, 0, 1, 2, 5, -1, -2]), st.sampled_from(["c1", "c2", "c3"]))
WHICH = st.integers(0, 9)
TEXTS = st.sampled_from([*[""] * 8, "bad", "raise", "cancel", "yield", "speak", "kick", "close", "deadline"])
GREETINGS = st.sampled_from(["", "", "", "raise", "yield", "speak", "kick", "close", "deadline"])
PARTINGS = st.sampled_from(["", "raise", "yield", "speak", "deadline"])

# What lets rules be tried only where they do something, and not end everything before it has begun.
SOMEBODY_IS_THERE = lambda self: self.pick_direct(0) is not None  # noqa: E731
A_NAME_IS_RESERVED = lambda self: self.pick_reserved(0) is not None  # noqa: E731
MUCH_WAS_SAID = lambda self: self.said > 20 * (self.endings + 1)  # noqa: E731


class WayIn(NamedTuple):
    """How somebody connects; `back` is how many events before the end they stopped, -1 for one beyond."""

    back: int | None = None
    limit: int = 1000
    waits: bool = False
    outside: bool = False
    """With a transport that blocks."""


WAYS_IN = st.builds(
    WayIn,
    st.sampled_from([None, -1, 0, 1, 3, 6, 20]),
    st.sampled_from([4, 1000]),
    st.booleans(),
    st.sampled_from([False, False, False, True]),
)


class Channels(RuleBasedStateMachine):
    """One server; in place of a process that ends, it is closed and another one goes on with the same registry and log.

    What may wait is done in greenlets, so that it happens in the middle of other things.
    """

    reached: Counter[str]
    """What came to pass in all runs together."""

    @initialize(
        lasting=st.booleans(),
        policy=st.sampled_from(DUPLICATE_USER),
        hooks=st.booleans(),
        inbox=st.sampled_from([1, 4, 1024]),
        recent=st.sampled_from([1, 4, 1000]),
        eager=st.booleans(),
    )
    def begin(self, lasting: bool, policy: str, hooks: bool, inbox: int, recent: int, eager: bool) -> None:
        gc.freeze()  # so that looking for greenlets is quick
        self.clock = TurnedClock()
        self.archive = RecordedArchive(self.clock)
        self.eager = eager
        self.lasting = lasting
        self.policy = policy
        self.recent = recent
        self.registry = (LastingRegistry if lasting else MemoryRegistry)(self.clock)
        self.controller = Controller(self)
        self.faults = Faults()
        logger = logging.Logger("model")
        logger.addHandler(self.faults)
        self.conf = ServerConf(
            controller=self.controller if hooks else None,
            logger=logger,
            inbox=inbox,
            duplicate_user=policy,
            channel_idle_timeout=IDLE,
        )
        self.hooks = hooks
        self.rooms: dict[str, Room] = {}
        self.calls: list[gevent.Greenlet] = []
        self.pending: list[Saying] = []
        self.ended_at: dict[Seat, int] = {}
        self.said = 0
        self.endings = 0
        self.faulty = False
        self.start()
        for user in ("ada", "bob"):
            self.enter("lobby", user, WayIn())

    def start(self) -> None:
        self.presence = MemoryPresence()
        self.server = ChatServer(
            self.conf,
            presence=self.presence,
            registry=self.registry,
            broker=MemoryBroker(self.archive, recent=self.recent, clock=self.clock),
            clock=self.clock,
        )
        self.is_open = True

    def call(self, work: Callable[[], None]) -> None:
        self.calls.append(gevent.spawn(work))
        if self.eager:
            gevent.idle()

    def on_channel(self, name: str, work: Callable[[ChatChannel], None]) -> None:
        """Do it to the channel of that name, which is made if there is none."""

        def do() -> None:
            with suppress(ChannelClosed, DuplicatedChannel, IdleChannel, InvalidChannel):
                try:
                    channel = self.server.get_channel(name)
                except (IdleChannel, InvalidChannel):
                    channel = self.server.create_channel(name)
                self.room_of(channel)
                work(channel)

        self.call(do)

    def room_of(self, channel: ChatChannel) -> Room:
        room = self.rooms.get(channel.epoch)
        if room is None:
            room = self.rooms[channel.epoch] = Room(channel, self.clock.monotonic())
        elif not channel.is_closed:
            room.come_back(channel, self.clock.monotonic())
        return room

    def seats(self) -> Iterator[Seat]:
        for room in self.rooms.values():
            yield from room.seats

    def pick(self, which: int, *states: State) -> Seat | None:
        found = [seat for seat in self.seats() if seat.member.state in states]
        return found[which % len(found)] if found else None

    def pick_reserved(self, which: int) -> Seat | None:
        found = [seat for seat in self.seats() if seat.member.state is State.RESERVED and seat.conn is None]
        return found[which % len(found)] if found else None

    def pick_direct(self, which: int) -> tuple[Seat, ModelConn] | None:
        found = [
            (seat, seat.conn) for seat in self.seats() if isinstance(seat.conn, ModelConn) and seat.conn.closing is None
        ]
        return found[which % len(found)] if found else None

    # Channels

    @precondition(MUCH_WAS_SAID)
    @rule(name=CHANNELS)
    def close(self, name: str) -> None:
        self.endings += 1
        self.on_channel(name, self.end)

    def end(self, channel: ChatChannel) -> None:
        room = self.room_of(channel)
        if channel.is_closed:
            return
        room.closed = True
        must_end(room.active(), CHANNEL_CLOSED.code)
        channel.close()
        assert channel.is_closed

    @rule(seconds=st.sampled_from([1.0, 100.0, 299.0, 300.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        busy = [room for room in self.rooms.values() if self.calls or self.pending or not room.is_deserted]
        self.clock.advance(seconds)
        for room in busy:  # what waits will be done only now
            room.stirred = self.clock.monotonic()

    # Users

    @rule(name=CHANNELS, user=USERS)
    def reserve(self, name: str, user: str) -> None:
        self.on_channel(name, lambda channel: self.take_seat(channel, user) and None)

    def take_seat(self, channel: ChatChannel, user: str) -> Seat | None:
        room = self.room_of(channel)
        holders = room.active(user)
        try:
            member = channel.reserve(Grant(user, channel.name))
        except UserAlreadyConnected:
            assert self.policy == "reject"
            assert holders
            return None
        except (ChannelClosed, IdleChannel):
            assert channel.is_closed
            return None
        assert not holders or self.policy != "reject"
        if self.policy == "replace":
            must_end(holders, REPLACED.code)
        seat = Seat(room, user, member)
        room.seats.append(seat)
        if not self.is_open:
            must_end([seat], SERVER_CLOSED.code)
        return seat

    @precondition(A_NAME_IS_RESERVED)
    @rule(which=WHICH, way=WAYS_IN)
    def join(self, which: int, way: WayIn) -> None:
        """With what was reserved."""
        if (seat := self.pick_reserved(which)) is not None:
            self.connect(seat, way)

    @rule(name=CHANNELS, user=USERS, way=WAYS_IN)
    def enter(self, name: str, user: str, way: WayIn) -> None:
        def enter(channel: ChatChannel) -> None:
            if (seat := self.take_seat(channel, user)) is not None:
                self.connect(seat, way)

        self.on_channel(name, enter)

    def new_conn(self, seat: Seat) -> ModelConn:
        conn = ModelConn(write_buf=200)
        conn.on_request = lambda request: self.asked(seat, request)
        conn.on_end = lambda: self.ended_at.setdefault(seat, len(self.archive.log_of(seat.room)))
        return conn

    def connect(self, seat: Seat, way: WayIn) -> None:
        if way.back is not None:
            last = len(self.archive.log_of(seat.room))
            seat.beyond = way.back < 0
            seat.resume = Resume(seat.room.epoch, max(0, last - way.back), way.limit)
        seat.conn = conn = Outsider() if way.outside else self.new_conn(seat)
        seat.joined_in_fault = self.faulty
        direct = as_direct(conn, self.conf.write_buf)

        def join() -> None:
            try:
                seat.member.join(direct, wait=way.waits, resume=seat.resume)
            except (ChannelClosed, IdleChannel, UserAlreadyConnected):
                assert seat.ends
                assert isinstance(conn, Outsider) or conn.closing in (None, GONE), "it is the caller's to close"

        if way.waits:
            self.call(join)
        else:
            join()

    @precondition(A_NAME_IS_RESERVED)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        if (seat := self.pick_reserved(which)) is not None:
            seat.ends.add(GONE.code)
            seat.member.cancel()

    @rule(name=CHANNELS, user=USERS)
    def remove_user(self, name: str, user: str) -> None:
        self.on_channel(name, lambda channel: self.kick(channel, user))

    def kick(self, channel: ChatChannel, user: str) -> None:
        room = self.room_of(channel)
        seats, listed = room.active(user), user in channel.get_users()
        if not channel.is_closed and listed:
            must_end(seats, KICKED.code)
        try:
            channel.remove_user(user)
        except UserNotHere:
            assert not listed
        except (ChannelClosed, IdleChannel):
            assert channel.is_closed

    # What connections do

    @precondition(SOMEBODY_IS_THERE)
    @rule(which=WHICH)
    def hang_up(self, which: int) -> None:
        if (seat := self.pick(which, State.LIVE, State.JOINING)) is not None:
            seat.ends.add(GONE.code)
            if isinstance(seat.conn, ModelConn):
                seat.conn.hang_up()
            else:
                seat.frail.add(GONE.code)
                seat.conn.fail(ConnectionResetError())

    @precondition(SOMEBODY_IS_THERE)
    @rule(which=WHICH, writes=st.integers(0, 3))
    def break_soon(self, which: int, writes: int) -> None:
        if (seat := self.pick(which, State.LIVE, State.JOINING)) is not None:
            seat.conn.fuse = writes
            seat.frail.add(GONE.code)

    @precondition(SOMEBODY_IS_THERE)
    @rule(which=WHICH, reads=st.booleans())
    def read(self, which: int, reads: bool) -> None:
        """Or read no more."""
        if (found := self.pick_direct(which)) is None:
            return
        seat, conn = found
        if reads:
            conn.catch_up()
        else:
            seat.frail.add(SLOW.code)
            conn.stall()

    # What is said

    @precondition(SOMEBODY_IS_THERE)
    @rule(which=WHICH, sayings=st.lists(st.tuples(TEXTS, IDS, ADDRESSEES), min_size=1, max_size=6))
    def say(self, which: int, sayings: list[tuple[str, str | None, str | None]]) -> None:
        if (found := self.pick_direct(which)) is not None:
            for what, id, to in sayings:
                found[1].say(self.text(what), id=id, to=to)

    @precondition(SOMEBODY_IS_THERE)
    @rule(which=WHICH, count=st.integers(2, 70))
    def flood(self, which: int, count: int) -> None:
        if (found := self.pick_direct(which)) is not None:
            for _ in range(count):
                found[1].say(self.text(""))

    @precondition(SOMEBODY_IS_THERE)
    @rule(which=WHICH, changes=st.lists(CHANGES, min_size=1, max_size=4))
    def change(self, which: int, changes: list[tuple[bool, int, str]]) -> None:
        """Edit or delete what they said, the `back`th from the end; or what is somebody's, or still to be said."""
        if (found := self.pick_direct(which)) is None:
            return
        seat, conn = found
        conn.say(self.text(""))
        gevent.idle()
        for deletes, back, id in changes:
            log = self.archive.log_of(seat.room)
            own = [event.offset for event in log if isinstance(event, Message) and event.sender == seat.username]
            target = own[-1 - back] if 0 <= back < len(own) else max(1, len(log) - back)
            conn.ask(Delete(target, id=id) if deletes else Edit(target, self.text(""), id=id))

    def asked(self, seat: Seat, request: Request) -> None:
        """A request reaches the channel."""
        if isinstance(request, Edit | Delete):
            self.said += 1
            number = numbers(request.text)[0] if isinstance(request, Edit) else self.said
            seat.asked.append(self.remember(seat.room, Saying(number, Fate.UNKNOWN, seat.username, None, request.id)))
            return
        assert isinstance(request, Publish)
        saying = self.remember(seat.room, Saying(*numbers(request.text), Fate.HEARD, seat.username, request.to, request.id))
        seat.asked.append(saying)
        what = request.text.split()[0]
        if what == "bad" or (self.hooks and what in ("raise", "cancel")):
            saying.fate = Fate.UNHEARD
        elif seat.room.channel.is_closed or self.faulty:
            saying.fate = Fate.UNKNOWN
        else:
            seat.room.used = self.clock.monotonic()
        if request.to is not None:
            ears = [other for user in {seat.username, request.to} for other in seat.room.live(user)]
            saying.ears = ears if seat.room.live(request.to) else ()

    @rule(name=CHANNELS)
    def announce(self, name: str) -> None:
        self.on_channel(name, self.speak)

    def speak(self, channel: ChatChannel | RestrictedChatChannel) -> None:
        text = self.text("")
        if isinstance(channel, RestrictedChatChannel):  # which does not tell its epoch
            with suppress(ChatError):
                channel.new_system_broadcast(text)
            return
        saying = self.remember(self.room_of(channel), Saying(*numbers(text), Fate.UNHEARD))
        with suppress(ChatError):
            channel.new_system_broadcast(text)
            saying.fate = Fate.UNKNOWN if self.faulty or channel.is_closed else Fate.HEARD

    def remember(self, room: Room, saying: Saying) -> Saying:
        room.sayings[saying.number] = saying
        self.pending.append(saying)
        return saying

    def text(self, what: str) -> str:
        self.said += 1
        return f"{what} m{self.said}" + ("\0" if what == "bad" else "")

    # The log, and time for others

    @rule(hangs=st.booleans())
    def log_hangs(self, hangs: bool) -> None:
        """Or goes on."""
        if hangs:
            self.archive.gate.clear()
        else:
            self.archive.gate.set()

    @rule()
    def log_refuses(self) -> None:
        self.faulty = True
        self.archive.fault = BrokerUnavailable()
        for saying in self.pending:
            if saying.fate is Fate.HEARD:
                saying.fate = Fate.UNKNOWN
        for seat in self.seats():
            seat.joined_in_fault |= seat.member.state in (State.RESERVED, State.JOINING)

    @precondition(lambda self: self.hooks and SOMEBODY_IS_THERE(self))
    @rule(which=WHICH)
    def a_deadline_passes_in_the_log(self, which: int) -> None:
        """One that a hook has left behind."""
        if (found := self.pick_direct(which)) is not None:
            self.archive.gate.clear()
            found[1].say(self.text("deadline"), id="i1")
            gevent.idle()

    @precondition(lambda self: self.hooks)
    @rule(greeting=GREETINGS, parting=PARTINGS)
    def hooks_change(self, greeting: str, parting: str) -> None:
        self.controller.greeting, self.controller.parting = greeting, parting

    @rule(turns=st.integers(1, 5))
    def others_work(self, turns: int) -> None:
        for _ in range(turns):
            gevent.sleep(0)

    # What must be so once all this is done

    @rule()
    def settle(self) -> None:
        self.archive.gate.set()
        with gevent.Timeout(20, AssertionError("it does not come to rest")):
            self.work()
            while not self.rests():
                self.work()
        self.check()
        self.archive.fault = None
        self.faulty = False
        self.pending.clear()

    def work(self) -> None:
        calls, self.calls = self.calls, []
        gevent.joinall(calls, raise_error=True)
        self.server.flush()
        for room in self.rooms.values():
            if room.channel.is_closed:
                room.channel.wait_ended()
        gevent.idle()

    def rests(self) -> bool:
        return not self.calls and all(seat.rests for seat in self.seats())

    def check(self) -> None:
        assert self.faults.unexpected == []
        for room in self.rooms.values():
            for seat in room.seats:
                check_end(seat)
                check_heard(self.archive, seat)
                if seat in self.ended_at:
                    check_late(seat, self.ended_at[seat])
            check_log(self.archive, room)
            if not room.stopped:
                self.check_room(room)
        if self.is_open:
            assert self.server.channels() == sorted(room.name for room in self.rooms.values() if not room.closed)
        assert len(chat_greenlets()) == self.justified()

    def check_room(self, room: Room) -> None:
        """Who is here is listed; idle channels have ended, and no others."""
        now = self.clock.monotonic()
        if not room.channel.is_closed:
            assert room.channel.get_users() == sorted({seat.username for seat in room.seats if seat.is_live})
            assert room.channel.offset == len(self.archive.log_of(room))
        if room.closed:
            assert room.channel.is_closed
        elif room.channel.is_closed:
            assert not room.active()
            assert now - room.used >= IDLE
            room.closed = not self.lasting
        elif room.active() or any(saying.number in room.sayings for saying in self.pending):
            room.stirred = now
        else:
            assert now - room.stirred < 2 * IDLE, "an idle channel is still there"
        if any(seat.is_live for seat in room.seats):
            room.used = now

    def justified(self) -> int:
        """How many greenlets there may be: two for a channel, two for a connection that blocks."""
        channels = sum(not room.channel.is_closed for room in self.rooms.values())
        return 2 * channels + 2 * sum(seat.is_live and isinstance(seat.conn, Outsider) for seat in self.seats())

    @precondition(MUCH_WAS_SAID)
    @rule()
    def restart(self) -> None:
        """The server is closed, and another one goes on."""
        self.endings += 1
        self.stop()
        self.start()

    def stop(self) -> None:
        self.archive.gate.set()
        for room in self.rooms.values():
            must_end(room.active(), SERVER_CLOSED.code)
        self.is_open = False
        self.server.close()
        self.work()  # a channel may just have been made
        for room in self.rooms.values():
            room.stopped = True
            room.closed |= not self.lasting
        self.settle()

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        try:
            self.settle()
            self.stop()
            assert chat_greenlets() == []
            self.reached.update({"deadlines": self.faults.deadlines})
            for seat in self.seats():
                self.reached.update(reached(seat))
            for room in self.rooms.values():
                assert self.presence.count(f"{room.name}/{room.epoch}") == 0
        except BaseException:
            gevent.killall(chat_greenlets())  # so that the next run does not fail for it
            raise


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is just now, the same choices have the same outcome: otherwise hypothesis complains."""
    monkeypatch.setattr(fanout, "SLICE", inf)
    monkeypatch.setattr(pace, "DEAR", inf)


@pytest.mark.usefixtures("no_time_passes")
def test_whatever_happens_nothing_is_lost_and_nothing_left_behind() -> None:
    Channels.reached = Counter()
    run_state_machine_as_test(
        Channels,
        settings=settings(max_examples=4 * settings().max_examples, stateful_step_count=50, phases=PHASES),
    )
    for what in ("recovered", "Ack", "Whisper", "Edited", "Deleted", "lines outside", "refused by the log"):
        assert Channels.reached[what] >= 20, Channels.reached
