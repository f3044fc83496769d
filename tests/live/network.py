"""A second network on this machine, whose link to ours a test can take down: what is sent then is lost without a word.

A network namespace with a pair of virtual interfaces, made by iproute2.  That takes root.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from ipaddress import IPv4Address
from pathlib import Path

import pytest

NEWNET = 0x40000000  # CLONE_NEWNET
BENCHMARKS = IPv4Address("198.18.0.0")  # RFC 2544: not used on any network


class FarNetwork:
    """A context manager.  `here` is our address, as it is known there."""

    def __init__(self) -> None:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.fail("root, and ip from iproute2, are wanted for this test: apt-get install iproute2", pytrace=False)
        self._name = f"chat{os.getpid()}"
        self._base = BENCHMARKS + 4 * (os.getpid() % 2**15)  # four addresses each
        self.here = str(self._base + 1)

    def __enter__(self) -> "FarNetwork":
        try:
            self._ip("netns", "add", self._name)
            ours, theirs = f"{self._name}.0", f"{self._name}.1"
            self._ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self._name)
            self._ip("address", "add", f"{self._base + 1}/30", "dev", ours)
            self._ip("-n", self._name, "address", "add", f"{self._base + 2}/30", "dev", theirs)
            self._ip("link", "set", ours, "up")
            self._ip("-n", self._name, "link", "set", theirs, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "netns", "delete", self._name], check=False, capture_output=True, timeout=10)

    def go_silent(self) -> None:
        """Lose all that is sent, from here and from there."""
        self._ip("-n", self._name, "link", "set", f"{self._name}.1", "down")

    def new_socket(self) -> socket.socket:
        """A TCP socket of that network.  A thread is in one network at a time, so one is made for it."""
        made: list[socket.socket] = []
        thread = threading.Thread(target=lambda: made.append(self._socket()))
        thread.start()
        thread.join(10)
        (sock,) = made
        return sock

    def _socket(self) -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", self._name).open("rb") as there:
            if libc.setns(there.fileno(), NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return socket.socket()

    def _ip(self, *args: str) -> None:
        done = subprocess.run(["ip", *args], check=False, capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr}"
