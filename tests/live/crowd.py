"""Very many clients in one thread, by asyncio."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

AT_ONCE = 50
PATIENCE = 30.0


class Crowd:
    """Clients that listen until they are sent away."""

    def __init__(self, url: str, tokens: Sequence[str]) -> None:
        self._url = url
        self._tokens = tokens
        self._loop = asyncio.new_event_loop()
        self._sockets: list[ClientConnection] = []

    def connect(self) -> None:
        """All of them."""
        self._run(self._connect_all())

    def endings(self) -> list[tuple[int, str]]:
        """Close code and reason of each, once all are closed."""
        return self._run(self._all_endings())

    def counts(self) -> Counter[int]:
        return Counter(code for code, _ in self.endings())

    def close(self) -> None:
        for socket in self._sockets:
            socket.transport.abort()
        self._run(asyncio.sleep(0))
        self._loop.close()

    def _run(self, work):
        return self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    async def _connect_all(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(token: str) -> ClientConnection:
            async with gate:
                return await connect(
                    self._url,
                    additional_headers={"Authorization": f"Bearer {token}"},
                    compression=None,
                    ping_interval=None,
                    proxy=None,
                    max_queue=None,
                )

        self._sockets = list(await asyncio.gather(*(one(token) for token in self._tokens)))

    async def _all_endings(self) -> list[tuple[int, str]]:
        return list(await asyncio.gather(*(_ending(socket) for socket in self._sockets)))


async def _ending(socket: ClientConnection) -> tuple[int, str]:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
