"""What waits for a slow peer.  Exists only while something does: an empty deque alone takes 600 bytes."""

from collections import deque
from itertools import islice
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | memoryview

_VECTORS: Final = 64  # buffers a writev(); the kernel takes up to 1024 (IOV_MAX)


class Outbox:
    """Bytes in order.  The buffers are those that were written, not copies: a slow room shares one."""

    __slots__ = ("_buffers", "size")

    def __init__(self) -> None:
        self._buffers: deque[Buffer] = deque()
        self.size = 0

    def add(self, data: Buffer) -> None:
        self._buffers.append(data)
        self.size += len(data)

    def vectors(self) -> list[Buffer]:
        """The first buffers, for one writev()."""
        return list(islice(self._buffers, _VECTORS))

    def piece(self, limit: int) -> Buffer:
        """The first bytes in one buffer, at most `limit`; small buffers are joined."""
        parts: list[Buffer] = []
        room = limit
        for data in self._buffers:
            if len(data) > room:
                break
            parts.append(data)
            room -= len(data)
        return b"".join(parts) if parts else memoryview(self._buffers[0])[:limit]

    def sent(self, count: int) -> None:
        """Strike off the first `count` bytes."""
        self.size -= count
        while count:
            first = self._buffers.popleft()
            if len(first) > count:
                self._buffers.appendleft(memoryview(first)[count:])
            count -= min(count, len(first))
