"""Tokens in this process."""

from collections.abc import Mapping

from chat.clock import Clock, SystemClock
from chat.errors import ExpiredToken, InvalidToken
from chat.tokens.base import Grant, Tokens, new_token


class MemoryTokens(Tokens):
    """Never yields: what the contract lets block is atomic here.

    All tokens live equally long, so the dictionary, in order of insertion, is in order of deadline too.
    """

    def __init__(self, *, deadline: float = 30.0, clock: Clock | None = None) -> None:
        self._deadline = deadline
        self._clock = clock or SystemClock()
        self._grants: dict[str, tuple[Grant, float]] = {}

    def issue(
        self, username: str, channel: str, *, session: str | None = None, data: Mapping[str, object] | None = None
    ) -> str:
        token = new_token()
        self._grants[token] = Grant(username, channel, session, data), self._clock.monotonic() + self._deadline
        return token

    def redeem(self, token: str) -> Grant:
        found = self._grants.pop(token, None)
        if found is None:
            raise InvalidToken
        grant, deadline = found
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
            del self._grants[token]
        return len(late)
