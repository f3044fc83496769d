"""How much of something is allowed in how much time.

The generic cell rate algorithm (ITU-T I.371): all that has to be remembered is one moment, so it costs an idle connection
next to nothing.
"""

from typing import Final, NamedTuple

SLACK: Final = 1e-3  # of one: sums of floats are off by less, and a burst of 30 would be one of 29 every other time


class Rate(NamedTuple):
    """`interval` seconds each in the long run, `burst` of them at once; an interval of 0 is no limit."""

    interval: float
    burst: float

    @classmethod
    def per_second(cls, rate: float, burst: float) -> "Rate":
        """`rate` a second, 0 for no limit."""
        return cls(1 / rate if rate else 0.0, burst)

    def spend(self, until: float, now: float, count: int = 1) -> float | None:
        """Return the new moment in place of `until`, None when that is too much.  Begin with 0."""
        if not self.interval:
            return until
        if self.wait(until, now, count) > 0:
            return None
        return max(until, now) + count * self.interval

    def wait(self, until: float, now: float, count: int = 1) -> float:
        """Seconds until that is no longer too much."""
        return max(max(until - now, 0.0) - (self.burst - count + SLACK) * self.interval, 0.0)
