"""A whole connection over a real socket, with a channel behind it: whatever it sends, others go on, and nothing is left.

The lowest bit of the first byte says that it speaks chat.v1, the next one permessage-deflate; the second byte how the rest
is cut.
"""

import logging

import gevent
from gevent import socket
from websockets.extensions.permessage_deflate import PerMessageDeflate

from chat import ChatServer
from chat.event import Message
from chat.frames import Limits
from chat.member import Member
from chat.testing import DirectFake, TurnedClock, wait_until
from chat.tokens import Grant
from tests.fuzz.chunks import cut
from web.websocket.conn import PlainConn, V1Conn, V1Peer, V1Rules
from web.websocket.formats import V1Formats
from web.websocket.limits import Bounds, SocketLimits
from web.websocket.peer import Rules
from web.websocket.protocol import MessageProtocol
from web.websocket.socket import Socket

FORMATS = V1Formats(Limits(4096, 0.0), 25.0)
BOUNDS = Bounds(max_message=2000, max_fragments=4, write_buf=4096)


class _Faults(logging.Handler):
    """Keeps what is logged as a fault: it was caught, but it is one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


def one(data: bytes) -> None:
    """Check one input."""
    if len(data) > 1:
        check_connection(data[2:], data[1], v1=bool(data[0] & 1), deflates=bool(data[0] & 2))


def check_connection(data: bytes, seed: int, *, v1: bool, deflates: bool) -> None:
    """Let a stranger send `data`, and see that a neighbour hears all the rest."""
    faults = _Faults()
    loggers = [logging.getLogger(name) for name in ("chat", "web.websocket")]
    for logger in loggers:
        logger.addHandler(faults)
    try:
        with gevent.Timeout(5, AssertionError("it hangs")):
            _run(data, seed, v1=v1, deflates=deflates)
    finally:
        for logger in loggers:
            logger.removeHandler(faults)
    assert not faults.records, faults.records[0]


def _run(data: bytes, seed: int, *, v1: bool, deflates: bool) -> None:
    clock = TurnedClock()
    with ChatServer(clock=clock) as server:
        lobby = server.create_channel("lobby")
        neighbour = DirectFake()
        lobby.connect_user("neighbour", neighbour)
        ours, theirs = socket.socketpair()
        under_test = Socket(_protocol(deflates), BOUNDS, clock)
        under_test.park(ours, b"")
        member = lobby.reserve(Grant("stranger", "lobby"))
        member.join(_conn(under_test, clock, member, v1=v1), wait=True)
        _send(theirs, data, seed)
        lobby.new_system_broadcast("still here")
        lobby.flush()
        assert neighbour.closing is None
        assert [event.text for event in neighbour.events if isinstance(event, Message)][-1] == "still here"
        theirs.close()
        wait_until(lambda: lobby.get_users() == ["neighbour"])
        wait_until(lambda: under_test.closed)


def _protocol(deflates: bool) -> MessageProtocol:
    extensions = [PerMessageDeflate(True, True, 15, 15)] if deflates else []
    return MessageProtocol(max_message=BOUNDS.max_message, max_fragments=BOUNDS.max_fragments, extensions=extensions)


def _conn(under_test: Socket, clock: TurnedClock, member: Member, *, v1: bool) -> PlainConn | V1Conn:
    rules = Rules.of(SocketLimits(message_rate=10.0), clock, lambda _: None)
    if v1:
        return V1Peer(under_test, V1Rules.beyond(rules, FORMATS, lambda _peer, _move: None), member.grant).add(member)
    return PlainConn(under_test, rules)


def _send(theirs: socket.socket, data: bytes, seed: int) -> None:
    for piece in cut(data, seed):
        try:
            theirs.sendall(piece)
        except OSError:  # it was shown out
            return
        gevent.sleep(0)
    gevent.idle()
