"""Lines from a file descriptor, while everything else goes on.

Waiting for it to be readable and reading once never holds up the hub, and leaves the descriptor as it is: made
non-blocking, a terminal would stay so for the shell that we came from.
"""

import os
from collections.abc import Iterator
from typing import Final

from gevent.socket import wait_read

CHUNK: Final = 4096
LONGEST: Final = 1 << 20  # bytes; what is longer is cut into several


def lines(descriptor: int) -> Iterator[str]:
    """All lines until the end, without their line feeds; terminals, pipes and files will do.  Blocks."""
    rest = b""
    while True:
        wait_read(descriptor)
        data = os.read(descriptor, CHUNK)
        *whole, rest = (rest + data).split(b"\n")
        if (not data and rest) or len(rest) > LONGEST:
            whole, rest = [*whole, rest], b""
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")
        if not data:
            return
