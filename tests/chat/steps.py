"""What the tests of the core do over and over: join, hear, wait."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import greenlet

from chat import ChatChannel
from chat.conn import PipeClient, PipeConn
from chat.format import Format
from tests.chat.fakes import DirectFake, EventFormat


def enter(channel: ChatChannel, username: str) -> PipeClient:
    """Join with a plain client, and hear the own join."""
    conn = PipeConn()
    channel.connect_user(username, conn)
    return conn.client


def enter_directly(channel: ChatChannel, username: str, form: Format | None = None, **options: int) -> DirectFake:
    """Join with a conn that keeps events."""
    conn = DirectFake(form or EventFormat(), **options)
    channel.connect_user(username, conn)
    return conn


def leave(client: PipeClient) -> None:
    """Hang up, and return when the server has noticed."""
    client.close()
    gevent.idle()


def text_of(line: str) -> str:
    """What was said in a plain line, without the date."""
    _, _, said = line.partition(" > ")
    return said


def hear(client: PipeClient, many: int = 1, timeout: float = 2.0) -> list[str]:
    """The next `many` lines, without their dates."""
    return [text_of(client.recv(timeout)) for _ in range(many)]


def hear_until(client: PipeClient, said: str, timeout: float = 2.0) -> list[str]:
    """All lines up to `said`, which is the last."""
    heard: list[str] = []
    with gevent.Timeout(timeout, AssertionError(f"{said!r} was not heard, but {heard}")):
        while not heard or heard[-1] != said:
            heard += hear(client, timeout=None)
    return heard


def wait_until(is_so: Callable[[], bool], timeout: float = 2.0) -> None:
    """Ask again, each time the others had their turn, until it is so."""
    with gevent.Timeout(timeout, AssertionError("it never came to be so")):
        while not is_so():
            gevent.sleep(0)


@contextmanager
def never_yields() -> Iterator[None]:
    """Fails when there is a switch of greenlets inside."""
    switches: list[object] = []
    before = greenlet.settrace(lambda event, args: switches.append((event, args)))
    try:
        yield
    finally:
        greenlet.settrace(before)
    assert switches == []


def our_greenlets() -> list[gevent.Greenlet]:
    """Those of the package that have not ended."""
    return [
        found
        for found in gc.get_objects()
        if type(found) is gevent.Greenlet
        and not found.dead
        and (getattr(found._run, "__module__", None) or "").startswith("chat.")
    ]
