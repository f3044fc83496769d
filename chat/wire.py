"""chat.v1, outwards: events to JSON.  Pure; the frames around the JSON belong to `web`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chat.event import (
    Ack,
    Closed,
    Deleted,
    Edited,
    Event,
    IsTyping,
    Joined,
    Left,
    Message,
    Page,
    Past,
    Presence,
    Refusal,
    User,
    Welcome,
    Whisper,
)
from chat.requests import CHANNELS, PAGE_LIMIT

SUBPROTOCOL: Final = "chat.v1"

_json: Final = msgspec.json.Encoder()


def rfc3339(date: datetime) -> str:
    """UTC with milliseconds: 2026-01-31T12:00:00.123Z."""
    return f"{date.isoformat(timespec='milliseconds')[:23]}Z"


class Limits(Struct, gc=False):
    """What a client may do; told in `welcome`."""

    message: int
    """Bytes of UTF-8 in one text."""
    rate: float
    """Messages a second that one socket may send; 0 is no limit."""
    channels: int = CHANNELS
    """On one connection."""
    history: int = PAGE_LIMIT
    """Messages that one `history` may ask for."""


class Dialect:
    """Encodes events of one channel."""

    __slots__ = ("_channel", "_limits", "_ping")

    def __init__(self, channel: str, limits: Limits, ping: float) -> None:
        self._channel = channel
        self._limits = limits
        self._ping = ping

    def encode(self, event: Event) -> bytes:
        """One event as JSON in UTF-8."""
        return _json.encode(_FRAMES[type(event)](self, event))

    def _message(self, event: Message) -> Struct:
        return _Message(self._channel, event.offset, event.id or None, event.sender, event.text, rfc3339(event.date))

    def _edit(self, event: Edited) -> Struct:
        return _Edit(
            self._channel,
            event.offset,
            event.id or None,
            event.target,
            event.sender,
            event.text,
            rfc3339(event.date),
        )

    def _delete(self, event: Deleted) -> Struct:
        return _Delete(self._channel, event.offset, event.id or None, event.target, event.sender, rfc3339(event.date))

    def _whisper(self, event: Whisper) -> Struct:
        return _Whisper(self._channel, event.id or None, event.sender, event.to, event.text, rfc3339(event.date))

    def _joined(self, event: Joined) -> Struct:
        return _Joined(self._channel, _user(event.user))

    def _left(self, event: Left) -> Struct:
        return _Left(self._channel, _User(event.username))

    def _presence(self, event: Presence) -> Struct:
        left = [_User(username) for username in event.left]
        return _Presence(self._channel, _users(event.joined), left, event.count)

    def _typing(self, event: IsTyping) -> Struct:
        return _Typing(self._channel, _user(event.user))

    def _ack(self, event: Ack) -> Struct:
        return _Ack(self._channel, event.id, event.offset)

    def _error(self, event: Refusal) -> Struct:
        return _Error(event.code, event.message, event.retry, self._channel or None, event.id or None)

    def _history(self, event: Page) -> Struct:
        return _History(self._channel, event.id, [told(past) for past in event.events], event.more)

    def _closed(self, event: Closed) -> Struct:
        return _Closed(self._channel, event.code, event.reason)

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


_FRAMES: Final[Mapping[type[Event], Callable[[Dialect, Any], Struct]]] = {  # each its own kind
    Message: Dialect._message,
    Edited: Dialect._edit,
    Deleted: Dialect._delete,
    Whisper: Dialect._whisper,
    Joined: Dialect._joined,
    Left: Dialect._left,
    Presence: Dialect._presence,
    IsTyping: Dialect._typing,
    Ack: Dialect._ack,
    Refusal: Dialect._error,
    Page: Dialect._history,
    Closed: Dialect._closed,
    Welcome: Dialect._welcome,
}


def ping() -> bytes:
    """`ping`, for clients that cannot see WebSocket pings (browsers)."""
    return b'{"type":"ping"}'


class Told(Struct, gc=False, omit_defaults=True, rename={"sender": "from"}):
    """A message of the history as JSON, over the socket and over HTTP."""

    offset: int
    id: str | None
    sender: str
    text: str
    date: str
    edited: str = ""
    deleted: str = ""


def told(past: Past) -> Told:
    """`past` as JSON tells it."""
    edited, deleted = (rfc3339(date) if date else "" for date in (past.edited, past.deleted))
    return Told(past.offset, past.id or None, past.sender, past.text, rfc3339(past.date), edited, deleted)


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


class _Edit(_Out, tag="edit"):
    channel: str
    offset: int
    id: str | None
    target: int
    sender: str
    text: str
    date: str


class _Delete(_Out, tag="delete"):
    channel: str
    offset: int
    id: str | None
    target: int
    sender: str
    date: str


class _Typing(_Out, tag="typing"):
    channel: str
    user: _User


class _History(_Out, tag="history"):
    channel: str
    id: str
    events: list[Told]
    more: bool


class _Closed(_Out, tag="closed"):
    channel: str
    code: int
    reason: str


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
