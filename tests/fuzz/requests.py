"""Texts of chat.v1: each is a request, a sign of life, or refused with an `error` frame; nothing else comes of it."""

import gevent
import msgspec

from chat.errors import BadRequest, NotJoined
from chat.frames import Limits
from chat.member import Member
from chat.requests import Frame, Join, Leave, Ping, Pong, decode, id_of
from chat.testing import TurnedClock
from chat.tokens import Grant
from tests.chat.fakes import HomeFake
from tests.web.fakes import SocketFake
from web.websocket.conn import Move, V1Conn, V1Peer, V1Rules
from web.websocket.formats import V1Formats
from web.websocket.limits import SocketLimits
from web.websocket.peer import Rules

FORMATS = V1Formats(Limits(4096, 0.0), 25.0)


def one(data: bytes) -> None:
    """Check one input."""
    check_text(data.decode("utf-8", "replace"))


def check_text(text: str) -> None:
    """It is heard once, or refused once; or it is a pong."""
    heard: list[object] = []
    moves: list[Move] = []
    socket = SocketFake(TurnedClock())
    peer, conn = _enter(socket, moves)
    conn.start(heard.append, heard.append)
    gevent.sleep(0)  # reading begins in the hub's next turn
    peer.received(text)

    assert socket.closing is None
    try:
        request = decode(text)
    except BadRequest as exc:
        assert (heard, moves) == ([], [])
        _check_error(socket, BadRequest.code, exc.id)
        return
    if not isinstance(request, Ping | Pong | Join) and request.channel != "lobby":
        assert (heard, moves) == ([], [])
        _check_error(socket, NotJoined.code, id_of(request))
        return
    pong = {"type": "pong"} | ({"id": request.id} if request.id else {}) if isinstance(request, Ping) else None
    assert socket.events == ([pong] if pong else [])
    match request:
        case Ping() | Pong():
            assert (heard, moves) == ([], [])
        case Join() | Leave():
            assert (heard, moves) == ([], [request])
        case _:
            assert (heard, moves) == ([request], [])
    _check_request(request)


def _enter(socket: SocketFake, moves: list[Move]) -> tuple[V1Peer, V1Conn]:
    """Somebody in the lobby."""
    rules = Rules.of(SocketLimits(message_rate=0.0), TurnedClock(), lambda _: None)
    grant = Grant("ann", "lobby")
    peer = V1Peer(socket, V1Rules.beyond(rules, FORMATS, lambda _, move: moves.append(move)), grant)
    return peer, peer.add(Member("1", grant, HomeFake()))


def _check_error(socket: SocketFake, code: str, id: str | None) -> None:
    (event,) = socket.events
    assert (event["type"], event["code"], event["retry"]) == ("error", code, False)
    assert event.get("id") == (id or None)
    assert isinstance(event["message"], str)
    assert event["message"]


def _check_request(request: Frame) -> None:
    """Said again by its fields, it is the same request."""
    assert decode(msgspec.json.encode(request).decode()) == request
    id = id_of(request)
    assert id is None or (0 < len(id) <= 64 and id.isascii() and id.isprintable())
