"""Installing the peers, each into a folder of its own, which is made once for what is pinned.

What installs blocks, and raises NotInstalled.
"""

import json
import shutil
import subprocess
import sys
from typing import Final

from bench.load import BUILT, build
from bench.machine import TOP, Unfit

PEERS: Final = TOP / "bench" / "peers"


class NotInstalled(Exception):
    """A server cannot be had; the text names it and says why."""


def pinned() -> dict[str, list[str]]:
    """Return each peer's packages, with their versions."""
    ws = json.loads((PEERS / "package.json").read_text())["dependencies"]
    lists = {path.stem: path.read_text().split() for path in sorted(PEERS.glob("*.txt"))}
    return {**lists, "ws": [f"{name}=={version}" for name, version in ws.items()]}


def python(name: str, module: str, hint: str = "") -> None:
    """Make a virtual environment for `peers/NAME.txt`, unless that has been done, and see that `module` imports."""
    wanted, folder = PEERS / f"{name}.txt", BUILT / name
    stamp, own = folder / "installed", folder / "bin" / "python"
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return
    _do(name, sys.executable, "-m", "venv", "--clear", str(folder))
    _do(name, str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted))
    _do(name, str(own), "-c", f"import {module}", hint=hint)
    shutil.copy(wanted, stamp)


def node(name: str) -> None:
    """Install what `peers/package-lock.json` pins, and the program beside it, for modules are looked for from there."""
    folder = BUILT / name
    stamp, files = folder / "installed", ["package-lock.json", "package.json", "ws_server.js"]
    content = b"".join((PEERS / file).read_bytes() for file in files)
    if stamp.exists() and stamp.read_bytes() == content:
        return
    if not (shutil.which("npm") and shutil.which("node")):
        raise NotInstalled(f"{name}: node and npm are wanted: apt-get install nodejs npm")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(PEERS / file, folder)
    _do(name, "npm", "ci", "--no-fund", "--no-audit", "--loglevel=error", "--prefix", str(folder))
    stamp.write_bytes(content)


def program(name: str) -> None:
    """Compile `bench/NAME.c`."""
    try:
        build(name)
    except Unfit as exc:
        raise NotInstalled(f"{name}: {exc}") from exc


def _do(name: str, *command: str, hint: str = "") -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise NotInstalled(f"{name}: {said[-1]}{hint}")
