"""What every socket does, over a unix socket, TCP and TLS: delivery, pausing, closing."""

import logging
from contextlib import suppress
from itertools import pairwise

import gevent
import greenlet
import pytest
from gevent import socket
from websockets.frames import Opcode

from chat.closing import GONE, SLOW, Closing
from tests.web.websocket.peers import Recorder, farewell, masked, text, turn_hub, until
from web.websocket.base import LINGER, TRANSITIONS, IllegalMove, State
from web.websocket.limits import CLOSE_TIMEOUT, Bounds
from web.websocket.protocol import MessageProtocol, text_frame
from web.websocket.socket import Socket

UNMASKED = text_frame(b"I am a server too")


def started(wire, on_message=lambda _: None):
    recorder = Recorder(on_message)
    wire.socket.start(recorder)
    return recorder


# Receiving


def test_messages_arrive_in_order_and_as_what_they_are(wire):
    heard = started(wire)

    wire.peer.send(text("ada"), masked(Opcode.BINARY, b"\xff"), text("bob"))

    until(lambda: len(heard.heard) == 3)
    assert heard.heard == ["ada", b"\xff", "bob"]


def test_nothing_is_read_before_the_start(wire):
    wire.peer.send(text("early"))
    turn_hub()

    heard = started(wire)

    assert heard.heard == []  # nor inside of start()
    until(lambda: heard.heard)


def test_what_was_read_ahead_comes_first(make_wire):
    frame = text("behind the handshake")
    wire = make_wire(rest=text("first") + frame[:7])
    heard = started(wire)

    wire.peer.send(frame[7:], text("last"))

    until(lambda: len(heard.heard) == 3)
    assert heard.heard == ["first", "behind the handshake", "last"]


def test_what_was_read_ahead_takes_many_turns_as_well(make_wire):
    wire = make_wire(rest=text("x") * 5000)
    heard = started(wire)
    counts = [0]

    while counts[-1] < 5000:
        turn_hub(1)
        counts.append(len(heard.heard))

    in_one_turn = Bounds().read_buf // len(text("x")) + 1
    assert max(after - before for before, after in pairwise(counts)) <= in_one_turn


def test_a_long_message_takes_many_turns(wire):
    heard = started(wire)

    wire.peer.send(text("x" * 65536))

    until(lambda: heard.heard)
    assert heard.heard == ["x" * 65536]


def test_bytes_are_a_sign_of_life(wire, clock):
    started(wire)
    clock.advance(7)
    assert wire.socket.last_heard == 0

    wire.peer.send(masked(Opcode.PONG))

    until(lambda: wire.socket.last_heard == 7)


def test_pings_are_answered_and_counted(wire):
    heard = started(wire)

    wire.peer.send(masked(Opcode.PING, b"1") + masked(Opcode.PING, b"2") + masked(Opcode.PONG))

    assert [bytes(wire.peer.recv().data) for _ in range(2)] == [b"1", b"2"]
    until(lambda: heard.controls == 3)
    assert heard.heard == []


# Pausing


def test_a_pause_in_the_middle_of_a_turn_keeps_the_rest_for_later(wire):
    heard = started(wire, lambda message: wire.socket.pause() if message == "b" else None)
    wire.peer.send(text("a") + text("b") + text("c") + text("d"))
    until(lambda: heard.heard == ["a", "b"])
    wire.peer.send(text("e"))
    turn_hub()
    assert heard.heard == ["a", "b"]

    wire.socket.resume()

    assert heard.heard == ["a", "b"]  # not inside of resume()
    until(lambda: len(heard.heard) == 5)
    assert heard.heard == ["a", "b", "c", "d", "e"]


def test_a_pause_before_the_start_holds(make_wire):
    wire = make_wire(rest=text("a"))
    wire.socket.pause()
    heard = started(wire)
    wire.peer.send(text("b"))
    turn_hub()
    assert heard.heard == []

    wire.socket.resume()

    until(lambda: len(heard.heard) == 2)
    assert heard.heard == ["a", "b"]


def test_pausing_and_resuming_while_a_message_is_delivered_loses_nothing(wire):
    def blink(_):
        wire.socket.pause()
        wire.socket.resume()

    heard = started(wire, blink)

    wire.peer.send(*[text(str(n)) for n in range(50)])

    until(lambda: len(heard.heard) == 50)
    assert heard.heard == [str(n) for n in range(50)]


def test_silence_during_a_pause_is_ours(wire, clock):
    started(wire)
    wire.socket.pause()
    assert wire.socket.paused
    clock.advance(100)

    wire.socket.resume()

    assert not wire.socket.paused
    assert wire.socket.last_heard == 100


