"""Connections with one fault each, as networks and clients have them; until it shows they are like any other."""

from gevent import get_hub

from chat.format import Format
from chat.requests import Request
from chat.testing.conns import DirectFake


class SlowConn(DirectFake):
    """Its peer reads `bytes_a_turn` bytes in each turn of the hub; what waits is bounded by `write_buf` bytes."""

    def __init__(self, bytes_a_turn: int, form: Format | None = None, write_buf: int = 1 << 20) -> None:
        super().__init__(form, write_buf)
        self._bytes_a_turn = bytes_a_turn
        self._is_due = False
        self.stall()

    def write(self, data: bytes) -> None:
        super().write(data)
        self._read_soon()

    def wait_closed(self) -> None:
        self.wait_read()

    def wait_read(self) -> None:
        while self._queue:
            self.wait_for_change()

    def _read_soon(self) -> None:
        if self._queue and not self._is_due:
            self._is_due = True
            get_hub().loop.run_callback(self._turn)

    def _turn(self) -> None:
        """The hub calls this; what was queued before the end is still read."""
        self._is_due = False
        if not self._queue:
            return
        waiting = b"".join(self._queue)
        self._queue.clear()
        if rest := waiting[self._bytes_a_turn :]:
            self._queue.append(rest)
        self._arrive(waiting[: self._bytes_a_turn])
        self._read_soon()


class DroppingConn(DirectFake):
    """Loses the connection in the middle of a write: the first half of it arrives, and nothing after it.

    It happens behind `after` whole writes, or in the first one after `break_off`.
    """

    def __init__(self, after: int | None = None, form: Format | None = None, write_buf: int = 1 << 20) -> None:
        super().__init__(form, write_buf)
        self._left = after

    def break_off(self) -> None:
        """Lose the connection in the middle of the next write."""
        self._left = 0

    def _arrive(self, data: bytes) -> None:
        if self._left == 0:
            super()._arrive(data[: len(data) // 2])
            self.hang_up()
            return
        if self._left is not None:
            self._left -= 1
        super()._arrive(data)


class HalfOpenConn(DirectFake):
    """Its peer can `vanish`: from then on it takes everything, answers nothing, and no end of it is ever told."""

    def __init__(self, form: Format | None = None, write_buf: int = 1 << 20) -> None:
        super().__init__(form, write_buf)
        self._has_vanished = False
        self.lost: list[bytes] = []  # what was written to nobody

    def vanish(self) -> None:
        """Pull the cable."""
        self._has_vanished = True

    def ask(self, request: Request) -> None:
        if not self._has_vanished:
            super().ask(request)

    def hang_up(self) -> None:
        if not self._has_vanished:
            super().hang_up()

    def _arrive(self, data: bytes) -> None:
        if self._has_vanished:
            self.lost.append(data)
        else:
            super()._arrive(data)


class DuplicatingConn(DirectFake):
    """Asks for everything twice, with the same id, as a client that retries because the answer was lost."""

    def ask(self, request: Request) -> None:
        super().ask(request)
        super().ask(request)
