"""What is particular to a socket parked in the event loop."""

import gc
import os
from itertools import pairwise
from pathlib import Path

import gevent
import pytest
from gevent import socket
from websockets.extensions.permessage_deflate import PerMessageDeflate

from tests.web.fakes import client_frame, deflated
from tests.web.websocket.conftest import tcp_pair, unix_pair
from tests.web.websocket.peers import Peer, Recorder, farewell, text, turn_hub, until
from web.websocket.limits import Bounds
from web.websocket.protocol import MessageProtocol, text_frame
from web.websocket.socket import Socket


def park(clock, pair, extensions=()) -> tuple[Socket, Peer]:
    protocol = MessageProtocol(max_message=65536, max_fragments=10, extensions=extensions)
    parked = Socket(protocol, Bounds(write_buf=100_000), clock)
    ours, theirs = pair
    parked.park(ours, b"")
    return parked, Peer(theirs)


@pytest.fixture(params=[unix_pair, tcp_pair], ids=["unix", "tcp"])
def parked(request, clock):
    parked, peer = park(clock, request.param())
    yield parked, peer
    parked.abort()
    peer.sock.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_descriptor_has_one_holder(clock):
    ours, theirs = tcp_pair()

    parked, peer = park(clock, (ours, theirs))
    ours.close()
    heard = Recorder()
    parked.start(heard)

    with peer.sock:
        peer.send(text("still here"))
        until(lambda: heard.heard == ["still here"])
        parked.abort()


def test_a_closed_socket_writes_to_nobody(parked):
    closed, _ = parked
    number = closed._fd
    closed.start(Recorder())
    turn_hub()
    ours, theirs = socket.socketpair()

    with ours, theirs:
        closed.abort()
        os.dup2(ours.fileno(), number)  # the number is somebody else's now
        for act in (closed.resume, closed.pause, closed.close, closed.abort):
            closed.write(text_frame(b"for another"))
            act()
        turn_hub()
        os.close(number)  # would raise, had it been closed already
        theirs.settimeout(0)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


def test_a_descriptor_with_something_queued_is_let_go_as_well(parked):
    slow, peer = parked
    slow.start(Recorder())
    while slow.closing is None:
        slow.write(text_frame(b"x" * 10_000))

    slow.abort()
    peer.sock.close()
    turn_hub()

    assert slow.outstanding == 0


def test_closing_leaves_no_descriptor(clock):
    before = descriptors()

    for _ in range(20):
        parked, peer = park(clock, tcp_pair())
        parked.start(Recorder())
        peer.send(farewell(1000))
        peer.recv_close()
        peer.sock.close()
        until(lambda parked=parked: parked.closed)

    assert descriptors() == before


def test_a_turn_reads_8_kib_at_most(parked):
    reading, peer = parked
    heard = Recorder()
    reading.start(heard)
    turn_hub()
    peer.sock.sendall(text("") * 4096)  # 24 KiB

    counts = []
    while len(heard.heard) < 4096:
        gevent.sleep(0)
        counts.append(len(heard.heard))

    steps = {after - before for before, after in zip([0, *counts], counts, strict=False)}
    assert max(steps) <= 8192 // 6 + 1


def test_a_turn_inflates_1_mib_at_most(clock):
    parked, peer = park(clock, tcp_pair(), [PerMessageDeflate(True, True, 15, 15)])
    heard = Recorder()
    parked.start(heard)
    turn_hub()
    peer.sock.sendall(client_frame(deflated(b"x" * 65536), first=0xC0) * 200)  # which takes 15 KiB

    counts = [0]
    while len(heard.heard) < 200:
        gevent.sleep(0)
        counts.append(len(heard.heard))

    assert max(after - before for before, after in pairwise(counts)) <= 16
    parked.abort()
    peer.sock.close()


def test_what_is_parked_has_no_greenlet(parked):
    reading, peer = parked
    heard = Recorder()
    gc.collect()
    before = sum(isinstance(found, gevent.Greenlet) for found in gc.get_objects())
    reading.start(heard)
    peer.send(text("a"))
    until(lambda: heard.heard)

    assert sum(isinstance(found, gevent.Greenlet) for found in gc.get_objects()) == before


def test_one_that_was_reset_before_it_was_parked_is_gone(clock):
    ours, theirs = tcp_pair()
    ours.close()
    heard = Recorder()

    parked, peer = park(clock, (ours, theirs))
    parked.start(heard)

    until(lambda: [ending.code for ending in heard.endings] == [1006])
    peer.sock.close()
