"""Makes guessing at passwords slow, for the account and for the address that it comes from, and never locks anybody out.

A lock would be a gift to whoever wants to keep the owner out.  So failures only make the next attempt wait, and no bound
counts an account without its address: from another address the owner always gets through.  An attempt counts as a failure
while it is under way, or a thousand that come at once would all find nothing to wait for.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final, TypeVar

from gevent.event import AsyncResult

from chat.clock import Clock
from chat.errors import RateLimited

T = TypeVar("T")

FORGET: Final = 60.0  # seconds after which one failure is forgotten, and then the next
ACCOUNT_DELAYS: Final = (0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds after so many failures; the last for more
ADDRESS_DELAYS: Final = (*[0.0] * 20, 0.5, 1.0, 2.0, 4.0)  # more for free: a school or an office may share one
PAIR: Final = 2  # attempts at a time at one account from one address
WAITING: Final = 256  # attempts that wait; each holds a greenlet and a connection
REMEMBERED: Final = 16_384  # accounts, and addresses, whose failures are remembered
RETRY_AFTER: Final = 10.0  # seconds; no attempt waits longer


class TooManyAttempts(RateLimited):
    """So many attempts are under way that this one was not made.  Nothing was checked or counted."""

    code = "too_many_attempts"
    text = "too many attempts to log in are under way"


class Slowdown:
    """Failures of accounts and of addresses, and who waits for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts = _Failures(ACCOUNT_DELAYS)
        self._addresses = _Failures(ADDRESS_DELAYS)
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[str, list[AsyncResult[None]]] = {}  # by address

    @contextmanager
    def attempt(self, account: str, address: str) -> Iterator[None]:
        """Wait as long as this account or this address has to, then let the body try.  Blocks.

        `account` is the key of a name, "" where no account is tried; `address` is as `web.address.network` returns it.
        Raises: TooManyAttempts.
        """
        pair = account, address
        if account and address and self._pairs[pair] >= PAIR:  # without an address it would be a lock for all
            raise TooManyAttempts(retry_after=RETRY_AFTER)
        self._pairs[pair] += 1
        self._accounts.enter(account)
        self._addresses.enter(address)
        try:
            now = self._clock.monotonic()
            self._wait(max(self._accounts.delay(account, now), self._addresses.delay(address, now)), address)
            yield
        finally:
            self._accounts.leave(account)
            self._addresses.leave(address)
            _count_down(self._pairs, pair)

    def failed(self, account: str, address: str) -> None:
        """Count one failure.  Never yields."""
        now = self._clock.monotonic()
        self._accounts.add(account, now)
        self._addresses.add(address, now)

    def succeeded(self, account: str) -> None:
        """Forget the failures of an account, but not those of the address: it may have guessed.  Never yields."""
        self._accounts.forget(account)

    def _wait(self, seconds: float, address: str) -> None:
        if not seconds:
            return
        if sum(map(len, self._waiting.values())) >= WAITING:
            self._make_room(address)
        over: AsyncResult[None] = AsyncResult()
        self._waiting.setdefault(address, []).append(over)
        timer = self._clock.later(seconds, over.set)
        try:
            over.get()
        finally:
            timer.cancel()
            self._stop_waiting(address, over)

    def _make_room(self, address: str) -> None:
        """Send away the last of the address with the most attempts, so that none takes the places of all the others."""
        most = max(self._waiting, key=lambda other: len(self._waiting[other]))
        if len(self._waiting[most]) <= len(self._waiting.get(address, ())):
            raise TooManyAttempts(retry_after=RETRY_AFTER)
        last = self._waiting[most][-1]
        self._stop_waiting(most, last)
        last.set_exception(TooManyAttempts(retry_after=RETRY_AFTER))

    def _stop_waiting(self, address: str, over: "AsyncResult[None]") -> None:
        waiting = self._waiting.get(address, [])
        if over in waiting:
            waiting.remove(over)
        if not waiting:
            self._waiting.pop(address, None)


class _Failures:
    """How many there were lately, for each of many names; "" is nobody's and has none.

    All that is remembered of a name is the moment at which its last failure will be forgotten.
    """

    def __init__(self, delays: tuple[float, ...]) -> None:
        self._delays = delays
        self._until: dict[str, float] = {}
        self._under_way: Counter[str] = Counter()

    def enter(self, name: str) -> None:
        self._under_way[name] += 1

    def leave(self, name: str) -> None:
        _count_down(self._under_way, name)

    def delay(self, name: str, now: float) -> float:
        """Seconds that the attempt which has entered last has to wait."""
        if not name:
            return 0.0
        remembered = ceil(max(self._until.get(name, now) - now, 0.0) / FORGET)
        failures = remembered + self._under_way[name] - 1
        return self._delays[min(failures, len(self._delays) - 1)]

    def add(self, name: str, now: float) -> None:
        """Count one; beyond those that make the longest delay none is, so that an attacked account recovers soon."""
        if not name:
            return
        if name not in self._until and len(self._until) >= REMEMBERED:
            self._make_room(now)
        most = (len(self._delays) - 1) * FORGET
        self._until[name] = min(max(self._until.get(name, now), now) + FORGET, now + most)

    def forget(self, name: str) -> None:
        self._until.pop(name, None)

    def _make_room(self, now: float) -> None:
        """Keep the half that has failed most."""
        kept = sorted(self._until.items(), key=lambda item: item[1])[-REMEMBERED // 2 :]
        self._until = {name: until for name, until in kept if until > now}


def _count_down(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