def test_a_paused_peer_is_made_to_wait(wire):
    started(wire)
    wire.socket.pause()
    turn_hub()
    wire.peer.sock.settimeout(0)

    sent = 0
    with suppress(OSError):  # it would block
        while sent < 1 << 28 and (count := wire.peer.sock.send(b"\0" * 65536)):
            sent += count
            gevent.sleep(0)

    assert sent < 1 << 28


# Sending


def test_frames_arrive_whole_and_in_order(wire):
    started(wire)
    sent = [f"{n}:" + "x" * (n * 997 % 5000) for n in range(200)]

    for payload in sent:
        wire.socket.write(text_frame(payload.encode()))

    assert [bytes(wire.peer.recv().data).decode() for _ in sent] == sent


def test_what_does_not_fit_now_is_sent_later(make_wire):
    wire = make_wire(write_buf=1 << 26)
    started(wire)
    frame = text_frame(bytes(range(48, 112)) * 8192)

    for _ in range(32):
        wire.socket.write(frame)
    assert wire.socket.outstanding > 0

    for _ in range(32):
        assert bytes(wire.peer.recv().data) == frame[10:]
    until(lambda: wire.socket.outstanding == 0)


def test_writing_nothing_does_nothing(wire):
    started(wire)

    wire.socket.write(b"")

    assert wire.socket.outstanding == 0


def test_a_peer_that_does_not_read_is_closed_as_slow_and_no_other(make_wire, clock):
    slow, quick = make_wire(write_buf=100_000), make_wire(write_buf=100_000)
    heard, other = started(slow), started(quick)
    frame = text_frame(b"x" * 10_000)

    while slow.socket.closing is None:
        for wire in (slow, quick):
            wire.socket.write(frame)
        quick.peer.recv()
        turn_hub()

    assert heard.heard == [Closing(*SLOW)]
    assert other.heard == []
    assert not slow.socket.closed
    clock.advance(CLOSE_TIMEOUT)
    assert slow.socket.closed
    assert not quick.socket.closed


def test_a_slow_peer_that_wakes_up_gets_what_was_queued_and_the_reason(make_wire):
    wire = make_wire(write_buf=100_000)
    started(wire)
    sent = 0
    while wire.socket.closing is None:
        wire.socket.write(text_frame(b"x" * 10_000))
        sent += 1

    frames = [wire.peer.recv() for _ in range(sent - 1)]  # the last one was too much

    assert all(len(frame.data) == 10_000 for frame in frames)
    assert wire.peer.recv_close() == Closing(*SLOW)


def test_who_reads_gets_more_at_once_than_may_wait(make_wire):
    wire = make_wire(write_buf=100_000)
    heard = started(wire)
    wire.socket.write(text_frame(b"x" * 60_000) * 100)

    frames = [wire.peer.recv() for _ in range(100)]

    assert all(len(frame.data) == 60_000 for frame in frames)
    assert heard.heard == []


def test_pings_of_a_peer_that_does_not_read_have_a_bound_too(make_wire):
    wire = make_wire(write_buf=10_000)
    heard = started(wire)
    flood = masked(Opcode.PING, b"x" * 125) * 60

    for _ in range(10_000):
        wire.peer.send(flood)
        turn_hub()
        if heard.endings:
            break

    assert heard.endings == [Closing(*SLOW)]
    assert wire.socket.outstanding < 20_000


def test_after_the_end_nothing_is_sent(wire):
    started(wire)
    wire.socket.close(1000)

    wire.socket.write(text_frame(b"late"))

    assert wire.peer.recv_close() == Closing(1000)
    wire.peer.send(farewell(1000))
    assert wire.peer.at_eof()


# Closing


def test_our_close_says_why_and_waits_for_the_answer(wire):
    heard = started(wire)

    wire.socket.close(4503, "kicked")

    assert heard.heard == [Closing(4503, "kicked")]
    assert wire.socket.closing == Closing(4503, "kicked")
    assert wire.peer.recv_close() == Closing(4503, "kicked")
    assert not wire.socket.closed
    wire.peer.send(farewell(4503))
    assert wire.peer.at_eof()
    wire.peer.sock.close()
    until(lambda: wire.socket.closed)


def test_a_peer_that_does_not_answer_is_left_after_a_while(wire, clock):
    started(wire)
    wire.socket.close(1001)
    wire.peer.recv_close()

    clock.advance(CLOSE_TIMEOUT - 0.1)
    assert wire.socket.outstanding == 0
    assert not wire.socket.closed
    clock.advance(0.2)

    assert wire.peer.at_eof()
    assert not wire.socket.closed
    clock.advance(LINGER)
    assert wire.socket.closed


