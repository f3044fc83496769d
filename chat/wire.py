"""chat.v1, outwards: events to JSON.  Pure; the frames of WebSocket around the JSON belong to `web`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chat import frames
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
from chat.frames import Limits

SUBPROTOCOL: Final = "chat.v1"

_json: Final = msgspec.json.Encoder()


def rfc3339(date: datetime) -> str:
    """UTC with milliseconds: 2026-01-31T12:00:00.123Z."""
    return f"{date.isoformat(timespec='milliseconds')[:23]}Z"


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
        return frames.Message(self._channel, event.offset, event.id or None, event.sender, event.text, rfc3339(event.date))

    def _edit(self, event: Edited) -> Struct:
        return frames.Edit(
            self._channel,
            event.offset,
            event.id or None,
            event.target,
            event.sender,
            event.text,
            rfc3339(event.date),
        )

    def _delete(self, event: Deleted) -> Struct:
        return frames.Delete(self._channel, event.offset, event.id or None, event.target, event.sender, rfc3339(event.date))

    def _whisper(self, event: Whisper) -> Struct:
        return frames.Whisper(self._channel, event.id or None, event.sender, event.to, event.text, rfc3339(event.date))

    def _joined(self, event: Joined) -> Struct:
        return frames.Joined(self._channel, _user(event.user))

    def _left(self, event: Left) -> Struct:
        return frames.Left(self._channel, frames.User(event.username))

    def _presence(self, event: Presence) -> Struct:
        left = [frames.User(username) for username in event.left]
        return frames.Presence(self._channel, _users(event.joined), left, event.count)

    def _typing(self, event: IsTyping) -> Struct:
        return frames.Typing(self._channel, _user(event.user))

    def _ack(self, event: Ack) -> Struct:
        return frames.Ack(self._channel, event.id, event.offset)

    def _error(self, event: Refusal) -> Struct:
        return frames.Error(event.code, event.message, event.retry, self._channel or None, event.id or None)

    def _history(self, event: Page) -> Struct:
        return frames.History(self._channel, event.id, [told(past) for past in event.events], event.more)

    def _closed(self, event: Closed) -> Struct:
        return frames.Closed(self._channel, event.code, event.reason)

    def _welcome(self, event: Welcome) -> Struct:
        return frames.Welcome(
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


def pong(id: str | None) -> bytes:
    """The answer to such a `ping` of the client's."""
    return _json.encode(frames.Pong(id))


def told(past: Past) -> frames.Told:
    """`past` as JSON tells it."""
    edited, deleted = (rfc3339(date) if date else "" for date in (past.edited, past.deleted))
    return frames.Told(past.offset, past.id or None, past.sender, past.text, rfc3339(past.date), edited, deleted)


def _user(user: User) -> frames.User:
    return frames.User(user.username, user.name)


def _users(users: tuple[User, ...]) -> list[frames.User]:
    return [_user(user) for user in users]
