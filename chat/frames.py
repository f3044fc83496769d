"""chat.v1, outwards: the fields of each frame, as JSON has them.

`chat.wire` makes these of events, `chat.client` makes events of these.
"""

from msgspec import Struct

from chat.requests import CHANNELS, PAGE_LIMIT


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


class Told(Struct, gc=False, omit_defaults=True, rename={"sender": "from"}):
    """A message of the history as JSON, over the socket and over HTTP."""

    offset: int
    id: str | None
    sender: str
    text: str
    date: str
    edited: str = ""
    deleted: str = ""


class User(Struct, gc=False, omit_defaults=True):
    user: str
    name: str = ""


class Out(Struct, gc=False, omit_defaults=True, tag_field="type", rename={"sender": "from"}):
    pass


class Message(Out, tag="message"):
    channel: str
    offset: int
    id: str | None
    sender: str
    text: str
    date: str


class Edit(Out, tag="edit"):
    channel: str
    offset: int
    id: str | None
    target: int
    sender: str
    text: str
    date: str


class Delete(Out, tag="delete"):
    channel: str
    offset: int
    id: str | None
    target: int
    sender: str
    date: str


class Typing(Out, tag="typing"):
    channel: str
    user: User


class History(Out, tag="history"):
    channel: str
    id: str
    events: list[Told]
    more: bool


class Closed(Out, tag="closed"):
    channel: str
    code: int
    reason: str


class Whisper(Out, tag="whisper"):
    channel: str
    id: str | None
    sender: str
    to: str
    text: str
    date: str


class Joined(Out, tag="joined"):
    channel: str
    user: User


class Left(Out, tag="left"):
    channel: str
    user: User


class Presence(Out, tag="presence"):
    channel: str
    joined: list[User]
    left: list[User]
    count: int


class Ack(Out, tag="ack"):
    channel: str
    id: str
    offset: int | None


class Error(Out, tag="error"):
    code: str
    message: str
    retry: bool
    channel: str | None = None
    id: str | None = None


class Welcome(Out, tag="welcome"):
    channel: str
    user: User
    users: list[User]
    count: int
    epoch: str
    offset: int
    recovered: bool
    ping: float
    limits: Limits


class Ping(Out, tag="ping"):
    """For clients that cannot see WebSocket pings (browsers)."""


class Pong(Out, tag="pong"):
    """The answer to a `ping` of the client's."""

    id: str | None = None
