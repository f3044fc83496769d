"""Processes that redeem each token that they are told, and tell what came of it: a program for test_token_race.py.

They are forked from one that has imported everything, and has no hub yet: to start fifty takes a tenth of a second rather
than nine.
"""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

import gevent

from chat.bus import Bus
from chat.errors import InvalidToken
from chat.tokens.redis import RedisTokens


def race(url: str, path: str) -> None:
    bus = Bus(url, logging.getLogger("racer"))
    bus.start()
    tokens = RedisTokens(bus)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        line.sendall(b"%d\n" % os.getpid())
        for token in line.makefile("r"):
            redeeming = gevent.spawn(redeem, tokens, token.strip())
            gevent.idle()  # until it has asked
            line.sendall(b"asked\n")
            line.sendall(redeeming.get() + b"\n")


def redeem(tokens: RedisTokens, token: str) -> bytes:
    try:
        return tokens.redeem(token).username.encode()
    except InvalidToken:
        return b"invalid"


def children(many: int) -> Iterator[int]:
    """In each of these processes 0; here their ids."""
    for _ in range(many):
        pid = os.fork()
        yield pid
        if pid == 0:
            return


def main(url: str, path: str, many: int) -> None:
    if 0 in children(many):
        with suppress(OSError):  # hung up on
            race(url, path)
        os._exit(0)  # to tidy up fifty interpreters takes two seconds
    for _ in range(many):
        os.wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
