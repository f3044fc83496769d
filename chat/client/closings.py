"""What a close code means for who was closed; for a whole connection, or for one channel of it."""

from typing import Final

from chat.closing import CloseCode

# Coming back would lead to the same end: what this client says is not taken.
MUTE: Final = frozenset({CloseCode.UNSUPPORTED, CloseCode.POLICY, CloseCode.TOO_BIG})
# From 4001 neither: two clients of one user would push each other out for ever.
OVER: Final = MUTE | {CloseCode.NORMAL, CloseCode.REPLACED}
FIRST_FINAL: Final = 4500


def is_final(code: int) -> bool:
    """Whether not to come back."""
    return code in OVER or FIRST_FINAL <= code < 5000


def is_for_all(code: int) -> bool:
    """Whether it is about the client, and not about the channels that it was in."""
    return code in MUTE or code == CloseCode.LOGGED_OUT
