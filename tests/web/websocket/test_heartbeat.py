"""Finding peers that have gone without a word."""

from collections.abc import Callable

import gevent
import pytest

from chat.clock import Timer
from chat.closing import STALE
from chat.testing import TurnedClock
from tests.chat.steps import never_yields
from tests.web.fakes import PONG, SocketFake, client_frame
from web.websocket.conn import PlainConn
from web.websocket.heartbeat import LOOKS, TICK, Heartbeat
from web.websocket.limits import SocketLimits
from web.websocket.peer import Rules

LIMITS = SocketLimits()
INTERVAL, PATIENCE = LIMITS.ping_interval, LIMITS.ping_timeout
LATE = 2 * TICK  # how late a look may be: connections lie in buckets of a second

MakePeer = Callable[[], SocketFake]


@pytest.fixture
def heartbeat(clock: TurnedClock) -> Heartbeat:
    return Heartbeat(LIMITS, clock)


@pytest.fixture
def make_peer(heartbeat: Heartbeat, clock: TurnedClock) -> MakePeer:
    """Makes sockets that are watched over and read."""

    def make() -> SocketFake:
        socket = SocketFake(clock)
        conn = PlainConn(socket, Rules.of(LIMITS, clock, lambda conn: heartbeat.forget(conn)))
        conn.start(lambda request: None, lambda closing: None)
        heartbeat.add(conn)
        gevent.sleep(0)  # reading begins in the hub's next turn
        return socket

    return make


def pass_time(clock: TurnedClock, seconds: float) -> None:
    """In ticks, as the hub would."""
    for _ in range(int(seconds)):
        clock.advance(1)
    clock.advance(seconds % 1)


def answer(socket: SocketFake) -> None:
    socket.hear(client_frame(b"", PONG))


