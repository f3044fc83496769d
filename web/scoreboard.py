"""The folder where gunicorn's workers write down their metrics, so that each of them can show those of all.

    def nworkers_changed(server, new, old):  # in gunicorn's configuration
        from web.scoreboard import make

        make(server)

    def child_exit(server, worker):
        from web.scoreboard import forget

        forget(server, worker.pid)

It is named in the environment, where prometheus-client looks once, when it is imported, and which a fork hands on.  So it
is made by the master, before any worker; and nothing here imports more than Python brings, until a worker has ended.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from web.arbiter import Arbiter

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
PREFIX: Final = "chat-metrics-"
# What is written to a file on a disk may have to wait for it, and a full one ends who writes (SIGBUS).
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (mkdtemp makes what is nobody else's)

_is_made = False


def folder() -> str:
    """Where the workers of this master write; "" is nowhere: there is this process alone."""
    return os.environ.get(VARIABLE, "")


def make(server: Arbiter) -> None:
    """Make it, for the workers of `server` alone, unless the operator has named one.  It ends with this process.

    Idempotent.  Raises: OSError.
    """
    global _is_made
    told = {**os.environ, **server.cfg.env}.get(VARIABLE, "")
    # After a HUP, gunicorn hands ours on to the master that USR2 starts.
    if _is_made or (told and not Path(told).name.startswith(PREFIX)):
        return
    made = tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
    atexit.register(_remove, made, os.getpid())
    os.chown(made, server.cfg.uid, server.cfg.gid)
    os.environ[VARIABLE] = made
    _is_made = True


def forget(server: Arbiter, pid: int) -> None:
    """Remove what a worker that has ended has left there.  Whatever goes wrong is only logged: it would end the master."""
    try:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, folder())  # type: ignore[no-untyped-call]
    except (ImportError, OSError) as exc:
        server.log.error("The metrics of process %d, which has ended, are still shown: %s", pid, exc)


def _remove(made: str, maker: int) -> None:
    """At the end of the master, and of its forks, which leave it to the master unless that was killed."""
    if os.getpid() == maker or not _lives(maker):
        shutil.rmtree(made, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True
