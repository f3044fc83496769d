"""The demo server, and users of it that are gone after the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count

import pytest

from tests.examples.clients import WebSocketTalker, ask, encode
from tests.examples.programs import example
from tests.live.servers import Server

_numbers = count(1)


class Demo:
    """A running `examples/go_chat_server.py`."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.chat = f"ws://127.0.0.1:{port}/chat"

    def channel(self) -> str:
        """A new one."""
        name = f"room {next(_numbers)}"
        assert ask(self.port, "POST", f"/new_channel/{encode(name)}").status == 204
        return name

    def token(self, channel: str, name: str) -> str:
        answer = ask(self.port, "POST", f"/new_token/{encode(channel)}/{encode(name)}")
        assert answer.status == 200, answer.text
        return answer.text


Enter = Callable[[str, str], WebSocketTalker]


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    with example("go_chat_server", "-Port", "0") as (server, port):
        yield Demo(server, port)


@pytest.fixture
def channel(demo: Demo) -> str:
    return demo.channel()


@pytest.fixture
def enter(demo: Demo) -> Iterator[Enter]:
    """Lets a user into a channel, as the original's clients do, and out at the end."""
    with ExitStack() as stack:

        def enter(channel: str, name: str) -> WebSocketTalker:
            talker = WebSocketTalker(demo.chat, Cookie=f"X-ChatToken={demo.token(channel, name)}")
            stack.enter_context(closing(talker))
            talker.wait_for(f"{name} entered {channel}!")
            return talker

        yield enter
