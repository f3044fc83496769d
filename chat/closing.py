"""Why a connection is closed: the codes that go over the wire.

1000 to 1015 are RFC 6455 section 7.4.1 and the IANA registry; 4000 to 4999 are ours (7.4.2, private use).  A client that
gets 4000 to 4499 should come back, one that gets 4500 to 4999 should not.
"""

from enum import IntEnum
from typing import Final, NamedTuple


class CloseCode(IntEnum):
    """What a close frame may say."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    TRY_LATER = 1013
    STALE = 4000
    REPLACED = 4001
    SLOW = 4008
    RATE = 4029
    LOGGED_OUT = 4501
    KICKED = 4503
    BANNED = 4504


class Closing(NamedTuple):
    """A close code with its reason (at most 123 bytes of UTF-8, RFC 6455 section 5.5)."""

    code: int
    reason: str = ""


GONE: Final = Closing(1006)  # never sent: the network, or the peer, ended it without a word (RFC 6455 section 7.1.5)
CHANNEL_CLOSED: Final = Closing(CloseCode.NORMAL, "channel closed")
SERVER_CLOSED: Final = Closing(CloseCode.GOING_AWAY, "server closed")
INTERNAL: Final = Closing(CloseCode.INTERNAL, "internal error")
KICKED: Final = Closing(CloseCode.KICKED, "removed from the channel")
REPLACED: Final = Closing(CloseCode.REPLACED, "connected from somewhere else")
NOT_TEXT: Final = Closing(CloseCode.UNSUPPORTED, "only text is spoken here")
FLOOD: Final = Closing(CloseCode.RATE, "too many messages")
STALE: Final = Closing(CloseCode.STALE, "no sign of life")
TAKEN_FOR_DEAD: Final = Closing(CloseCode.STALE, "the server was out of reach")
LOGGED_OUT: Final = Closing(CloseCode.LOGGED_OUT, "logged out")
NOT_ALLOWED: Final = Closing(CloseCode.KICKED, "no longer allowed in this channel")
SLOW: Final = Closing(CloseCode.SLOW, "reading too slowly")


def restart(seconds: float) -> Closing:
    """Ask the client to come back after `seconds`: `retry=1.250`."""
    return Closing(CloseCode.RESTART, f"retry={seconds:.3f}")
