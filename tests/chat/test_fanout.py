"""One write a member and turn, one encoding a format and turn."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter

import gevent
import pytest
from gevent import get_hub

from chat.broker import MemoryBroker, Place, Subscriber, parcel
from chat.closing import KICKED
from chat.event import Joined, Message, Whisper
from chat.fanout import LOOK, SLICE
from chat.packed import Packed
from chat.registry import ChannelRecord
from chat.requests import Publish
from chat.turn import yield_turn
from tests.chat.fakes import DirectFake, EventFormat
from tests.chat.steps import enter, enter_directly, hear_until, wait_until


@pytest.fixture
def form() -> EventFormat:
    return EventFormat()


def join_all(lobby, form: EventFormat, many: int) -> list[DirectFake]:
    conns = [enter_directly(lobby, f"user {number}", form) for number in range(many)]
    lobby.flush()
    form.batches.clear()
    for conn in conns:
        conn.writes.clear()
    return conns


def test_a_batch_is_encoded_once_however_many_members_there_are(lobby, form):
    conns = join_all(lobby, form, 50)
    for number in range(20):
        lobby.new_system_broadcast(str(number))
    lobby.flush()

    assert [[event.text for event in batch] for batch in form.batches] == [[str(number) for number in range(20)]]
    assert all(len(conn.writes) == 1 for conn in conns)


def test_everybody_of_a_format_gets_the_same_bytes(lobby, form):
    conns = join_all(lobby, form, 10)
    lobby.new_system_broadcast("hello")
    lobby.flush()

    assert len({id(conn.writes[0]) for conn in conns}) == 1


def test_each_format_is_asked_once(lobby):
    forms = [EventFormat(), EventFormat()]
    conns = [enter_directly(lobby, f"user {number}", forms[number % 2]) for number in range(10)]
    plain = enter(lobby, "plain")
    lobby.flush()
    for form in forms:
        form.batches.clear()
    lobby.new_system_broadcast("hello")
    for conn in conns:
        conn.wait_for(Message)

    assert [len(form.batches) for form in forms] == [1, 1]
    hear_until(plain, "hello")


def test_a_format_that_nobody_uses_any_more_is_not_asked(lobby, form):
    (conn,) = join_all(lobby, form, 1)
    conn.hang_up()
    lobby.flush()
    form.batches.clear()
    lobby.new_system_broadcast("hello")
    lobby.flush()

    assert form.batches == []


def test_a_whisper_is_encoded_for_its_ends_and_not_for_the_others(lobby, form):
    conns = join_all(lobby, form, 20)
    lobby.new_whisper("psst", "user 0", "user 1")
    lobby.flush()

    assert [bool(conn.writes) for conn in conns] == [True, True] + [False] * 18
    assert all(isinstance(event, Whisper) for batch in form.batches for event in batch)


def test_what_is_for_one_alone_shares_a_write_with_what_is_for_all(lobby, form):
    conns = join_all(lobby, form, 3)
    conns[0].say("hello", id="a-1")
    lobby.flush()

    assert [len(conn.writes) for conn in conns] == [1, 1, 1]
    assert [type(event).__name__ for event in conns[0].events] == ["Message", "Ack"]


def test_a_member_that_ends_while_it_is_written_to_costs_nobody_anything(lobby, form):
    conns = join_all(lobby, form, 5)
    slow = enter_directly(lobby, "slow", form, write_buf=1)
    slow.stall()
    for number in range(10):
        lobby.new_system_broadcast(str(number))
        lobby.flush()

    assert slow.closing.code == 4008
    for conn in conns:
        assert [event.text for event in conn.wait_for(Message, 10)] == [str(number) for number in range(10)]


def test_nothing_is_written_to_who_has_been_dropped(lobby, form):
    conns = join_all(lobby, form, 2)
    lobby.new_system_broadcast("too late for one")
    lobby.remove_user("user 0")
    lobby.flush()

    assert conns[0].closing == KICKED
    assert conns[0].writes == []
    assert [event.text for event in conns[1].wait_for(Message)] == ["too late for one"]


@pytest.mark.logs_errors
def test_a_conn_that_breaks_its_promise_costs_that_turn_only(lobby, form, caplog):
    class Broken(DirectFake):
        def write(self, data: bytes) -> None:
            if self.started:
                raise RuntimeError("on purpose")

    ada = enter_directly(lobby, "ada", form)
    broken = Broken(form)
    lobby.connect_user("broken", broken)
    lobby.new_system_broadcast("one")
    lobby.flush()
    lobby.remove_user("broken")
    lobby.new_system_broadcast("two")
    lobby.flush()

    assert [event.text for event in ada.wait_for(Message, 2)][-1] == "two"
    assert "could not be written" in caplog.text


def test_others_have_their_turn_while_a_large_room_is_written_to(lobby, form):
    turns: list[bool] = []  # of somebody else, who has had none when the writing begins
    seen: list[int] = []  # how many there had been at each write

    class Slow(DirectFake):
        def write(self, data: bytes) -> None:
            if not seen:
                gevent.spawn(turns.append, True)
            seen.append(len(turns))
            sum(range(8000))  # some 0.1 ms without a yield
            super().write(data)

    for number in range(500):
        lobby.connect_user(f"user {number}", Slow(form))
    lobby.flush()
    turns.clear()
    seen.clear()
    lobby.new_system_broadcast("to many")
    lobby.flush()

    assert len(seen) == 500
    assert (seen[0], seen[-1]) == (0, 1)


def test_who_leaves_while_others_are_written_to_gets_nothing_more(lobby, form):
    to_kick: list[str] = []
    late: list[str] = []

    class Slow(DirectFake):
        def write(self, data: bytes) -> None:
            if to_kick:
                gevent.spawn(lobby.remove_user, to_kick.pop())
            if self.closing is not None:  # which a socket that other channels share would not be
                late.append(self.closing.reason)
            sum(range(8000))  # some 0.1 ms without a yield
            super().write(data)

    for number in range(500):
        lobby.connect_user(f"user {number}", Slow(form))
    lobby.flush()
    to_kick.append("user 499")
    lobby.new_system_broadcast("to many")
    lobby.flush()

    assert (lobby.count(), late) == (499, [])


def test_flush_returns_when_all_has_been_written(lobby):
    ada = enter_directly(lobby, "ada")
    for number in range(600):
        lobby.new_system_broadcast(str(number))
    lobby.flush()

    assert len([event for event in ada.events if isinstance(event, Message)]) == 600


def test_a_member_hears_its_join_before_anything_that_is_said_later(lobby):
    for number in range(20):
        lobby.new_system_broadcast("noise")
        conn = enter_directly(lobby, f"user {number}")
        lobby.new_system_broadcast("more noise")
        conn.wait_for(Message)
        kinds = [type(event) for event in conn.events if not isinstance(event, Message) or event.text != "noise"]
        assert kinds[1] is Joined
        assert "noise" not in [event.text for event in conn.events if isinstance(event, Message)]


def test_a_probe_reaches_every_member_of_a_silent_channel(lobby, clock):
    conns = [enter_directly(lobby, user) for user in ("ada", "bob")]
    lobby.flush()
    clock.advance(301)

    wait_until(lambda: [conn.probes for conn in conns] == [1, 1])


class Slow(DirectFake):
    """Takes a tenth of a slice for each write, or so many slices."""

    def __init__(self, form, *, slices: float = 0.1) -> None:
        super().__init__(form)
        self._slices = slices

    def write(self, data):
        until = perf_counter() + SLICE * self._slices
        while perf_counter() < until:
            pass
        super().write(data)


def test_while_a_large_room_is_written_to_the_sockets_have_their_turn(lobby, form):
    conns = [Slow(form) for _ in range(200)]
    for number, conn in enumerate(conns):
        lobby.connect_user(f"user {number}", conn)
    lobby.flush()
    before = [len(conn.writes) for conn in conns]
    here, there = os.pipe()
    written: list[int] = []  # how many had it when something came by a socket
    watcher = get_hub().loop.io(here, 1)  # readable

    def look() -> None:
        os.read(here, 1)
        written.append(sum(len(conn.writes) > count for conn, count in zip(conns, before, strict=True)))

    watcher.start(look)
    try:
        lobby.new_system_broadcast("hello")
        conns[0].wait_for(Message)
        os.write(there, b"x")
        lobby.flush()
    finally:
        watcher.close()
        os.close(here)
        os.close(there)

    assert len(written) == 1
    assert written[0] <= 2 * LOOK


class Answering(Slow):
    """Does something at the next write, once it is armed."""

    def __init__(self, form) -> None:
        super().__init__(form)
        self.answer = lambda: None

    def write(self, data):
        super().write(data)
        answer, self.answer = self.answer, lambda: None
        answer()


def test_after_a_turn_of_several_slices_what_sockets_have_brought_is_in_the_next_one_too(lobby, form):
    first, last = Answering(form), Answering(form)
    for number, conn in enumerate([first, *(Slow(form) for _ in range(LOOK)), last]):
        lobby.connect_user(f"user {number}", conn)
    lobby.flush()
    form.batches.clear()
    here, there = os.pipe()
    watcher = get_hub().loop.io(here, 1)  # readable
    watcher.start(lambda: os.read(here, 1) and last.ask(Publish("late")))
    first.answer = lambda: first.ask(Publish("early"))
    last.answer = lambda: os.write(there, b"x")
    try:
        lobby.new_system_broadcast("hello")
        last.wait_for(Message, 3)
    finally:
        watcher.close()
        os.close(here)
        os.close(there)

    assert [[event.text for event in batch] for batch in form.batches] == [["hello"], ["early", "late"]]


class Elsewhere(MemoryBroker):
    """Of which other processes are a part, whose words the test says."""

    waits = True

    def open(self, record: ChannelRecord, subscriber: Subscriber) -> Place:
        self._subscriber = subscriber
        place = super().open(record, subscriber)
        self._offset = place.offset
        return place

    def say(self, *processes: str) -> None:
        """One word each."""
        for process in processes:
            self._offset += 1
            message = Message("", f"{self._offset} {process}", datetime.now(UTC), offset=self._offset)
            self._subscriber.heard([message], process)

    def hand_over(self, events: Sequence[Message]) -> None:
        """As another process has said them."""
        self._subscriber.heard(events, "p1")


@pytest.mark.logs_errors
def test_what_cannot_be_read_is_missed_and_nothing_else(make_server):
    broker = Elsewhere()
    room = make_server(backends={"broker": broker}).create_channel("room")
    ann = enter_directly(room, "ann")
    bob = DirectFake(EventFormat())
    broker.hand_over(Packed(b'{"type":"message","sender":1}\n', 1, 1))
    room.connect_user("bob", bob)
    broker.hand_over(Packed(parcel.lines_of([Message("", "readable", datetime.now(UTC))]), 2, 1))
    room.flush()

    assert bob.started
    for conn in (ann, bob):
        assert [(event.text, event.offset) for event in conn.events if isinstance(event, Message)] == [("readable", 2)]


class TestWhatOtherProcessesSay:
    """A turn costs a large room the same however much it writes."""

    ROUNDS = 20

    @pytest.fixture
    def broker(self) -> Elsewhere:
        return Elsewhere()

    @pytest.fixture
    def room(self, make_server, broker, form):
        return make_server(backends={"broker": broker}).create_channel("room")

    def rounds(self, room, broker: Elsewhere, dear: DirectFake, first: tuple[str, ...], then: Callable[[], None]) -> int:
        """In how many rounds one write brought all that was said after a turn with the words of `first`."""
        wrote_once = 0
        for _ in range(self.ROUNDS):
            broker.say(*first)
            room.flush()
            dear.writes.clear()
            then()
            for _ in range(5):
                yield_turn()
            wrote_once += len(dear.writes) == 1
            room.flush()
        return wrote_once

    def test_is_in_one_turn_where_it_was_in_the_last_one(self, room, broker, form):
        dear = Slow(form, slices=0.4)
        room.connect_user("dear", dear)

        def one_after_the_other() -> None:
            broker.say("p1")
            for _ in range(5):
                yield_turn()
            broker.say("p2")

        assert self.rounds(room, broker, dear, ("p1", "p2"), one_after_the_other) > self.ROUNDS / 2

    def test_is_not_waited_for_where_one_process_speaks_alone(self, room, broker, form):
        dear = Slow(form, slices=0.4)
        room.connect_user("dear", dear)

        assert self.rounds(room, broker, dear, ("p1",), lambda: broker.say("p1")) == self.ROUNDS

    def test_is_not_waited_for_once_there_is_as_much_as_there_was(self, room, broker, form):
        dear = Slow(form, slices=0.4)
        room.connect_user("dear", dear)

        assert self.rounds(room, broker, dear, ("p1", "p2", "p1"), lambda: broker.say("p1", "p1", "p1")) == self.ROUNDS

    def test_is_not_waited_for_where_a_turn_takes_no_time(self, room, broker, form):
        cheap = enter_directly(room, "cheap", form)

        assert self.rounds(room, broker, cheap, ("p1", "p2"), lambda: broker.say("p1")) == self.ROUNDS

    def test_is_waited_for_no_longer_than_that_is_worth(self, room, broker, form):
        dear = Slow(form, slices=0.4)
        room.connect_user("dear", dear)
        broker.say("p1", "p2")
        room.flush()
        broker.say("p1")

        assert [event.text for event in dear.wait_for(Message, 3)] == ["1 p1", "2 p2", "3 p1"]
