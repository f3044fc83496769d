"""How often one user, or one address, may ask for something that costs us."""

from typing import Final

from chat.clock import Clock
from chat.errors import RateLimited
from chat.rate import Rate

SWEEP: Final = 1024  # names remembered, at least, before those that have their full allowance again are forgotten


class TooManyRequests(RateLimited):
    """Asked too often.  Nothing was done."""

    text = "too many requests in too short a time"


class Throttle:
    """One rate for each user, or address.  Nothing here yields."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._until: dict[str, float] = {}
        self._sweep_at = SWEEP

    def spend(self, name: str) -> None:
        """Count one request.  Raises: TooManyRequests."""
        if not self._rate.interval:  # nothing to remember
            return
        now = self._clock.monotonic()
        until = self._rate.spend(self._until.get(name, 0.0), now)
        if until is None:
            raise TooManyRequests(retry_after=self._rate.interval)
        if len(self._until) >= self._sweep_at:
            self._until = {other: moment for other, moment in self._until.items() if moment > now}
            self._sweep_at = max(SWEEP, 2 * len(self._until))  # or a crowd would make every request a sweep
        self._until[name] = until
