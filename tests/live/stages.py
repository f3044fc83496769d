"""How far a connection may have come: each stage brings one there, and returns its socket for a test to end.

`Stage` gets the server, and somebody who talks in the channel `room`; the newcomer is called NAME.
"""

import socket
from collections.abc import Callable
from typing import Final

from websockets.frames import Opcode

from tests.live.servers import until
from tests.live.wires import Faulty, Wire, accepted, upgrade
from tests.web.websocket.peers import farewell, masked, text

ROOM: Final = "room"
NAME: Final = "ann"
LITTLE: Final = 4096  # bytes that the kernel holds for who reads nothing

Stage = Callable[[Faulty, Wire], socket.socket]


def connected(faulty: Faulty, _: Wire) -> socket.socket:
    return faulty.dial()


def in_the_head(faulty: Faulty, _: Wire) -> socket.socket:
    return _sent(faulty, upgrade(faulty.token(ROOM, NAME))[:-10])


def before_the_answer(faulty: Faulty, _: Wire) -> socket.socket:
    """The application is asked whether NAME may join, and takes its time."""
    return _sent(faulty, upgrade(faulty.token("slow", NAME)))


def right_after_the_answer(faulty: Faulty, _: Wire) -> socket.socket:
    return accepted(_sent(faulty, upgrade(faulty.token(ROOM, NAME)))).sock


def idle(faulty: Faulty, _: Wire) -> socket.socket:
    return faulty.join(ROOM, NAME).sock


def in_a_frame(faulty: Faulty, _: Wire) -> socket.socket:
    return _said(faulty, text("a long story" * 10)[:50])


def in_a_fragmented_message(faulty: Faulty, _: Wire) -> socket.socket:
    return _said(faulty, masked(Opcode.TEXT, "once upon ", fin=False), masked(Opcode.CONT, "a time", fin=False))


def paused(faulty: Faulty, _: Wire) -> socket.socket:
    sock = _said(faulty, text("block 0.5"), *(text(f"and {number}") for number in range(200)))
    until(lambda: faulty.state()["paused"], "a pause")
    return sock


def with_a_full_outbox(faulty: Faulty, speaker: Wire) -> socket.socket:
    wire = faulty.join(ROOM, NAME, faulty.dial(receive=LITTLE))

    def say_more() -> bool:
        speaker.flood()
        return bool(faulty.state()["outstanding"])

    until(say_more, "something that waits to be sent")
    return wire.sock


def while_we_close(faulty: Faulty, _: Wire) -> socket.socket:
    wire = faulty.join(ROOM, NAME)
    faulty.place.request("GET", f"/remove/{ROOM}/{NAME}")
    wire.recv_close()
    return wire.sock


def while_they_close(faulty: Faulty, _: Wire) -> socket.socket:
    return _said(faulty, farewell(1000))


def while_we_linger(faulty: Faulty, _: Wire) -> socket.socket:
    wire = faulty.join(ROOM, NAME)
    wire.send(b"\xff" * 10)  # no frame begins like this
    assert wire.recv_close().code == 1002
    return wire.sock


STAGES: Final[dict[str, Stage]] = {
    stage.__name__: stage
    for stage in (
        connected,
        in_the_head,
        before_the_answer,
        right_after_the_answer,
        idle,
        in_a_frame,
        in_a_fragmented_message,
        paused,
        with_a_full_outbox,
        while_we_close,
        while_they_close,
        while_we_linger,
    )
}


def _sent(faulty: Faulty, data: bytes) -> socket.socket:
    sock = faulty.dial()
    sock.sendall(data)
    return sock


def _said(faulty: Faulty, *frames: bytes) -> socket.socket:
    wire = faulty.join(ROOM, NAME)
    wire.send(*frames)
    return wire.sock
