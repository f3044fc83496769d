"""Hosts on one machine: network namespaces with an address each, and a bridge between them.

The bridge is in a namespace of its own, so this machine's network stays as it is.  What hosts send each other goes through
the kernel's TCP and a pair of virtual interfaces, but over no wire: what a real network adds is its latency.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

NETWORK: Final = "198.18.0"  # RFC 2544: for benchmarks, and used on no network
BRIDGE: Final = "bridge"


class NoNetworks(Exception):
    """They cannot be made here; the text says why."""


@dataclass(frozen=True, slots=True)
class Network:
    """One host's."""

    inside: tuple[str, ...]
    """A command that leads into it."""
    address: str


@contextmanager
def networks(count: int) -> Iterator[list[Network]]:
    """Make that many, which reach each other by their addresses.  Blocks.  Raises: NoNetworks."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NoNetworks("root, and ip from iproute2, are wanted to make networks: apt-get install iproute2")
    hub, *names = (f"bench{os.getpid()}.{number}" for number in range(count + 1))
    made: list[str] = []
    try:
        for name in (hub, *names):
            _ip("netns", "add", name)
            made.append(name)
        _ip("-n", hub, "link", "add", BRIDGE, "type", "bridge")
        _ip("-n", hub, "link", "set", BRIDGE, "up")
        yield [_plugged(hub, name, number) for number, name in enumerate(names, 1)]
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=10)


def _plugged(hub: str, name: str, number: int) -> Network:
    plug, address = f"to{number}", f"{NETWORK}.{number}"
    _ip("link", "add", "wire", "netns", name, "type", "veth", "peer", "name", plug, "netns", hub)
    _ip("-n", hub, "link", "set", plug, "master", BRIDGE, "up")
    _ip("-n", name, "address", "add", f"{address}/24", "dev", "wire")
    for device in ("lo", "wire"):
        _ip("-n", name, "link", "set", device, "up")
    return Network(("ip", "netns", "exec", name), address)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True, timeout=10)
    if done.returncode:
        raise NoNetworks(f"ip {' '.join(words)}: {done.stderr.strip()}")
