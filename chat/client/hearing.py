"""chat.v1, as a client hears it: frames to events.  The inverse of `chat.wire`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias, get_args

import msgspec

from chat import frames
from chat.event import (
    Ack,
    Closed,
    Deleted,
    Edited,
    IsTyping,
    Joined,
    Left,
    Message,
    Page,
    Past,
    Presence,
    Published,
    Refusal,
    User,
    Welcome,
    Whisper,
)

Now: TypeAlias = Callable[[], datetime]


class Greeting(NamedTuple):
    """What `welcome` says: who is here, and what this client may do."""

    welcome: Welcome
    ping: float
    """Seconds of silence after which the server asks for a sign of life."""
    limits: frames.Limits


Event: TypeAlias = Published | Greeting | Ack | Page | Refusal | Closed


class Heard(NamedTuple):
    """One frame; `channel` "" where it is about none."""

    channel: str
    event: Event | frames.Ping


_Frame: TypeAlias = (
    frames.Welcome
    | frames.Message
    | frames.Edit
    | frames.Delete
    | frames.Whisper
    | frames.Joined
    | frames.Left
    | frames.Presence
    | frames.Typing
    | frames.Ack
    | frames.History
    | frames.Error
    | frames.Closed
    | frames.Ping
)
_decoder: Final = msgspec.json.Decoder(_Frame)


class _Head(msgspec.Struct):
    type: str


_heads: Final = msgspec.json.Decoder(_Head)


def hear(text: bytes, now: Now) -> Heard | None:
    """Read one frame; None is one of a type that is not known here, as a newer server may have.

    `now` dates what comes without a date.  Raises: ValueError when it is broken.
    """
    try:
        frame = _decode(text)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if frame is None:
        return None
    if isinstance(frame, frames.Ping):
        return Heard("", frame)
    return Heard(frame.channel or "", _EVENTS[type(frame)](frame, now))


def _decode(text: bytes) -> _Frame | None:
    try:
        frame: _Frame = _decoder.decode(text)
    except msgspec.ValidationError:
        if _heads.decode(text).type in _TYPES:
            raise
        return None
    return frame


def _message(frame: frames.Message, _now: Now) -> Message:
    return Message(frame.sender, frame.text, _date(frame.date), frame.id or "", frame.offset)


def _edit(frame: frames.Edit, _now: Now) -> Edited:
    return Edited(frame.target, frame.sender, frame.text, _date(frame.date), frame.id or "", frame.offset)


def _delete(frame: frames.Delete, _now: Now) -> Deleted:
    return Deleted(frame.target, frame.sender, _date(frame.date), frame.id or "", frame.offset)


def _whisper(frame: frames.Whisper, _now: Now) -> Whisper:
    return Whisper(frame.sender, frame.to, frame.text, _date(frame.date), frame.id or "")


def _joined(frame: frames.Joined, now: Now) -> Joined:
    return Joined(_user(frame.user), now())


def _left(frame: frames.Left, now: Now) -> Left:
    return Left(frame.user.user, now())


def _presence(frame: frames.Presence, now: Now) -> Presence:
    return Presence(_users(frame.joined), tuple(user.user for user in frame.left), frame.count, now())


def _typing(frame: frames.Typing, _now: Now) -> IsTyping:
    return IsTyping(_user(frame.user))


def _ack(frame: frames.Ack, _now: Now) -> Ack:
    return Ack(frame.id, frame.offset)


def _history(frame: frames.History, _now: Now) -> Page:
    return Page(frame.id, tuple(map(_past, frame.events)), frame.more)


def _past(told: frames.Told) -> Past:
    edited, deleted = (_date(date) if date else None for date in (told.edited, told.deleted))
    return Past(told.offset, told.sender, told.text, _date(told.date), told.id or "", edited=edited, deleted=deleted)


def _error(frame: frames.Error, now: Now) -> Refusal:
    return Refusal(frame.id or "", frame.code, frame.message, frame.retry, now())


def _closed(frame: frames.Closed, _now: Now) -> Closed:
    return Closed(frame.code, frame.reason)


def _welcome(frame: frames.Welcome, _now: Now) -> Greeting:
    user, users = _user(frame.user), _users(frame.users)
    welcome = Welcome(user, users, frame.count, frame.epoch, frame.offset, frame.recovered)
    return Greeting(welcome, frame.ping, frame.limits)


_EVENTS: Final[Mapping[type, Callable[[Any, Now], Event]]] = {  # each its own kind
    frames.Welcome: _welcome,
    frames.Message: _message,
    frames.Edit: _edit,
    frames.Delete: _delete,
    frames.Whisper: _whisper,
    frames.Joined: _joined,
    frames.Left: _left,
    frames.Presence: _presence,
    frames.Typing: _typing,
    frames.Ack: _ack,
    frames.History: _history,
    frames.Error: _error,
    frames.Closed: _closed,
}
_KINDS: Final[tuple[type[msgspec.Struct], ...]] = get_args(_Frame)
_TYPES: Final = frozenset(kind.__struct_config__.tag for kind in _KINDS)


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _user(user: frames.User) -> User:
    return User(user.user, user.name)


def _users(users: list[frames.User]) -> tuple[User, ...]:
    return tuple(map(_user, users))
