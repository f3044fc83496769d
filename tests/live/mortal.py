"""A server that is killed without a word, and started anew on the same port, in the same folder."""

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.live.servers import Server, gunicorn, worker_of


class Mortal:
    """gunicorn with its one worker; a context manager.  `logs` is what those have written that were killed."""

    def __init__(self, instance: Path, *args: str, app: str = "wsgi:app", **env: str) -> None:
        self.url = ""
        self.logs: list[str] = []
        self.server: Server
        self._instance = instance
        self._args = args
        self._app = app
        self._env = env
        self._bind: tuple[str, ...] = ()
        self._stack = ExitStack()

    def __enter__(self) -> "Mortal":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.logs.append(self.server.log)

    @property
    def worker(self) -> int:
        """Its process id."""
        return worker_of(self.server)

    def start(self) -> None:
        """Return once it answers."""
        running = gunicorn(self._instance, *self._bind, *self._args, app=self._app, **self._env)
        self.server, self.url = self._stack.enter_context(running)
        self._bind = ("-b", urlsplit(self.url).netloc)

    def kill(self) -> None:
        """By SIGKILL, the master first, so that it starts no successor."""
        victims = self.server.pid, self.worker
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self._stack.close()
        self.logs.append(self.server.log)
