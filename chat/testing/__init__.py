"""For the tests of whoever builds on this package: people, conns with faults, and a clock that the test turns.

The fixtures of pytest are in `chat.testing.fixtures`, which alone needs pytest.
"""

from chat.testing.clock import TurnedClock
from chat.testing.conns import DirectFake, EventFormat, Jammed, ThreeMethods
from chat.testing.faults import DroppingConn, DuplicatingConn, HalfOpenConn, SlowConn
from chat.testing.person import Person, enter
from chat.testing.turns import chat_greenlets, never_yields, no_greenlet_left, wait_until

__all__ = [
    "DirectFake",
    "DroppingConn",
    "DuplicatingConn",
    "EventFormat",
    "HalfOpenConn",
    "Jammed",
    "Person",
    "SlowConn",
    "ThreeMethods",
    "TurnedClock",
    "chat_greenlets",
    "enter",
    "never_yields",
    "no_greenlet_left",
    "wait_until",
]
