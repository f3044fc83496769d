"""Fifty processes redeem the same token at the same time, and one of them succeeds; twenty times."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pytest

from chat.tokens.redis import RedisTokens

RACERS = 50
TOKENS = 20
PATIENCE = 30.0  # seconds for each of them


@pytest.fixture
def racers(valkey, tmp_path) -> Iterator[list[TextIO]]:
    """A line to each of the processes, which are connected to the server, and wait."""
    path = valkey.folder / "start"  # the path of a socket has to be short
    program = [sys.executable, "-m", "tests.chat.racers", valkey.unix_url, str(path), str(RACERS)]
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.settimeout(PATIENCE)
        listening.bind(str(path))
        stack.callback(path.unlink)
        listening.listen(RACERS)
        process = subprocess.Popen(program, cwd=Path(__file__).parents[2], start_new_session=True)
        stack.callback(process.wait, PATIENCE)  # once they are hung up on
        lines = []
        for _ in range(RACERS):
            line, _ = listening.accept()
            stack.enter_context(line)
            line.settimeout(PATIENCE)
            lines.append(stack.enter_context(line.makefile("rw")))
        yield lines
        assert process.poll() is None


def test_of_fifty_processes_that_redeem_a_token_at_once_one_succeeds(racers, valkey, open_bus):
    tokens = RedisTokens(open_bus(valkey.unix_url))
    assert len({line.readline() for line in racers}) == RACERS  # so many processes

    for number in range(TOKENS):
        token = tokens.issue(f"user{number}", "lobby")
        valkey.pause()  # so that all have asked before the first one is answered
        for line in racers:
            print(token, file=line, flush=True)
        assert {line.readline() for line in racers} == {"asked\n"}
        valkey.resume()

        heard = Counter(line.readline() for line in racers)

        assert heard == {f"user{number}\n": 1, "invalid\n": RACERS - 1}
