"""Two networks beside this machine's, with a link between them that a test can take down: what is sent then is lost without
a word.

Network namespaces with a pair of virtual interfaces, made by iproute2.  That takes root.  This machine's own network stays
as it is, because a browser breaks off what it loads when that changes.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

NEWNET = 0x40000000  # CLONE_NEWNET
CABLE = "cable"  # both ends
HERE, THERE = "198.18.0.1", "198.18.0.2"  # RFC 2544: not used on any network


class Link:
    """A context manager.  `listener` listens on the near network, for a server to take over."""

    def __init__(self) -> None:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.fail("root, and ip from iproute2, are wanted for this test: apt-get install iproute2", pytrace=False)
        self._near, self._far = f"chat{os.getpid()}.0", f"chat{os.getpid()}.1"

    def __enter__(self) -> "Link":
        try:
            for name in (self._near, self._far):
                self._ip("netns", "add", name)
            self._ip("link", "add", CABLE, "netns", self._near, "type", "veth", "peer", "name", CABLE, "netns", self._far)
            for name, address in ((self._near, HERE), (self._far, THERE)):
                self._ip("-n", name, "address", "add", f"{address}/30", "dev", CABLE)
                self._ip("-n", name, "link", "set", CABLE, "up")
            self.listener = _socket_of(self._near)
            self.listener.bind((HERE, 0))
            self.listener.listen()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self._near, self._far):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=10)

    def new_socket(self) -> socket.socket:
        """A TCP socket of the far network."""
        return _socket_of(self._far)

    def go_silent(self) -> None:
        """Lose all that is sent, from here and from there."""
        self._ip("-n", self._far, "link", "set", CABLE, "down")

    def _ip(self, *args: str) -> None:
        done = subprocess.run(["ip", *args], check=False, capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr}"


def _socket_of(network: str) -> socket.socket:
    """A thread is in one network at a time, so one is made for it."""
    made: list[socket.socket] = []
    thread = threading.Thread(target=lambda: made.append(_socket_in(network)))
    thread.start()
    thread.join(10)
    (sock,) = made
    return sock


def _socket_in(network: str) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", network).open("rb") as there:
        if libc.setns(there.fileno(), NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket()
