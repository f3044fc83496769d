"""chat.v1, inwards: what a peer asks for, from JSON.

Requests are decoded with their types, so that nothing past this file has to check a field again.  Pure; the frames around
the JSON belong to `web`.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from chat.errors import BadRequest

LAST_OFFSET: Final = 2**53 - 1  # what a number of JavaScript's holds
PAGE: Final = 50  # messages of a history, where the request does not say
PAGE_LIMIT: Final = 200  # at most
CHANNELS: Final = 100  # on one connection at most

RequestId: TypeAlias = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}\Z")]  # a $ would let a line feed follow


Offset: TypeAlias = Annotated[int, Meta(ge=0, le=LAST_OFFSET)]
PageSize: TypeAlias = Annotated[int, Meta(ge=1, le=PAGE_LIMIT)]
Target: TypeAlias = Annotated[int, Meta(ge=1, le=LAST_OFFSET)]


class Publish(Struct, gc=False, tag="publish", tag_field="type"):
    """Say `text` in `channel`, to everybody or `to` one user."""

    text: str
    channel: str = ""
    id: RequestId | None = None
    to: str | None = None


class Edit(Struct, gc=False, tag="edit", tag_field="type"):
    """Give the message at `target` another text."""

    target: Target
    text: str
    channel: str = ""
    id: RequestId | None = None


class Delete(Struct, gc=False, tag="delete", tag_field="type"):
    """Take the message at `target` back."""

    target: Target
    channel: str = ""
    id: RequestId | None = None


class Typing(Struct, gc=False, tag="typing", tag_field="type"):
    """The user is writing something."""

    channel: str = ""


class Read(Struct, gc=False, tag="read", tag_field="type"):
    """The user has seen everything up to `offset`."""

    offset: Offset
    channel: str = ""


class History(Struct, gc=False, tag="history", tag_field="type"):
    """What was said before `before`, or after `after`; with neither, the newest."""

    id: RequestId
    channel: str = ""
    before: Offset | None = None
    after: Offset | None = None
    limit: PageSize = PAGE


class Join(Struct, gc=False, tag="join", tag_field="type"):
    """Enter the channel of `token` over a connection that is in another one already; go on where the user has stopped."""

    token: str
    id: RequestId | None = None
    epoch: str | None = None
    offset: Offset | None = None


class Leave(Struct, gc=False, tag="leave", tag_field="type"):
    """Give `channel` up, and keep the connection's other ones."""

    channel: str = ""
    id: RequestId | None = None


class Ping(Struct, gc=False, tag="ping", tag_field="type"):
    """The client doubts that the server is there, and cannot send a WebSocket's own ping (browsers)."""

    id: RequestId | None = None


class Pong(Struct, gc=False, tag="pong", tag_field="type"):
    """The answer to a `ping`; any other frame would do as well."""


Request: TypeAlias = Publish | Edit | Delete | Typing | Read | History
"""What a member can ask of its channel."""

Frame: TypeAlias = Request | Join | Leave | Ping | Pong
"""What a peer can send."""

TYPES: Final = ("publish", "edit", "delete", "typing", "read", "history", "join", "leave", "ping", "pong")

# Tuples made once: `A | B` in a function makes a union at each call, for a tenth of what a frame costs.
_OF_NO_CHANNEL: Final = (Join, Ping, Pong)

_decoder: Final = msgspec.json.Decoder(Frame)


class _Head(Struct):
    type: object = None
    id: object = None
    channel: object = None


_heads: Final = msgspec.json.Decoder(_Head)


def decode(frame: str) -> Frame:
    """Read one frame.  Raises: BadRequest, saying which field is wrong; with the request's id where that can be told."""
    try:
        request: Frame = _decoder.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise _explain(frame, exc) from exc
    if isinstance(request, _OF_NO_CHANNEL):
        return request
    if not request.channel:
        raise BadRequest("the field channel is missing", id_of(request))
    if isinstance(request, History) and request.before is not None and request.after is not None:
        raise BadRequest("before, after: at most one of them is wanted", request.id, request.channel)
    return request


def id_of(request: Frame) -> str | None:
    """The request's own id, for what answers it."""
    return None if isinstance(request, Pong | Typing | Read) else request.id


def _explain(frame: str, exc: Exception) -> BadRequest:
    if not isinstance(exc, msgspec.ValidationError):
        return BadRequest("this is not JSON, or it is nested too deeply")
    try:
        head = _heads.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return BadRequest("a JSON object is wanted")
    id, channel = _short(head.id) or None, _short(head.channel)
    if not isinstance(head.type, str):
        return BadRequest("the field type is missing, or no string", id, channel)
    if head.type not in TYPES:
        return BadRequest("the type is unknown", id, channel)
    return BadRequest(wrong_field(exc), id, channel)


def _short(value: object) -> str:
    """What may be said back to the peer, "" for what is no name and no id."""
    return value if isinstance(value, str) and len(value) <= 64 else ""


def wrong_field(exc: msgspec.ValidationError) -> str:
    """Say which field is wrong, and what is wanted, in msgspec's words; it quotes a peer's values only for tags."""
    return str(exc).replace("`$.", "`")
