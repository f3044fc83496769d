"""How long to wait before the next try.  Pure: chance comes in from outside."""

import re
from collections.abc import Callable
from typing import Final

from chat.errors import ChatError

Chance = Callable[[], float]
"""Something from 0 up to 1, as `random.random`."""

FIRST: Final = 1.0  # seconds
LONGEST: Final = 30.0
MOST: Final = 10 * LONGEST  # that a server may ask for

_ASKED: Final = re.compile(r"retry=(\d+(?:\.\d+)?)")


def backoff(attempt: int, chance: Chance) -> float:
    """Full jitter: anything between nothing and a bound that doubles.

    When a server comes back, its clients then spread evenly instead of coming in waves (AWS Architecture Blog, "Exponential
    Backoff And Jitter").
    """
    return chance() * min(LONGEST, FIRST * 2.0 ** min(attempt, 10))


def asked_for(reason: str) -> float | None:
    """Seconds that the close reason `retry=1.250` asks for."""
    found = _ASKED.fullmatch(reason)
    return float(found[1]) if found else None


def obey(seconds: float, chance: Chance) -> float:
    """The wait where a server has asked for one: not less, and a little more, for others were asked for the same."""
    return min(max(seconds, 0.0), MOST) + FIRST * chance()


# Fresh tokens are refused when the server was started again between the two, for it forgets them.
TRIES: Final = 5
STRANGE: Final = frozenset({"invalid_token", "expired_token"})
TAKEN: Final = "user_already_connected"


def delay_after(error: Exception, attempt: int, chance: Chance, *, was_in: bool = False) -> float | None:
    """Seconds until what failed with `error` is tried again; None when that is of no use.

    `attempt`: how often it has failed before.  `was_in`: our own last connection may still hold our name.
    """
    if not isinstance(error, ChatError):
        retry = isinstance(error, OSError)
    elif error.code in STRANGE:
        retry = attempt < TRIES
    else:
        retry = error.retry or (was_in and error.code == TAKEN)
    if not retry:
        return None
    asked: float | None = getattr(error, "retry_after", None)
    return obey(asked, chance) if asked else backoff(attempt, chance)
