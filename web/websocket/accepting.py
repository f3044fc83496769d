"""Accepts connections as long as there are descriptors for them, and waits quietly while there are none.

gevent's server prints a traceback for each attempt that fails.  Here who comes meanwhile waits in the backlog, and the log
says so once.
"""

import errno
import logging
import time
from typing import TYPE_CHECKING, Final

from gevent.pywsgi import WSGIServer

if TYPE_CHECKING:
    from gevent.socket import socket as GeventSocket

    class _Base(WSGIServer):
        """What the stubs leave out."""

        def _start_accepting_if_started(self) -> None: ...

else:
    _Base = WSGIServer

_LOGGER: Final = logging.getLogger("web.websocket")

# accept(2): of the process, of the machine, and of its memory.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
QUIET: Final = 60.0  # seconds without such a failure, until the next one is told again
PAUSE: Final = 0.2  # seconds until the next attempt: the listener stays readable, so a watcher would call without end


class PatientServer(_Base):
    """gevent's server, which lets those wait for whom there is no descriptor."""

    _quiet_until = 0.0  # the log knows about it

    def do_read(self) -> "tuple[GeventSocket, object] | None":  # type: ignore[override]  # the stubs forget None
        """gevent calls this in the hub; None is nobody."""
        try:
            accepted: tuple[GeventSocket, object] | None = super().do_read()
        except OSError as exc:
            if exc.errno not in EXHAUSTED:
                raise
            self._wait_for_room(exc)
            return None
        return accepted

    def _wait_for_room(self, exc: OSError) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            _LOGGER.error("no connection can be accepted, new ones have to wait: %s", exc.strerror)
        self._quiet_until = now + QUIET
        self.stop_accepting()
        self._timer = self.loop.timer(PAUSE)
        self._timer.start(self._start_accepting_if_started)
