"""The cable between all clients and the server, or from that to its Valkey; `python -m tests.chaos.cutter` obeys orders."""

import sys

from tests.chaos.troupe import perform
from tests.live.cable import Cable, Harm

MOST = 4000  # connections; who was forgotten by a half-open one comes with another one


class Cutter:
    """Leads to one server."""

    def __init__(self) -> None:
        self._cable: Cable | None = None

    def open(self, target: str) -> str:
        """Return the address that leads there."""
        self._cable = Cable(target, MOST)
        return self._cable.url

    def harm(self, how: str, which: float) -> bool:
        """See `Cable.harm`."""
        assert self._cable is not None
        return self._cable.harm(Harm(how), which)

    def freeze(self) -> None:
        """See `Cable.freeze`."""
        assert self._cable is not None
        self._cable.freeze()

    def mend(self) -> None:
        """Carry everything from now on."""
        assert self._cable is not None
        self._cable.mend()

    def close(self) -> None:
        if self._cable is not None:
            self._cable.close()


def main() -> None:
    cutter = Cutter()
    perform(cutter, sys.stdin, sys.stdout)
    cutter.close()


if __name__ == "__main__":
    main()
