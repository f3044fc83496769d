"""HTTP to the site under test, from greenlets, over a few connections that are kept open."""

import json
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

from gevent import socket
from gevent.queue import LifoQueue

PATIENCE = 30.0
CONNECTIONS = 8


class Desk:
    """Asks on behalf of users."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._idle: LifoQueue = LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put(None)

    def token(self, user: str, channel: str) -> str:
        """Raises: OSError, also when the answer is no."""
        token: str = self.ask("POST", "/chat/token", user, {"channel": channel})["token"]
        return token

    def ask(self, method: str, path: str, user: str, body: object = None) -> Any:
        """Return what the answer says.  Raises: OSError, also when it is an error."""
        connection = self._idle.get()
        kept = None
        try:
            if connection is None:
                connection = HTTPConnection(*self.address)
                connection.sock = socket.create_connection(self.address, PATIENCE)  # gevent's
            headers = {"X-User": user, "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            if not answer.will_close and connection.sock is not None:
                kept = connection
        except HTTPException as exc:
            raise ConnectionError(f"{path}: {exc!r}") from exc
        finally:
            if kept is None and connection is not None:
                connection.close()
            self._idle.put(kept)
        if answer.status >= 400:
            raise ConnectionError(f"{path}: {answer.status} {said}")
        return said

    def close(self) -> None:
        for _ in range(CONNECTIONS):
            with suppress(AttributeError):  # none
                self._idle.get().close()
