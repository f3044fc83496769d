"""Texts of chat.v1: each is a request, a sign of life, or refused with an `error` frame; nothing else comes of it."""

import json

import gevent

from chat.errors import BadRequest, NotJoined
from chat.frames import Limits
from chat.requests import Pong, Publish, Request, decode
from chat.testing import TurnedClock
from tests.web.fakes import SocketFake
from web.websocket.conn import Rules, V1Conn
from web.websocket.formats import V1Formats
from web.websocket.limits import SocketLimits

FORMATS = V1Formats(Limits(4096, 0.0), 25.0)
FORM = FORMATS.of("lobby", deflated=False)


def one(data: bytes) -> None:
    """Check one input."""
    check_text(data.decode("utf-8", "replace"))


def check_text(text: str) -> None:
    """It is heard once, or refused once; or it is a pong."""
    heard: list[Request] = []
    socket = SocketFake(TurnedClock())
    conn = V1Conn(socket, Rules.of(SocketLimits(message_rate=0.0), TurnedClock(), lambda _: None), "lobby", FORM)
    conn.start(heard.append, heard.append)
    gevent.sleep(0)  # reading begins in the hub's next turn
    conn.received(text)

    assert socket.closing is None
    try:
        request = decode(text)
    except BadRequest as exc:
        assert heard == []
        _check_error(socket, BadRequest.code, exc.id)
        return
    if isinstance(request, Pong):
        assert (heard, socket.events) == ([], [])
    elif request.channel != "lobby":
        assert heard == []
        _check_error(socket, NotJoined.code, request.id)
    else:
        assert (heard, socket.events) == ([request], [])
        _check_request(request)


def _check_error(socket: SocketFake, code: str, id: str | None) -> None:
    (event,) = socket.events
    assert (event["type"], event["code"], event["retry"]) == ("error", code, False)
    assert event.get("id") == (id or None)
    assert isinstance(event["message"], str)
    assert event["message"]


def _check_request(request: Publish) -> None:
    """Said again by its fields, it is the same request."""
    fields = {"type": "publish", "channel": request.channel, "text": request.text, "id": request.id, "to": request.to}
    assert decode(json.dumps(fields)) == request
    assert request.id is None or (0 < len(request.id) <= 64 and request.id.isascii() and request.id.isprintable())
