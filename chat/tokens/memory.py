"""Tokens in this process."""

from collections.abc import Mapping

from chat.clock import Clock, SystemClock
from chat.errors import ExpiredToken, InvalidToken, TooManyTokens
from chat.tokens.base import Grant, Tokens, new_token


class MemoryTokens(Tokens):
    """Never yields: what the contract lets block is atomic here.

    All tokens live equally long, so the dictionary, in order of insertion, is in order of deadline too.
    """

    def __init__(self, *, deadline: float = 30.0, per_user: int = 200, clock: Clock | None = None) -> None:
        self._deadline = deadline
        self._per_user = per_user
        self._clock = clock or SystemClock()
        self._grants: dict[str, tuple[Grant, float]] = {}
        self._held: dict[str, list[str]] = {}  # the tokens of each user, in the same order

    def issue(
        self, username: str, channel: str, *, session: str | None = None, data: Mapping[str, object] | None = None
    ) -> str:
        held = self._held.get(username, [])
        if len(held) >= self._per_user:
            self._make_room(held[0])
        token = new_token()
        self._held.setdefault(username, []).append(token)
        self._grants[token] = Grant(username, channel, session, data), self._clock.monotonic() + self._deadline
        return token

    def redeem(self, token: str) -> Grant:
        if token not in self._grants:
            raise InvalidToken
        grant, deadline = self._forget(token)
        late_by = self._clock.monotonic() - deadline
        if late_by > 0:
            raise ExpiredToken(late_by)
        return grant

    def sweep(self) -> int:
        now = self._clock.monotonic()
        late = []
        for token, (_, deadline) in self._grants.items():
            if deadline >= now:
                break
            late.append(token)
        for token in late:
            self._forget(token)
        return len(late)

    def _make_room(self, oldest: str) -> None:
        left = self._grants[oldest][1] - self._clock.monotonic()
        if left >= 0:
            raise TooManyTokens(retry_after=left)
        self._forget(oldest)

    def _forget(self, token: str) -> tuple[Grant, float]:
        grant, deadline = self._grants.pop(token)
        held = self._held[grant.username]
        held.remove(token)
        if not held:
            del self._held[grant.username]
        return grant, deadline
