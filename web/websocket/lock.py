"""One process at a time per instance folder, unless all share what they know.

In one process the log, the names and the tokens are in memory.  gunicorn starts a successor before it stops the
predecessor (HUP), and adds workers on a signal (TTIN, USR2); whoever comes while another one serves waits here.  With Redis
several may serve, but never beside one that has everything in memory.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from web.websocket.serving import UnfitToServe

NAME: Final = "lock"


class InstanceLock:
    """An flock, which the kernel releases however the process ends."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        """`shared` is held beside others that are.  Raises: UnfitToServe when the folder cannot be used."""
        self.path = folder / NAME
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise UnfitToServe(f"CHAT_INSTANCE: {folder} cannot be used: {exc.strerror}") from exc

    def acquire(self) -> bool:
        """Take it if it is free, and leave our process id in it.  Never blocks."""
        try:
            fcntl.flock(self._fd, self._operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)
        return True

    def holder(self) -> str:
        """The process id of whoever has it, of several the last to come."""
        return os.pread(self._fd, 20, 0).decode(errors="replace") or "unknown"

    def release(self) -> None:
        """Let the next one have it.  Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