def test_a_peers_close_is_answered_and_told(wire):
    heard = started(wire)

    wire.peer.send(farewell(4321, "so long"))

    assert wire.peer.recv_close() == Closing(4321, "so long")
    until(lambda: heard.heard == [Closing(4321, "so long")])
    assert wire.peer.at_eof()
    wire.peer.sock.close()
    until(lambda: wire.socket.closed)


def test_a_peers_close_without_a_code_is_1005(wire):
    heard = started(wire)

    wire.peer.send(masked(Opcode.CLOSE))

    until(lambda: heard.heard == [Closing(1005)])


def test_a_peer_that_goes_without_a_word_is_gone(wire):
    heard = started(wire)

    wire.peer.sock.close()

    until(lambda: heard.heard)
    assert heard.heard == [GONE]
    assert wire.socket.closed


def test_a_peer_that_resets_is_gone(make_wire, clock):
    wire = make_wire()
    heard = started(wire)
    wire.socket.write(text_frame(b"unread"))
    turn_hub()

    wire.peer.sock.close()  # with unread input

    until(lambda: heard.heard == [GONE])


def test_writing_to_a_peer_that_has_gone_ends_it(wire):
    heard = started(wire)
    wire.socket.pause()  # so that reading does not find out
    wire.peer.sock.close()
    turn_hub()

    def ended():
        wire.socket.write(text_frame(b"x" * 1000))
        return wire.socket.closed

    until(ended)
    assert heard.heard == [GONE]


def test_what_was_said_before_the_close_is_heard_before_the_end(wire):
    heard = started(wire)

    wire.peer.send(text("a") + text("b") + farewell(1000))

    until(lambda: len(heard.heard) == 3)
    assert heard.heard == ["a", "b", Closing(1000)]


@pytest.mark.parametrize("end", [farewell(4321), UNMASKED], ids=["close", "violation"])
def test_what_was_said_before_the_end_is_answered_before_it(wire, end):
    started(wire, lambda message: wire.socket.write(text_frame(message.encode())))

    wire.peer.send(text("a") + text("b") + end + text("c"))

    assert [bytes(wire.peer.recv().data) for _ in range(2)] == [b"a", b"b"]
    assert wire.peer.recv().opcode is Opcode.CLOSE
    assert wire.peer.at_eof()


@pytest.mark.parametrize(
    "act",
    [
        lambda socket: socket.close(4503),
        lambda socket: socket.abort(),
        lambda socket: socket.pause(),
        lambda socket: (socket.pause(), socket.resume()),
        lambda socket: 1 / 0,
    ],
    ids=["close", "abort", "pause", "blink", "fail"],
)
def test_whatever_is_done_about_the_last_words_it_ends(wire, act, caplog):
    heard = started(wire, lambda _: act(wire.socket))

    wire.peer.send(text("a") + farewell(4321))

    assert wire.peer.at_eof()
    wire.peer.sock.close()
    until(lambda: wire.socket.closed)
    wire.socket.resume()
    until(lambda: heard.endings)
    assert heard.heard == ["a", Closing(4321)]


def test_the_end_waits_for_messages_that_a_pause_holds_back(wire):
    heard = started(wire, lambda _: wire.socket.pause())
    wire.peer.send(text("a") + text("b") + farewell(1000))
    wire.peer.recv_close()
    assert heard.heard == ["a"]

    wire.socket.resume()

    until(lambda: len(heard.heard) == 3)
    assert heard.heard == ["a", "b", Closing(1000)]


def test_closing_does_not_wait_for_them(wire):
    heard = started(wire, lambda _: wire.socket.pause())
    wire.peer.send(text("a") + text("b") + farewell(1000, "mine"))
    wire.peer.recv_close()

    wire.socket.close(4503)

    assert heard.heard == ["a", Closing(1000, "mine")]


def test_a_paused_socket_completes_our_close(wire):
    started(wire)
    wire.socket.pause()

    wire.socket.close(4000)

    assert wire.peer.recv_close().code == 4000
    wire.peer.send(text("unheard"), farewell(4000))
    assert wire.peer.at_eof()


def test_after_our_close_nothing_is_delivered(wire):
    heard = started(wire, lambda _: wire.socket.close(4503))

    wire.peer.send(text("a") + text("b"))

    wire.peer.recv_close()
    wire.peer.send(text("c"), masked(Opcode.PING), farewell(4503))
    assert wire.peer.at_eof()
    assert heard.heard == ["a", Closing(4503)]
    assert heard.controls == 0


