"""The end of what serves: everybody is seen off and everything put away, each step in its share of one time.

What hangs, a hook, a database or a peer that does not answer, uses up its own share, and is left behind with it.
"""

from math import inf
from typing import Final

import gevent

from chat.archive.sql import SqlArchive
from chat.closing import SERVER_CLOSED
from chat.database import Database
from chat.server import ChatServer
from web.websocket.deadline import at_most
from web.websocket.gate import Gate

LAST: Final = 1.0  # seconds of the time for draining, half of it at most, for what comes after sockets and channels
FLUSH: Final = 1.0  # seconds, half of what is left at most, for what was said last
HURRY: Final = 0.3  # seconds that sockets and channels still get when somebody is in a hurry
POLL: Final = 0.02  # seconds between two looks whether it is time to stop waiting


class Draining:
    """Of one server, with its sockets and what it stores in: `begin`, then `finish`, once."""

    def __init__(self, gate: Gate, server: ChatServer, archive: SqlArchive | None, database: Database) -> None:
        self.has_begun = False
        self._gate = gate
        self._server = server
        self._archive = archive
        self._database = database
        self._deadline = inf  # of sockets and channels
        self._last = 0.0  # seconds, for what comes after them

    def begin(self, timeout: float) -> None:
        """Let nobody in and hear nobody out; `finish` has to be done after that many seconds.  Never yields."""
        self.has_begun = True
        self._last = min(LAST, timeout / 2)
        self._deadline = min(self._deadline, self._gate.clock.monotonic() + timeout - self._last)
        self._gate.hush()

    def hurry(self) -> None:
        """End within 1.5 seconds, whether under way or still to begin.  Never yields."""
        self._deadline = min(self._deadline, self._gate.clock.monotonic() + HURRY)

    def finish(self) -> None:
        """See everybody off and put everything away.  Blocks."""
        self._wait_for(gevent.spawn(self._server.flush), max(self._rest() - FLUSH, self._rest() / 2))
        self._wait_for(gevent.spawn(self._server.give_up), self._rest() / 2)  # while everybody can still be told
        half = self._rest() / 2  # however large the house, channels have the other one to write down how far they have come
        self._gate.see_off(lambda: self._rest() <= half)
        # While the peers answer, channels call their last hooks too.
        stopping = gevent.spawn(self._server.stop, SERVER_CLOSED, max(self._rest(), 0))
        self._gate.await_goodbyes(lambda: self._rest() <= 0)
        self._wait_for(stopping, -self._last / 4)
        if self._archive is not None:
            with at_most(self._last / 8):
                self._archive.close()
        with at_most(self._last / 4):
            self._database.close()

    def _wait_for(self, work: "gevent.Greenlet[..., None]", rest: float) -> None:
        """Give `work` time until that many seconds are left of what sockets and channels have."""
        while not work.ready() and self._rest() > rest:
            work.join(POLL)
        work.kill(timeout=POLL)

    def _rest(self) -> float:
        """Seconds that sockets and channels still have."""
        return self._deadline - self._gate.clock.monotonic()
