"""How often one user may ask for something that costs us."""

from typing import Final

from chat.clock import Clock
from chat.errors import RateLimited
from web.websocket.rate import Rate

SWEEP: Final = 1024  # users remembered before those who have their full allowance again are forgotten


class Throttle:
    """One rate for each user.  Nothing here yields."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._until: dict[str, float] = {}

    def spend(self, username: str) -> None:
        """Count one request.  Raises: RateLimited."""
        now = self._clock.monotonic()
        until = self._rate.spend(self._until.get(username, 0.0), now)
        if until is None:
            raise RateLimited(retry_after=self._rate.interval)
        if len(self._until) >= SWEEP:
            self._until = {name: moment for name, moment in self._until.items() if moment > now}
        self._until[username] = until
