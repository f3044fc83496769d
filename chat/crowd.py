"""Folds the joins and leaves of a large room.

Each join told to each member makes a storm of joins quadratic: 5,000 users entering would be 12 million frames.  So above
a size they are collected, and told together, at most every quarter of a second.
"""

from typing import Final

LARGE: Final = 100  # users; above it joins and leaves are folded
PERIOD: Final = 0.25  # seconds between two folded notices
LISTED: Final = 100  # names in one notice, and in one welcome; the count is always true


class Crowd:
    """Who came and went since the last notice.  Somebody who did both is not mentioned."""

    __slots__ = ("_joined", "_left")

    def __init__(self) -> None:
        self._joined: dict[str, None] = {}
        self._left: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._joined or self._left)

    def join(self, username: str) -> None:
        """Somebody came."""
        if username in self._left:
            del self._left[username]
        else:
            self._joined[username] = None

    def leave(self, username: str) -> None:
        """Somebody went."""
        if username in self._joined:
            del self._joined[username]
        else:
            self._left[username] = None

    def take(self) -> tuple[list[str], list[str]]:
        """Return who came and who went, and begin anew."""
        joined, left = list(self._joined), list(self._left)
        self._joined.clear()
        self._left.clear()
        return joined, left
