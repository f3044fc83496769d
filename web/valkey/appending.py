"""Brings to the disk what Valkey has written down."""

import os
from pathlib import Path
from typing import Final

FOLDER: Final = "appendonlydir"  # Valkey's default, below its data folder


class AppendOnlyFile:
    """What Valkey appends to, which has another name after each time that it was rewritten."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._synced: dict[str, int] = {}

    def sync(self) -> list[str]:
        """What was written when this was called is on the disk when it returns; names the files that have grown.

        Blocks.  Raises: OSError.
        """
        sizes = {path.name: path.stat().st_size for path in self._folder.glob("*.incr.aof")}
        grown = [name for name, size in sizes.items() if self._synced.get(name) != size]
        for name in grown:
            _sync(self._folder / name)
        self._synced = sizes
        return grown


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)  # it also keeps the new size
    finally:
        os.close(descriptor)
