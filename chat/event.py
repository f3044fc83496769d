"""What happens in a channel, as plain data; what travels through the broker and is encoded for every wire.

A logged event has an offset, which the broker stamps on it; all others are heard once and forgotten.  Structs of msgspec
because they encode themselves without a detour through dictionaries; `gc=False` because they never refer to one another
in a circle and a batch of them should not wake the collector.
"""

from datetime import datetime
from typing import Final, TypeAlias, get_args

from msgspec import Struct


class User(Struct, gc=False, frozen=True):
    """A user as all members of a channel see them."""

    username: str
    name: str = ""  # for display; "" when there is none


class Message(Struct, gc=False, omit_defaults=True, tag="message"):
    """Said to everybody.  `sender` "" is the system."""

    sender: str
    text: str
    date: datetime
    id: str = ""
    offset: int = 0
    rendered: bool = False  # an encoder made `text`: a plain client gets it as it is


class Edited(Struct, gc=False, omit_defaults=True, tag="edit"):
    """The message at `target` has another text now; `sender` has changed it, its author or a moderator."""

    target: int
    sender: str
    text: str
    date: datetime
    id: str = ""
    offset: int = 0
    rendered: bool = False


class Deleted(Struct, gc=False, omit_defaults=True, tag="delete"):
    """The message at `target` is no more; `sender` has taken it back, its author or a moderator."""

    target: int
    sender: str
    date: datetime
    id: str = ""
    offset: int = 0


Logged: TypeAlias = Message | Edited | Deleted
"""What has an offset."""

LOGGED: Final = get_args(Logged)
"""The same, asked of each event many times: of a tuple isinstance() takes half of the time."""


class Past(Struct, gc=False, frozen=True):
    """A message as it is now, whatever has become of it since it was said."""

    offset: int
    sender: str
    text: str
    """"" once it was deleted."""
    date: datetime
    """When it was said."""
    id: str = ""
    rendered: bool = False
    edited: datetime | None = None
    """When it was edited last."""
    deleted: datetime | None = None


class Whisper(Struct, gc=False, omit_defaults=True, tag="whisper"):
    """Said to one user, on all of that user's and of the sender's connections.  Not logged."""

    sender: str
    to: str
    text: str
    date: datetime
    id: str = ""
    rendered: bool = False


class Joined(Struct, gc=False, omit_defaults=True, tag="joined"):
    """A user has entered, with the first of perhaps several connections; or is still here, and has another display name."""

    user: User
    date: datetime
    text: str = ""  # for plain clients; "" when a hook speaks in its place
    rendered: bool = False


class Left(Struct, gc=False, omit_defaults=True, tag="left"):
    """A user has gone, with the last connection."""

    username: str
    date: datetime
    text: str = ""
    rendered: bool = False


class Presence(Struct, gc=False, omit_defaults=True, tag="presence"):
    """Many joins and leaves of a large room, folded.  The lists may be cut; `count` is true."""

    joined: tuple[User, ...]
    left: tuple[str, ...]  # usernames
    count: int
    date: datetime
    text: str = ""
    rendered: bool = False


Notice: TypeAlias = Joined | Left | Presence
"""Who is here has changed."""

NOTICES: Final = get_args(Notice)


class IsTyping(Struct, gc=False, omit_defaults=True, tag="typing"):
    """A user is writing something."""

    user: User


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


class Page(Struct, gc=False):
    """A part of the log, for the request `id`."""

    id: str
    events: tuple[Past, ...]
    """By offset, the oldest first."""
    more: bool
    """Whether there is more in the direction that was asked for: before the first of them, or after the last."""


class Closed(Struct, gc=False):
    """One channel of a connection has ended, while others go on; as a close frame would say it."""

    code: int
    reason: str


class Refusal(Struct, gc=False):
    """The request `id` ("" when it had none) was not done."""

    id: str
    code: str
    message: str
    retry: bool
    date: datetime


Published: TypeAlias = Logged | Whisper | Notice | IsTyping
"""What goes through the broker."""

Event: TypeAlias = Published | Welcome | Ack | Refusal | Page | Closed
"""Whatever a format can be asked to encode."""
