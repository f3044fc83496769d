"""Finds peers that have gone without a word: a ping after a time of silence, the end when nothing comes back.

One timer for all connections instead of one for each: they lie in buckets of a second, and a connection is looked at
only when it might be due.

A process that was stopped, or hung, has heard nobody meanwhile, and finds its timers due before it reads what has come.  So
a tick that is late gives everybody the whole time for an answer once more.
"""

from typing import Final

from chat.clock import Clock, Timer
from chat.closing import STALE
from web.websocket.limits import SocketLimits
from web.websocket.peer import Peer

TICK: Final = 1.0  # seconds a bucket
LATE: Final = 2.0  # seconds after which a tick tells that we have slept; a busy loop is late by less
LOOKS: Final = 500  # connections in one turn of the hub: 500 pings take about 4 ms


class Heartbeat:
    """Watches over connections."""

    def __init__(self, limits: SocketLimits, clock: Clock) -> None:
        self._interval = limits.ping_interval
        self._patience = limits.ping_timeout
        self._clock = clock
        self._buckets: dict[int, dict[Peer, None]] = {}
        self._next = int(clock.monotonic() / TICK)
        self._timer: Timer | None = None
        self._due = 0.0  # when the timer should call
        self._awake_since = 0.0

    def add(self, peer: Peer) -> None:
        """Watch over `peer` until it has ended.  Never yields."""
        self._look_at(peer, self._clock.monotonic() + self._interval)
        if self._timer is None:
            self._next = int(self._clock.monotonic() / TICK)  # not all the buckets of the time before anybody came
            self._arm(self._clock.monotonic(), TICK)

    def forget(self, peer: Peer) -> None:
        """Let go of a connection that has ended.  Never yields; idempotent."""
        self._buckets.get(peer.bucket, {}).pop(peer, None)

    def stop(self) -> None:
        """Watch no more.  Never yields; idempotent."""
        self._buckets.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, peer: Peer, due: float) -> None:
        peer.bucket = max(int(due / TICK) + 1, self._next)
        self._buckets.setdefault(peer.bucket, {})[peer] = None

    def _tick(self) -> None:
        """A timer calls this in the hub."""
        now = self._clock.monotonic()
        if now - self._due > LATE:
            self._awake_since = now
        looks = 0
        while self._next <= now / TICK and looks < LOOKS:
            bucket = self._buckets.get(self._next, {})
            while bucket and looks < LOOKS:
                peer, _ = bucket.popitem()
                self._look(peer, now)
                looks += 1
            if not bucket:
                self._buckets.pop(self._next, None)
                self._next += 1
        behind = self._next <= now / TICK
        self._arm(now, 0.0 if behind else TICK)

    def _arm(self, now: float, seconds: float) -> None:
        """`now` is when this turn began: who sleeps in the middle of one is late for the next."""
        self._due = now + seconds
        self._timer = self._clock.later(seconds, self._tick)

    def _look(self, peer: Peer, now: float) -> None:
        socket = peer.socket
        if socket.closing is not None:
            return
        if peer.asked and socket.last_heard < peer.asked and peer.listening:
            until = max(peer.asked, self._awake_since) + self._patience
            if now >= until:
                socket.close(*STALE)
            else:
                self._look_at(peer, until)
            return
        peer.asked = 0.0
        silence_ends = socket.last_heard + self._interval
        if not peer.listening or now < silence_ends:  # it was us who did not listen
            self._look_at(peer, silence_ends if peer.listening else now + self._interval)
            return
        peer.asked = now
        peer.probe()
        self._look_at(peer, now + min(self._interval, self._patience))
