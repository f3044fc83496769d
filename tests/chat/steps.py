"""What the tests of the core do over and over: join, hear, wait."""

import gevent

from chat import ChatChannel
from chat.conn import PipeClient, PipeConn
from chat.format import Format
from chat.testing import DirectFake, EventFormat, never_yields, wait_until

__all__ = ["enter", "enter_directly", "hear", "hear_until", "leave", "never_yields", "text_of", "wait_until"]


def enter(channel: ChatChannel, username: str) -> PipeClient:
    """Join with a plain client, and hear the own join."""
    conn = PipeConn()
    channel.connect_user(username, conn)
    return conn.client


def enter_directly(channel: ChatChannel, username: str, form: Format | None = None, **options: int) -> DirectFake:
    """Join with a conn that keeps events, and return when the server listens to it."""
    conn = DirectFake(form or EventFormat(), **options)
    channel.connect_user(username, conn)
    wait_until(lambda: conn.started)
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
