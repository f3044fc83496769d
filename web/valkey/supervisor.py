"""Runs an embedded Valkey, watches it and starts it again, until nobody uses it any more.

    python -m web.valkey.supervisor INSTANCE LOCK    # the folder, and the descriptor of its lock

It is nobody's child, and only the flocks of its folder (`web.valkey.home`) tie it to gunicorn: so it outlives a master that
hands over to another one (USR2), and any worker may start another one should it be killed.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from web.valkey.appending import AppendOnlyFile
from web.valkey.home import Home, Unavailable
from web.valkey.server import Server

TICK: Final = 0.5  # seconds between two looks at who is there, and between two syncs
FIRST_PAUSE: Final = 0.1  # seconds before Valkey is started again; twice as many each time that it ends soon
LONGEST_PAUSE: Final = 30.0
SOON: Final = 60.0  # seconds: one that lived for so long had no trouble with its start
# Blocked, here and by inheritance in Valkey: neither Ctrl-C nor systemd, which tells all processes of a service to end, may
# take it from workers that are seeing everybody off.
DEAF_TO: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

log: Final = logging.getLogger("web.valkey")


class Supervisor:
    """Of one folder; `lock` is the descriptor of its lock."""

    def __init__(self, home: Home, lock: int) -> None:
        self._home = home
        self._lock = lock
        self._users = -1  # the descriptor of their lock, once there is none
        self._appended = AppendOnlyFile(home.folder)

    def run(self) -> None:
        """Return when nobody uses it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [*DEAF_TO, signal.SIGCHLD])
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        pause = FIRST_PAUSE
        while not self._is_deserted():
            age = self._serve()
            if self._is_deserted():
                break
            pause = FIRST_PAUSE if age > SOON else pause
            log.error("Valkey is started again in %g seconds", pause)
            self._rest(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._home.clear()
        os.close(self._lock)  # before that of the users: who joins finds no supervisor, and starts one

    def _serve(self) -> float:
        """Run it to its end, or to ours; return how long it ran."""
        try:
            server = Server(self._home, self._lock)
        except (OSError, Unavailable) as exc:
            log.error("Valkey cannot be started: %s", exc)
            return 0.0
        log.info("Valkey is process %d, at %s", server.pid, self._home.socket)
        while not server.has_ended:
            if self._is_deserted():
                log.info("Nobody uses Valkey any more, process %d: it ends", server.pid)
                server.end()
                return server.age
            self._sync()
            signal.sigtimedwait([signal.SIGCHLD], TICK)
        log.error("Valkey, process %d, has ended %s after %.1f seconds", server.pid, server.ending, server.age)
        return server.age

    def _rest(self, seconds: float) -> None:
        while seconds > 0 and not self._is_deserted():
            time.sleep(min(seconds, TICK))
            seconds -= TICK

    def _is_deserted(self) -> bool:
        if self._users < 0:
            users = self._home.close()
            self._users = -1 if users is None else users
        return self._users >= 0

    def _sync(self) -> None:
        try:
            self._appended.sync()
        except FileNotFoundError:  # it was rewritten just now
            pass
        except OSError as exc:
            log.error("What Valkey has written may not survive a loss of power: %s", exc)


def main() -> None:
    """The program."""
    home, lock = Home(Path(sys.argv[1])), int(sys.argv[2])
    if os.fork():  # who has started us waits for this process
        os._exit(0)
    os.chdir(home.folder)  # which is to be in use, and no other
    os.umask(0o077)
    layout = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"  # gunicorn's, among whose lines these are
    logging.basicConfig(format=layout, datefmt="[%Y-%m-%d %H:%M:%S %z]", level=logging.INFO)
    try:
        Supervisor(home, lock).run()
    except Exception:
        log.exception("Valkey's supervisor cannot go on")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
