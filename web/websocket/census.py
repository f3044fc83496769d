"""How many connections there are, and how many there may be."""

import resource
from collections import Counter
from typing import Final, NamedTuple

from chat.errors import ChatError

SPARE: Final = 100  # descriptors for everything that is not a WebSocket: HTTP, the database, logs


class TooManyConnections(ChatError):
    """A limit is reached; the connection may be had later."""

    code = "too_many_connections"
    retry = True
    text = "there are too many connections"

    def __init__(self, of: str = "") -> None:
        self.of = of

    def __str__(self) -> str:
        return f"{self.text} {self.of}".rstrip()


class Ticket(NamedTuple):
    """What a counted connection is counted under."""

    username: str
    address: str


class Census:
    """Counts connections, from before the upgrade until the end; 0 is no limit.  Nothing here yields."""

    def __init__(self, *, per_process: int, per_user: int, per_address: int) -> None:
        self._per_process = per_process or _descriptors()
        self._per_user = per_user
        self._per_address = per_address
        self._count = 0
        self._users: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Tell as early as can be that there is no room; "" is no address.  Raises: TooManyConnections."""
        if self._count >= self._per_process:
            raise TooManyConnections
        if address and 0 < self._per_address <= self._addresses[address]:
            raise TooManyConnections("from this address")

    def enter(self, username: str, address: str) -> Ticket:
        """Count one.  Raises: TooManyConnections."""
        self.check(address)
        if 0 < self._per_user <= self._users[username]:
            raise TooManyConnections("of this user")
        self._count += 1
        self._users[username] += 1
        self._addresses[address] += 1
        return Ticket(username, address)

    def leave(self, ticket: Ticket) -> None:
        """Count one less."""
        self._count -= 1
        _decrease(self._users, ticket.username)
        _decrease(self._addresses, ticket.address)

    def __len__(self) -> int:
        return self._count


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - SPARE, 1)