def test_a_peer_that_is_silent_is_pinged_after_the_interval_and_not_before(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()

    pass_time(clock, INTERVAL - 0.1)
    assert socket.pings == 0
    pass_time(clock, LATE)
    assert socket.pings == 1


def test_a_peer_that_does_not_answer_is_stale(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    pass_time(clock, INTERVAL + LATE)
    assert socket.pings == 1

    pass_time(clock, PATIENCE - LATE)
    assert socket.closing is None
    pass_time(clock, 2 * LATE)
    assert socket.closing == STALE
    assert socket.frames[-1].closing == STALE


def test_a_peer_that_answers_each_ping_stays(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()

    for count in range(1, 20):
        pass_time(clock, INTERVAL + LATE)
        assert socket.pings == count
        answer(socket)

    assert socket.closing is None


def test_an_interval_shorter_than_the_patience_is_kept_too(clock: TurnedClock) -> None:
    limits, socket = SocketLimits(ping_interval=3.0), SocketFake(clock)
    heartbeat = Heartbeat(limits, clock)
    conn = PlainConn(socket, Rules.of(limits, clock, heartbeat.forget))
    conn.start(lambda request: None, lambda closing: None)
    heartbeat.add(conn)
    gevent.sleep(0)

    for count in range(1, 5):
        pass_time(clock, 3.0 + LATE)
        assert socket.pings == count
        answer(socket)

    pass_time(clock, 3.0 + PATIENCE + 2 * LATE)
    assert socket.closing == STALE


def test_a_process_that_was_stopped_does_not_take_its_own_sleep_for_the_silence_of_its_peers(
    make_peer: MakePeer, clock: TurnedClock
) -> None:
    asked, silent = make_peer(), make_peer()
    pass_time(clock, INTERVAL + LATE)
    assert (asked.pings, silent.pings) == (1, 1)

    clock.oversleep(30)
    assert asked.closing is None  # its answer may have come meanwhile, and waits to be read
    answer(asked)
    pass_time(clock, PATIENCE + LATE)

    assert asked.closing is None
    assert silent.closing == STALE


def test_a_loop_that_is_a_little_late_gives_nobody_more_time(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    pass_time(clock, INTERVAL + LATE)
    assert socket.pings == 1

    for _ in range(int(PATIENCE)):
        clock.oversleep(1.5)

    assert socket.closing == STALE


def test_any_frame_is_a_sign_of_life(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    pass_time(clock, INTERVAL + LATE)

    socket.say("I am here")
    pass_time(clock, PATIENCE + LATE)

    assert socket.closing is None


def test_a_peer_that_speaks_is_not_pinged(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()

    for _ in range(20):
        pass_time(clock, INTERVAL - LATE)
        socket.say("me again")

    assert socket.pings == 0


def test_an_answer_in_the_last_moment_counts(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    pass_time(clock, INTERVAL + LATE)
    pass_time(clock, PATIENCE - LATE - 0.01)

    answer(socket)
    pass_time(clock, INTERVAL - LATE)

    assert (socket.closing, socket.pings) == (None, 1)


def test_half_a_frame_is_a_sign_of_life_too(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    pass_time(clock, INTERVAL + LATE)

    socket.hear(client_frame("long")[:3])
    pass_time(clock, PATIENCE + LATE)

    assert socket.closing is None


def test_whom_we_have_paused_is_neither_pinged_nor_given_up(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    socket.pause()

    pass_time(clock, 10 * INTERVAL)

    assert (socket.pings, socket.closing) == (0, None)


def test_whom_we_have_paused_after_a_ping_is_not_given_up(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    pass_time(clock, INTERVAL + LATE)
    socket.pause()

    pass_time(clock, 10 * INTERVAL)

    assert (socket.pings, socket.closing) == (1, None)


def test_whom_we_hear_again_has_its_whole_time_from_then_on(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    socket.pause()
    pass_time(clock, 3 * INTERVAL)

    socket.resume()
    pass_time(clock, INTERVAL - LATE)
    assert socket.pings == 0
    pass_time(clock, INTERVAL + LATE)  # a paused one is looked at once an interval
    assert socket.pings == 1
    pass_time(clock, PATIENCE + LATE)
    assert socket.closing == STALE


def test_whom_we_heard_again_only_after_the_deadline_of_a_ping_is_not_given_up_at_once(
    make_peer: MakePeer, clock: TurnedClock
) -> None:
    socket = make_peer()
    pass_time(clock, INTERVAL + LATE)
    socket.pause()
    pass_time(clock, PATIENCE - LATE)

    socket.resume()
    pass_time(clock, LATE)

    assert socket.closing is None


def test_whom_we_do_not_read_yet_is_neither_pinged_nor_given_up(heartbeat: Heartbeat, clock: TurnedClock) -> None:
    """A hook of the application's may hold up the channel, and with it everybody who wants in."""
    socket = SocketFake(clock)
    conn = PlainConn(socket, Rules.of(LIMITS, clock, lambda conn: None))
    heartbeat.add(conn)

    pass_time(clock, 10 * INTERVAL)
    assert (socket.frames, socket.closing) == ([], None)
    conn.start(lambda request: None, lambda closing: None)
    gevent.sleep(0)
    for _ in range(int(INTERVAL + LATE)):
        pass_time(clock, 1)
        if socket.pings:
            answer(socket)
            break
    pass_time(clock, INTERVAL - LATE)
    assert (socket.pings, socket.closing) == (1, None)


def test_a_peer_that_is_slow_to_read_gets_its_ping_behind_what_waits(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    socket.stuck = True

    pass_time(clock, INTERVAL + LATE)

    assert (socket.pings, socket.outstanding) == (0, 2)


def test_a_connection_that_has_ended_is_left_alone(make_peer: MakePeer, clock: TurnedClock) -> None:
    socket = make_peer()
    socket.hang_up()

    pass_time(clock, 3 * INTERVAL)

    assert socket.frames == []


def test_each_is_watched_over_by_itself(make_peer: MakePeer, clock: TurnedClock) -> None:
    silent = make_peer()
    pass_time(clock, 10)
    alive, late = make_peer(), make_peer()

    for _ in range(40):
        pass_time(clock, 1)
        alive.say("still here")

    assert (silent.closing, alive.closing, late.closing) == (STALE, None, STALE)
    assert (silent.pings, alive.pings, late.pings) == (1, 0, 1)


class CountingClock(TurnedClock):
    """Counts the pings in each call of a timer, which is one turn of the hub."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: list[SocketFake] = []
        self.turns: list[int] = []

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        def counted() -> None:
            before = self._pings()
            call()
            self.turns.append(self._pings() - before)

        return super().later(seconds, counted)

    def _pings(self) -> int:
        return sum(socket.pings for socket in self.sockets)


@pytest.mark.parametrize("many", [LOOKS - 1, LOOKS, LOOKS + 1, 3 * LOOKS])
def test_of_a_large_house_some_are_pinged_in_one_turn_of_the_hub_and_all_in_the_end(many: int) -> None:
    clock = CountingClock()
    heartbeat = Heartbeat(LIMITS, clock)
    for _ in range(many):
        clock.sockets.append(SocketFake(clock))
        conn = PlainConn(clock.sockets[-1], Rules.of(LIMITS, clock, lambda conn: None))
        conn.start(lambda request: None, lambda closing: None)
        heartbeat.add(conn)

    pass_time(clock, INTERVAL + LATE)

    assert {socket.pings for socket in clock.sockets} == {1}
    assert max(clock.turns) == min(many, LOOKS)


def test_all_of_a_large_house_that_answer_stay(make_peer: MakePeer, clock: TurnedClock) -> None:
    sockets = [make_peer() for _ in range(2 * LOOKS + 1)]

    for count in range(1, 4):
        pass_time(clock, INTERVAL + LATE)
        assert {socket.pings for socket in sockets} == {count}
        for socket in sockets:
            answer(socket)

    assert {socket.closing for socket in sockets} == {None}


def test_a_house_that_was_empty_for_a_long_time_finds_silent_peers_all_the_same(
    make_peer: MakePeer, clock: TurnedClock
) -> None:
    clock.advance(7 * 24 * 3600)
    socket = make_peer()

    pass_time(clock, INTERVAL + LATE)
    assert socket.pings == 1
    pass_time(clock, PATIENCE + LATE)
    assert socket.closing == STALE


def test_an_interval_shorter_than_a_tick_is_as_long_as_one(clock: TurnedClock) -> None:
    heartbeat = Heartbeat(SocketLimits(ping_interval=0.01), clock)
    socket = SocketFake(clock)
    conn = PlainConn(socket, Rules.of(LIMITS, clock, lambda conn: None))
    conn.start(lambda request: None, lambda closing: None)
    heartbeat.add(conn)

    pass_time(clock, 3)

    assert socket.pings == 1


def test_stopped_it_pings_nobody_and_may_be_stopped_again(
    heartbeat: Heartbeat, make_peer: MakePeer, clock: TurnedClock
) -> None:
    socket = make_peer()

    heartbeat.stop()
    heartbeat.stop()
    pass_time(clock, 3 * INTERVAL)

    assert (socket.pings, socket.closing) == (0, None)


def test_stopped_it_watches_over_nobody_who_comes_late(
    heartbeat: Heartbeat, make_peer: MakePeer, clock: TurnedClock
) -> None:
    make_peer()
    heartbeat.stop()
    late = make_peer()

    pass_time(clock, 3 * INTERVAL)

    assert late.pings == 0


def test_nothing_of_it_yields(heartbeat: Heartbeat, clock: TurnedClock) -> None:
    conn = PlainConn(SocketFake(clock), Rules.of(LIMITS, clock, lambda conn: None))

    with never_yields():
        heartbeat.add(conn)
        clock.advance(INTERVAL + LATE)
        heartbeat.forget(conn)
        heartbeat.forget(conn)
        heartbeat.stop()
