"""What happens in a channel, as plain data; what travels through the broker and is encoded for every wire.

A logged event has an offset, which the broker stamps on it; all others are heard once and forgotten.  Structs of msgspec
because they encode themselves without a detour through dictionaries; `gc=False` because they never refer to one another
in a circle and a batch of them should not wake the collector.
"""

from datetime import datetime
from typing import TypeAlias

from msgspec import Struct


class User(Struct, gc=False, frozen=True):
    """A user as all members of a channel see them."""

    username: str
    name: str = ""  # for display; "" when there is none


class Message(Struct, gc=False, tag="message"):
    """Said to everybody.  `sender` "" is the system."""

    sender: str
    text: str
    date: datetime
    id: str = ""
    offset: int = 0
    rendered: bool = False  # an encoder made `text`: a plain client gets it as it is


class Whisper(Struct, gc=False, tag="whisper"):
    """Said to one user, on all of that user's and of the sender's connections.  Not logged."""

    sender: str
    to: str
    text: str
    date: datetime
    id: str = ""
    rendered: bool = False


class Joined(Struct, gc=False, tag="joined"):
    """A user has entered, with the first of perhaps several connections; or is still here, and has another display name."""

    user: User
    date: datetime
    text: str = ""  # for plain clients; "" when a hook speaks in its place
    rendered: bool = False


class Left(Struct, gc=False, tag="left"):
    """A user has gone, with the last connection."""

    username: str
    date: datetime
    text: str = ""
    rendered: bool = False


class Presence(Struct, gc=False, tag="presence"):
    """Many joins and leaves of a large room, folded.  The lists may be cut; `count` is true."""

    joined: tuple[User, ...]
    left: tuple[str, ...]  # usernames
    count: int
    date: datetime
    text: str = ""
    rendered: bool = False


class Welcome(Struct, gc=False):
    """The first thing a new connection hears; `offset` is the last event before the join."""

    user: User
    users: tuple[User, ...]
    count: int
    epoch: str
    offset: int
    recovered: bool


class Ack(Struct, gc=False):
    """The request `id` was done; `offset` is where it stands in the log, None when it is not logged."""

    id: str
    offset: int | None = None


class Refusal(Struct, gc=False):
    """The request `id` ("" when it had none) was not done."""

    id: str
    code: str
    message: str
    retry: bool
    date: datetime


Published: TypeAlias = Message | Whisper | Joined | Left | Presence
"""What goes through the broker."""

Event: TypeAlias = Published | Welcome | Ack | Refusal
"""Whatever a format can be asked to encode."""
