"""Tokens in a Redis: what one process issues any other one redeems, once.

It is asked for no token by name but by its digest, so whoever can read the Redis cannot get in.  Deadlines are by the wall
clock, for monotonic clocks are not shared: the clocks of all hosts should agree to a second.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec

from chat.bus import Bus, Script
from chat.clock import Clock, SystemClock
from chat.errors import ExpiredToken, InvalidToken, TooManyTokens
from chat.tokens.base import Grant, Tokens, new_token

GRACE: Final = 60.0  # seconds past its deadline for which a token is known to be late rather than unknown
SHAPE: Final = re.compile("[0-9a-f]{64}")
TAG: Final = 3  # digits of a digest: 4,096 tags spread over all servers and slots, and the bus remembers the place of each

# A user's tokens, by deadline.  Arguments: now, how many one may have, the deadline, the token's digest, how long to keep.
ISSUE: Final = Script("""
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", "(" .. ARGV[1])
if redis.call("ZCARD", KEYS[1]) >= tonumber(ARGV[2]) then
  return tonumber(redis.call("ZRANGE", KEYS[1], 0, 0, "WITHSCORES")[2])
end
redis.call("ZADD", KEYS[1], ARGV[3], ARGV[4])
redis.call("PEXPIRE", KEYS[1], ARGV[5])
return false
""")

_json: Final = msgspec.json.Encoder()
_kept: Final = msgspec.json.Decoder(tuple[Grant, int])  # with the deadline, milliseconds since 1970


class RedisTokens(Tokens):
    """Keys expire by themselves, so there is nothing to sweep.

    A user's tokens are counted in another place than where each is kept, and one after the other: a token that was counted
    and not kept, or spent and not counted off, takes up room until its deadline.
    """

    def __init__(self, bus: Bus, *, deadline: float = 30.0, per_user: int = 200, clock: Clock | None = None) -> None:
        self._bus = bus
        self._deadline = _milliseconds(deadline)
        self._lasting = _milliseconds(deadline + GRACE)
        self._per_user = per_user
        self._clock = clock or SystemClock()

    def issue(
        self, username: str, channel: str, *, session: str | None = None, data: Mapping[str, object] | None = None
    ) -> str:
        now = self._now()
        deadline = now + self._deadline
        kept = _json.encode((Grant(username, channel, session, data), deadline))
        token = new_token()
        digest = _digest(token)
        tag, held = self._held(username)
        words = now, self._per_user, deadline, digest, self._lasting
        oldest = self._bus.run(ISSUE, tag, (held,), words).get()
        if oldest is not None:
            raise TooManyTokens(retry_after=(oldest - now) / 1000)
        tag, key = self._place(digest)
        self._bus.ask(tag, "SET", key, kept, "PX", self._lasting).get()
        return token

    def redeem(self, token: str) -> Grant:
        if not SHAPE.fullmatch(token):
            raise InvalidToken
        digest = _digest(token)
        tag, key = self._place(digest)
        kept = self._bus.ask(tag, "GETDEL", key).get()
        if kept is None:
            raise InvalidToken
        grant, deadline = _kept.decode(kept)
        tag, held = self._held(grant.username)
        self._bus.ask(tag, "ZREM", held, digest)  # whatever comes of it
        late_by = self._now() - deadline
        if late_by > 0:
            raise ExpiredToken(late_by / 1000)
        return grant

    def sweep(self) -> int:
        return 0

    def _now(self) -> int:
        return _milliseconds(self._clock.now().timestamp())

    def _place(self, digest: str) -> tuple[str, bytes]:
        """Where a token is kept: the tag and the key."""
        tag = digest[:TAG]
        return tag, self._bus.key(tag, f"token:{digest}")

    def _held(self, username: str) -> tuple[str, bytes]:
        """Where a user's tokens are counted.  A name may hold what ends a tag."""
        digest = _digest(username)
        tag = digest[:TAG]
        return tag, self._bus.key(tag, f"tokens:{digest}")


def _digest(text: str) -> str:
    """A token has 256 random bits, so no salt is wanted."""
    return sha256(text.encode()).hexdigest()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
