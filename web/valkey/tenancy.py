"""gunicorn's use of an embedded Valkey: it is there before the application is loaded, and stays while any process is.

`start` is for gunicorn's `nworkers_changed`, which comes before --preload loads the application, and at every HUP;
`on_starting` comes after the former and not at the latter.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from web.arbiter import Arbiter, Log
from web.valkey.home import Home, Unavailable
from web.valkey.server import program

PATIENCE: Final = 10.0  # seconds without a sign of life; what is being loaded is one
POLL: Final = 0.02  # seconds between two looks
ROOT: Final = Path(__file__).parents[2]  # where `web` is found


class Tenancy:
    """A share in the Valkey of one folder, for this process and all that are forked from it."""

    def __init__(self, home: Home, uid: int, gid: int) -> None:
        """`uid` and `gid` are those of the workers.  Raises: OSError, Unavailable."""
        self.home = home
        self._uid, self._gid = uid, gid
        self._is_in_trouble = False
        program()  # whoever has none is told now
        with self._as_worker():
            home.make()
        self._users = self._join()
        try:
            self._employ()
            self._await_answer()
        except BaseException:
            os.close(self._users)
            raise

    def revive(self, log: Log) -> None:
        """Start another supervisor if there is none.  Does not wait for Valkey."""
        try:
            if self._employ():
                log.error("The supervisor of Valkey was gone; another one has been started")
            self._is_in_trouble = False
        except (OSError, Unavailable, subprocess.SubprocessError) as exc:
            if not self._is_in_trouble:
                log.error("The supervisor of Valkey is gone, and another one cannot be started: %s", exc)
            self._is_in_trouble = True

    def _join(self) -> int:
        """Be counted; where a supervisor is about to end, when it has."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with self._as_worker():
                users = self.home.join()
            if users is not None:
                return users
            time.sleep(POLL)
        raise Unavailable("the one before does not end")

    def _employ(self) -> bool:
        """Start a supervisor if there is none."""
        with self._as_worker():
            lock = self.home.take()
            if lock is None:
                return False
        try:
            with self._as_worker():
                self.home.place()
            self._launch(lock)
        finally:
            os.close(lock)
        return True

    def _launch(self, lock: int) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        # -P: what lies in the working directory is the application's.
        command = [sys.executable, "-P", "-m", "web.valkey.supervisor", str(self.home.folder.parent), str(lock)]
        dropping = {"user": self._uid, "group": self._gid} if self._is_root else {}
        process = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603 (our own arguments)
            command,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=2,  # standard output may be somebody's access log
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C is for gunicorn, which then sees everybody off
            **dropping,
        )
        if status := process.wait(PATIENCE):
            raise Unavailable(f"its supervisor ended with status {status}")

    def _await_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (answer := self.home.ask("PING")) != "+PONG":
            if answer.startswith("-LOADING"):
                deadline = time.monotonic() + PATIENCE
            if time.monotonic() >= deadline:
                raise Unavailable(f"it does not answer at {self.home.socket}; the log above says why")
            if self._is_abandoned():
                raise Unavailable("its supervisor has ended; the log above says why")
            time.sleep(POLL)

    def _is_abandoned(self) -> bool:
        with self._as_worker():
            return self.home.is_vacant

    @property
    def _is_root(self) -> bool:
        """Whether this process may become its workers' user, and that is another one."""
        return os.geteuid() == 0 and self._uid != 0

    @contextmanager
    def _as_worker(self) -> Iterator[None]:
        """What is made and opened here is the workers', and no more than they may."""
        if not self._is_root:
            yield
            return
        group = os.getegid()
        os.setegid(self._gid)
        os.seteuid(self._uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)


_tenancy: Tenancy | None = None


def redis_url() -> str:
    """Where this process was told to find Redis, or Valkey; "" is nowhere."""
    # Read here, because web.settings is the application's, and may be imported in workers only.
    return os.environ.get("CHAT_REDIS_URL", "")


def start(server: Arbiter, instance: str | os.PathLike[str] | None = None) -> None:
    """Have a Valkey run if `server` has several workers and was told of no Redis, and tell the workers where it is.

    `instance` is the folder for an application that sets CHAT_INSTANCE itself.  Blocks until Valkey answers.  Idempotent.

    Raises: SystemExit with a sentence about what to set; at a HUP it is logged, because gunicorn would leave its workers.
    """
    global _tenancy
    if _tenancy is not None:
        _tenancy.revive(server.log)
        os.environ["CHAT_WORKERS"] = str(server.cfg.workers)
        return
    environ = {**os.environ, **server.cfg.env}
    home = Home(Path(instance or environ.get("CHAT_INSTANCE") or "instance"))
    # After a HUP, gunicorn hands what was set here on to the master that USR2 starts.
    told = environ.get("CHAT_REDIS_URL", "") not in ("", home.url)
    if server.cfg.workers < 2 or told:
        return
    try:
        _tenancy = Tenancy(home, server.cfg.uid, server.cfg.gid)
    except (OSError, Unavailable, subprocess.SubprocessError) as exc:
        refusal = (
            f"workers: {server.cfg.workers} are asked for, for which Valkey cannot be started: {exc}; "
            "set CHAT_REDIS_URL=redis://..., or CHAT_WORKERS=1 and leave out -w"
        )
        if not server.WORKERS:
            raise SystemExit(refusal) from exc
        server.log.error("%s", refusal)
        return
    server.log.info("Valkey for %d workers answers at %s", server.cfg.workers, home.socket)
    os.environ.update(CHAT_REDIS_URL=home.url, CHAT_WORKERS=str(server.cfg.workers))


def revive(log: Log) -> None:
    """Start another supervisor if there should be one and it is gone.  For workers, now and then."""
    if _tenancy is not None:
        _tenancy.revive(log)
