"""The folder where gunicorn's workers write down their metrics, so that each of them can show those of all.

    def nworkers_changed(server, new, old):  # in gunicorn's configuration
        from web.scoreboard import make

        make(server)

    def child_exit(server, worker):
        from web.scoreboard import forget

        forget(server, worker.pid)

It is named in the environment, where prometheus-client looks once, when it is imported, and which a fork hands on.  So it
is made by the master, before any worker; and nothing here imports more than Python brings, until a worker has ended.

Who is killed removes nothing.  So all processes of a master share a flock, which the kernel releases however they end, and
the next master removes what nobody has any more.
"""

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from web.arbiter import Arbiter

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
PREFIX: Final = "chat-metrics-"
LOCK: Final = "lock"  # a file in each
# What is written to a file on a disk may have to wait for it, and a full one ends who writes (SIGBUS).
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (mkdtemp makes what is nobody else's)

_is_made = False


def folder() -> str:
    """Where the workers of this master write; "" is nowhere: there is this process alone."""
    return os.environ.get(VARIABLE, "")


def make(server: Arbiter) -> None:
    """Make it, for the workers of `server` alone, unless the operator has named one.  It ends with this process.

    Those that were left behind are removed.  Idempotent.  Raises: OSError.
    """
    global _is_made
    told = {**os.environ, **server.cfg.env}.get(VARIABLE, "")
    # After a HUP, gunicorn hands ours on to the master that USR2 starts.
    if _is_made or (told and not Path(told).name.startswith(PREFIX)):
        return
    base = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in base.glob(f"{PREFIX}*"):
        _remove_abandoned(left, server.cfg.uid)
    made, lock = _make(base, server.cfg.uid, server.cfg.gid)
    atexit.register(_remove, made, lock, os.getpid(), server.cfg.uid)
    os.environ[VARIABLE] = str(made)
    _is_made = True


def forget(server: Arbiter, pid: int) -> None:
    """Remove what a worker that has ended has left there.  Whatever goes wrong is only logged: it would end the master."""
    try:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, folder())  # type: ignore[no-untyped-call]
    except (ImportError, OSError) as exc:
        server.log.error("The metrics of process %d, which has ended, are still shown: %s", pid, exc)


def _make(base: Path, uid: int, gid: int) -> tuple[Path, int]:
    """Return it, and the descriptor of its lock, which forks share."""
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
    try:
        lock = os.open(made / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.fchown(lock, uid, gid)
        os.chown(made, uid, gid)
        found = made.rename(base / made.name.removeprefix("."))  # nobody looks for it before it has its lock
    except OSError:  # of chown, for who is not root and named another user
        shutil.rmtree(made, ignore_errors=True)
        raise
    return found, lock


def _remove(made: Path, lock: int, maker: int, uid: int) -> None:
    """At the end of the master, and of its forks, which leave it to the last of them."""
    if os.getpid() == maker:
        shutil.rmtree(made, ignore_errors=True)
    else:
        os.close(lock)
        _remove_abandoned(made, uid)


def _remove_abandoned(left: Path, uid: int) -> None:
    """Remove it if it is one of `uid`'s, and no process has it any more."""
    with suppress(OSError), _opened(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as inside:
        found = os.fstat(inside)
        if (found.st_uid, stat.S_IMODE(found.st_mode)) != (uid, 0o700):
            return
        with _opened(LOCK, os.O_RDWR | os.O_NOFOLLOW, inside) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in os.listdir(inside):  # noqa: PTH208 (of what was looked at, whatever has its name now)
                os.unlink(name, dir_fd=inside)
            left.rmdir()


@contextmanager
def _opened(path: Path | str, flags: int, inside: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