def test_the_first_close_counts(wire):
    heard = started(wire)

    wire.socket.close(4503, "first")
    wire.socket.close(4504, "second")
    wire.socket.abort()
    wire.socket.abort()

    assert heard.heard == [Closing(4503, "first")]


def test_an_abort_ends_at_once(wire):
    heard = started(wire, lambda _: wire.socket.abort())

    wire.peer.send(text("a") + text("b"))

    until(lambda: heard.heard == ["a", GONE])
    assert wire.socket.closed


def test_a_socket_closed_before_the_start_tells_then(wire):
    wire.socket.close(1012, "retry=1.250")
    heard = started(wire)

    until(lambda: heard.heard)
    assert heard.heard == [Closing(1012, "retry=1.250")]
    assert wire.peer.recv_close() == Closing(1012, "retry=1.250")


def test_a_long_reason_is_cut(wire):
    started(wire)

    wire.socket.close(4000, "é" * 100)

    assert wire.peer.recv_close() == Closing(4000, "é" * 61)


def test_a_code_that_must_not_be_sent_ends_without_a_word(wire):
    heard = started(wire)

    wire.socket.close(1006)

    assert heard.heard == [GONE]
    assert wire.socket.closed


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (UNMASKED, 1002),
        (masked(Opcode.TEXT, b"\xff"), 1007),
        (masked(Opcode.TEXT, b"x" * 65537), 1009),
        (masked(Opcode.TEXT, fin=False) + masked(Opcode.CONT, fin=False) * 100, 1008),
    ],
    ids=["unmasked", "not utf-8", "too big", "too many fragments"],
)
def test_a_violation_is_told_to_a_peer_that_still_sends(wire, data, code):
    heard = started(wire)

    wire.peer.send(data, text("more") * 20_000)

    assert wire.peer.recv_close().code == code
    assert wire.peer.at_eof()  # and no reset
    until(lambda: [ending.code for ending in heard.endings] == [code])


def test_after_a_violation_we_read_on_for_a_second_only(wire, clock):
    heard = started(wire)
    wire.peer.send(text("before") + UNMASKED)
    wire.peer.recv_close()

    wire.peer.send(text("after"))
    turn_hub()
    assert not wire.socket.closed
    clock.advance(LINGER)

    assert wire.socket.closed
    assert heard.messages == ["before"]


# Faults


def test_a_receiver_that_fails_costs_its_connection(wire, caplog):
    def fail(_):
        raise RuntimeError("a fault of ours")

    heard = started(wire, fail)

    wire.peer.send(text("a") + text("b"))

    assert wire.peer.recv_close().code == 1011
    assert heard.heard == ["a", Closing(1011, "internal error")]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_receiver_that_fails_to_hear_the_end_harms_nobody(wire, caplog):
    class Deaf(Recorder):
        def ended(self, closing):
            raise RuntimeError("a fault of ours")

    wire.socket.start(Deaf())

    wire.socket.close(1000)

    assert wire.peer.recv_close() == Closing(1000)
    assert len(caplog.records) == 1


def test_nothing_yields(make_wire):
    wire = make_wire(write_buf=1 << 22)
    started(wire)
    turn_hub()
    switches = []
    greenlet.settrace(lambda event, args: switches.append(args))
    try:
        for _ in range(100):
            wire.socket.write(text_frame(b"x" * 60_000))
        wire.socket.pause()
        wire.socket.resume()
        wire.socket.close(1000)
        wire.socket.abort()
    finally:
        greenlet.settrace(None)

    assert switches == []


# The states


def every_state(clock):
    """A socket in each state, reached by legal moves."""
    path = [State.OPEN, State.CLOSING, State.LINGERING, State.CLOSED]
    for end in range(len(path)):
        ours, theirs = socket.socketpair()
        with theirs:
            parked = Socket(MessageProtocol(max_message=1, max_fragments=1), Bounds(write_buf=1), clock)
            parked.park(ours, b"")
            for _, state in pairwise(path[: end + 1]):
                parked._move(state)
            yield path[end], parked
            parked._release()


@pytest.mark.parametrize("target", State)
def test_only_legal_moves_are_made(clock, target):
    for state, parked in every_state(clock):
        if target in TRANSITIONS[state]:
            parked._move(target)
            assert parked._state is target
        else:
            with pytest.raises(IllegalMove):
                parked._move(target)
            assert parked._state is state
