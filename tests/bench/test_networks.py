"""Networks of this machine that are as hosts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.networks import NoNetworks, networks

FAR = (
    "import socket, sys; s = socket.create_server((sys.argv[1], 7000)); print(flush=True); s.accept()[0].sendall(b'hello')"
)
NEAR = "import socket, sys; print(socket.create_connection((sys.argv[1], 7000), 5).recv(9).decode(), end='')"

takes_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")


def left_over() -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"bench{os.getpid()}.*")]


@takes_root
def test_hosts_reach_each_other_by_their_addresses() -> None:
    with networks(2) as (here, there):
        command = [*there.inside, sys.executable, "-c", FAR, there.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as far:
            assert far.stdout is not None
            far.stdout.readline()
            near = [*here.inside, sys.executable, "-c", NEAR, there.address]
            heard = subprocess.run(near, capture_output=True, text=True, timeout=20, check=True).stdout

    assert heard == "hello"


@takes_root
def test_nothing_of_them_is_left() -> None:
    with networks(1):
        assert len(left_over()) == 2  # one host, and the bridge

    assert left_over() == []


@takes_root
def test_what_was_made_before_it_failed_is_not_left_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ip = tmp_path / "ip"
    ip.write_text('#!/bin/sh\ncase "$*" in *bridge*) echo no bridges here >&2; exit 1;; esac\nexec /sbin/ip "$@"\n')
    ip.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(NoNetworks, match="no bridges here"), networks(1):
        pass

    assert left_over() == []


def test_without_the_program_there_are_none_and_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NoNetworks, match="root, and ip from iproute2, are wanted"), networks(1):
        pass
