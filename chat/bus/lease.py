"""This process among all that share a Redis: who lives, and who sees to what the dead have left behind.

Each process has a name, and a lease on it that it renews.  Whose lease has run out is dead, whatever it thinks itself: one
of the others claims it and buries it, that is, gives back what it held.  A process that was stopped for so long finds out
before it does anything else that others see, and goes on under another name.
"""

import secrets
import time
from collections.abc import Callable
from logging import Logger
from typing import Final, Protocol

import gevent

from chat.bus.bus import Bus
from chat.bus.link import Script
from chat.errors import BrokerUnavailable, ChatError

TAG: Final = "processes"
LEASE: Final = 10.0  # seconds
RENEWALS: Final = 4  # in the time of a lease: who dies is found dead after 12.5 seconds at most
RETRY: Final = 0.5  # seconds after which a renewal that failed is tried again
GOODBYE: Final = 0.5  # seconds for signing off
BURIAL: Final = 60.0  # seconds; who has not buried a dead process by then has died too
CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps

RENEW: Final = Script("""
-- KEYS leases, burials, the dead; ARGV process, lease, whether it may look for dead ones, time for a burial (milliseconds)
-- -> what has become of the lease, and the dead that are now this process's to bury
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZSCORE', KEYS[3], ARGV[1]) then return {'dead'} end
-- Where this was held up on its way, so was what the others have said: nobody is known to be dead.
local is_late = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0') < now + ARGV[2] / 2
local found = {redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1]) == 1 and 'new' or 'kept'}
if ARGV[3] == '1' and not is_late then
    for i = 1, 2 do
        for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'LIMIT', 0, 10)) do
            redis.call('ZREM', KEYS[1], process)
            redis.call('ZADD', KEYS[2], now + ARGV[4], process)
            redis.call('ZADD', KEYS[3], now, process)
            found[#found + 1] = process
        end
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 86400000)
end
return found
""")


class Standing(Protocol):
    """What others need to know of a `Lease`."""

    @property
    def process(self) -> str: ...
    @property
    def is_valid(self) -> bool: ...
    def note(self, channel: str) -> None: ...
    def strike(self, channel: str) -> None: ...


class Lease:
    """The name of this process, and what it has open under it."""

    def __init__(self, bus: Bus, log: Logger, lease: float = LEASE) -> None:
        """`lease` is in seconds, and the same for all."""
        self._bus = bus
        self._log = log
        self._lease = lease
        self._renewal = lease / RENEWALS
        self._keys = [bus.key(TAG, kind) for kind in ("leases", "burials", "dead")]
        self._open: set[str] = set()
        self._until = 0.0
        self._since: float | None = None  # from when on it was renewed without a break
        self._on_dead: Callable[[str], None] = lambda _: None
        self._on_lost: Callable[[], None] = lambda: None
        self._on_forgotten: Callable[[], None] = lambda: None
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._process = _name()

    @property
    def process(self) -> str:
        """The name of this process among all."""
        return self._process

    @property
    def is_valid(self) -> bool:
        """Whether no other process can think that this one is dead."""
        return time.clock_gettime(CLOCK) < self._until

    def start(self, on_dead: Callable[[str], None], on_lost: Callable[[], None], on_forgotten: Callable[[], None]) -> None:
        """Take the lease, and keep it.  Blocks.  Raises: BrokerUnavailable.

        `on_dead` is called with the name of a process that this one has to bury; it may block.  `on_lost` when this one was
        buried itself, and has another name now, and `on_forgotten` when the Redis has lost everything; they never yield.
        """
        self._on_dead, self._on_lost, self._on_forgotten = on_dead, on_lost, on_forgotten
        self._renew()
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Give the name up, which has nothing open any more.  Blocks; idempotent."""
        if self._greenlet is None:
            return
        self._greenlet.kill()
        self._greenlet = None
        goodbye = [
            self._bus.ask(TAG, "ZREM", self._keys[0], self.process),
            self._bus.ask(TAG, "DEL", self._key(self.process)),
        ]
        gevent.wait(goodbye, timeout=GOODBYE)
        if not all(answer.successful() for answer in goodbye):
            self._log.warning("this process could not sign off, and will be found dead")

    def note(self, channel: str) -> None:
        """There is something to bury in that channel, should this process die.  Blocks.  Raises: BrokerUnavailable."""
        self._open.add(channel)
        self._bus.do(TAG, "SADD", self._key(self.process), channel)

    def strike(self, channel: str) -> None:
        """There is nothing any more.  Never yields."""
        self._open.discard(channel)
        self._bus.ask(TAG, "SREM", self._key(self.process), channel)

    def left_by(self, process: str) -> list[str]:
        """The channels that a dead process has noted.  Blocks.  Raises: BrokerUnavailable."""
        return sorted(channel.decode() for channel in self._bus.do(TAG, "SMEMBERS", self._key(process)))

    def buried(self, process: str) -> None:
        """Nothing is left of it.  Blocks.  Raises: BrokerUnavailable."""
        self._bus.do(TAG, "DEL", self._key(process))
        self._bus.do(TAG, "ZREM", self._keys[1], process)

    def _key(self, process: str) -> bytes:
        return self._bus.key(TAG, f"open:{process}")

    def _run(self) -> None:
        while True:
            gevent.sleep(self._renewal if self._since is not None else min(RETRY, self._renewal))
            try:
                self._renew()
            except BrokerUnavailable:
                self._since = None

    def _renew(self) -> None:
        asked = time.clock_gettime(CLOCK)
        if self._since is not None and asked > self._until:
            self._since = None  # it was stopped; the others may have been too
        may_bury = self._since is not None and asked - self._since > self._lease
        lease, burial = round(self._lease * 1000), round(BURIAL * 1000)
        fate, *dead = self._bus.call(RENEW, TAG, self._keys, [self.process, lease, int(may_bury), burial])
        if fate == b"dead":
            self._lose()
            return
        if fate == b"new" and self._open:  # the Redis has forgotten everything
            self._bus.do(TAG, "SADD", self._key(self.process), *self._open)
            self._on_forgotten()
        self._until = asked + self._lease
        self._since = asked if self._since is None else self._since
        for process in dead:
            gevent.spawn(self._bury, process.decode())

    def _lose(self) -> None:
        self._log.error(
            "this process was silent for more than %g s and is taken for dead: all its connections end", self._lease
        )
        self._since = None
        self._process = _name()
        self._on_lost()
        self._renew()

    def _bury(self, process: str) -> None:
        self._log.warning("process %s is dead; what it has left behind is seen to", process)
        try:
            self._on_dead(process)
        except ChatError as exc:
            self._log.warning("process %s is not buried yet (%s); somebody will try again", process, exc)


def _name() -> str:
    return secrets.token_hex(6)
