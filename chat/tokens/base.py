"""Single-use connection tokens: issue to a logged-in user, redeem on connect.

Why not signed tokens?  Single use needs a memory of what was spent anyway, so a token is only a random key into that
memory.  `redeem` checks the deadline itself; the sweep merely frees memory.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from chat.event import User


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for."""

    username: str
    channel: str
    session: str | None = None
    """The login that asked for it, so that logging out can end its connections."""
    data: Mapping[str, object] | None = None
    """Whatever the application wants to find again on the member; JSON types only.  Other members see its `name` alone."""

    @property
    def user(self) -> User:
        """The user as other members will see them."""
        name = self.data.get("name") if self.data else None
        return User(self.username, name if isinstance(name, str) else "")


class Tokens(ABC):
    """A memory of tokens that were issued and not yet spent.

    Where several processes share it, `issue` and `redeem` raise BrokerUnavailable when it cannot be reached.
    """

    @abstractmethod
    def issue(
        self, username: str, channel: str, *, session: str | None = None, data: Mapping[str, object] | None = None
    ) -> str:
        """Return a new token, 64 hexadecimal digits, good for one `redeem`.  Blocks.

        Raises: TooManyTokens when `username` has as many as one user may have that could still be spent; it says after how
        many seconds the oldest of them cannot.  BrokerUnavailable; then one token more may count, though nobody has it.
        """

    @abstractmethod
    def redeem(self, token: str) -> Grant:
        """Spend `token`, whatever becomes of the connection.  Blocks; of several who try at once one succeeds.

        Raises: InvalidToken; ExpiredToken when it is known to be too late.  BrokerUnavailable; then it may be spent or not:
        whoever tries it again may hear that it is invalid, and needs another one.
        """

    @abstractmethod
    def sweep(self) -> int:
        """Forget tokens past their deadline and return how many; 0 where they are forgotten without that.  Blocks."""


def new_token() -> str:
    """32 random bytes as 64 hexadecimal digits."""
    return secrets.token_hex(32)
