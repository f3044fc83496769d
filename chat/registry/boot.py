"""Which boot of the machine this is: a process that dies loses nothing that was committed, a loss of power may."""

from contextlib import suppress
from pathlib import Path
from typing import Final

LINUX: Final = Path("/proc/sys/kernel/random/boot_id")
VOLATILE: Final = "volatile"  # in place of a boot: what is said is lost with the process already


def boot_id(source: Path = LINUX) -> str:
    """What differs from one boot to the next; "" where nothing tells.  Blocks for no time worth the name."""
    with suppress(OSError):
        return source.read_text("ascii").strip()
    return ""
