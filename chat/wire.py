"""chat.v1: events to JSON, JSON to requests.  Pure; the frames around the JSON belong to `web`.

Requests are decoded with their types, so that nothing past this file has to check a field again.
"""

from datetime import datetime
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from chat.errors import BadRequest
from chat.event import Ack, Event, Joined, Left, Message, Presence, Refusal, User, Welcome, Whisper

SUBPROTOCOL: Final = "chat.v1"

RequestId: TypeAlias = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}\Z")]  # a $ would let a line feed follow


class Publish(Struct, gc=False, tag="publish", tag_field="type"):
    """Say `text` in `channel`, to everybody or `to` one user."""

    text: str
    channel: str = ""
    id: RequestId | None = None
    to: str | None = None


class Pong(Struct, gc=False, tag="pong", tag_field="type"):
    """The answer to a `ping`; any other frame would do as well."""


Request: TypeAlias = Publish
"""What a member can ask of its channel."""

_decoder: Final = msgspec.json.Decoder(Publish | Pong)
_json: Final = msgspec.json.Encoder()


class _Head(Struct):
    type: object = None
    id: object = None
    channel: object = None


_heads: Final = msgspec.json.Decoder(_Head)


def decode(frame: str) -> Publish | Pong:
    """Read one frame.  Raises: BadRequest, saying which field is wrong; with the request's id where that can be told."""
    try:
        request: Publish | Pong = _decoder.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise _explain(frame, exc) from exc
    if isinstance(request, Publish) and not request.channel:
        raise BadRequest("the field channel is missing", request.id)
    return request


def _explain(frame: str, exc: Exception) -> BadRequest:
    if not isinstance(exc, msgspec.ValidationError):
        return BadRequest("this is not JSON, or it is nested too deeply")
    try:
        head = _heads.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return BadRequest("a JSON object is wanted")
    id = head.id if isinstance(head.id, str) and 0 < len(head.id) <= 64 else None
    if not isinstance(head.type, str):
        return BadRequest("the field type is missing, or no string", id)
    if head.type not in ("publish", "pong"):
        return BadRequest("the type is unknown", id)
    return BadRequest(wrong_field(exc), id)


def wrong_field(exc: msgspec.ValidationError) -> str:
    """Say which field is wrong, and what is wanted, in msgspec's words; it quotes a peer's values only for tags."""
    return str(exc).replace("`$.", "`")


def rfc3339(date: datetime) -> str:
    """UTC with milliseconds: 2026-01-31T12:00:00.123Z."""
    return f"{date.isoformat(timespec='milliseconds')[:23]}Z"


class Limits(Struct, gc=False):
    """What a client may do; told in `welcome`."""

    message: int
    """Bytes of UTF-8 in one text."""
    rate: float
    """Messages a second that one socket may send; 0 is no limit."""


class Dialect:
    """Encodes events of one channel."""

    __slots__ = ("_channel", "_limits", "_ping")

    def __init__(self, channel: str, limits: Limits, ping: float) -> None:
        self._channel = channel
        self._limits = limits
        self._ping = ping

    def encode(self, event: Event) -> bytes:
        """One event as JSON in UTF-8."""
        return _json.encode(self._frame(event))

    def _frame(self, event: Event) -> Struct:
        channel = self._channel
        match event:
            case Message(sender, text, date, id, offset):
                return _Message(channel, offset, id or None, sender, text, rfc3339(date))
            case Ack(id, offset):
                return _Ack(channel, id, offset)
            case Whisper(sender, to, text, date, id):
                return _Whisper(channel, id or None, sender, to, text, rfc3339(date))
            case Joined(user):
                return _Joined(channel, _user(user))
            case Left(username):
                return _Left(channel, _User(username))
            case Presence(joined, left, count):
                return _Presence(channel, _users(joined), [_User(username) for username in left], count)
            case Refusal(id, code, message, retry):
                return _Error(code, message, retry, channel or None, id or None)
            case Welcome():
                return self._welcome(event)

    def _welcome(self, event: Welcome) -> Struct:
        return _Welcome(
            self._channel,
            _user(event.user),
            _users(event.users),
            event.count,
            event.epoch,
            event.offset,
            event.recovered,
            self._ping,
            self._limits,
        )


def ping() -> bytes:
    """`ping`, for clients that cannot see WebSocket pings (browsers)."""
    return b'{"type":"ping"}'


class _User(Struct, gc=False, omit_defaults=True):
    user: str
    name: str = ""


def _user(user: User) -> _User:
    return _User(user.username, user.name)


def _users(users: tuple[User, ...]) -> list[_User]:
    return [_user(user) for user in users]


class _Out(Struct, gc=False, omit_defaults=True, tag_field="type", rename={"sender": "from"}):
    pass


class _Message(_Out, tag="message"):
    channel: str
    offset: int
    id: str | None
    sender: str
    text: str
    date: str


class _Whisper(_Out, tag="whisper"):
    channel: str
    id: str | None
    sender: str
    to: str
    text: str
    date: str


class _Joined(_Out, tag="joined"):
    channel: str
    user: _User


class _Left(_Out, tag="left"):
    channel: str
    user: _User


class _Presence(_Out, tag="presence"):
    channel: str
    joined: list[_User]
    left: list[_User]
    count: int


class _Ack(_Out, tag="ack"):
    channel: str
    id: str
    offset: int | None


class _Error(_Out, tag="error"):
    code: str
    message: str
    retry: bool
    channel: str | None = None
    id: str | None = None


class _Welcome(_Out, tag="welcome"):
    channel: str
    user: _User
    users: list[_User]
    count: int
    epoch: str
    offset: int
    recovered: bool
    ping: float
    limits: Limits
