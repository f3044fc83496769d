"""The same chat over three transports: lines over TCP, a WebSocket by hand, a Flask route."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from itertools import count
from urllib.parse import quote

import pytest

from tests.examples.clients import LineTalker, Talker, WebSocketTalker, ask, refusal, said
from tests.examples.programs import example
from tests.live.servers import Server

FOREIGN = "http://evil.example"
NO_NAMES = ["ann\n2006-01-02 > bob: I am bob", " ann", "ann\u202e", "a" * 65]

_numbers = count(1)


def name(stem: str) -> str:
    """One that nobody else has: the tests share the lobby."""
    return f"{stem}{next(_numbers)}"


class Transport:
    """One of the servers."""

    def __init__(self, server: Server, port: int, path: str) -> None:
        self.server = server
        self.port = port
        self._path = path

    def address(self, name: str) -> str:
        return f"ws://127.0.0.1:{self.port}{self._path}{quote(name)}"

    def open(self, name: str) -> Talker:
        """Come in."""
        if self._path:
            return WebSocketTalker(self.address(name))
        talker = LineTalker(self.port)
        talker.say(name)
        return talker

    def refuse(self, name: str) -> str:
        """Try to come in, and return why it was refused."""
        if self._path:
            return refusal(self.address(name))[1]
        with closing(LineTalker(self.port)) as talker:
            talker.say(name)
            why = talker.hear()
            talker.is_hung_up_on()
        return why


PATHS = {"raw_tcp": "", "websocket_by_hand": "/?name=", "flask_route": "/chat/"}


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[[str], Transport]]:
    """Starts each server when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def start(program: str) -> Transport:
            server, port = stack.enter_context(example(program, "--port", "0"))
            return Transport(server, port, PATHS[program])

        yield start


@pytest.fixture(params=PATHS)
def transport(request: pytest.FixtureRequest, started: Callable[[str], Transport]) -> Transport:
    return started(request.param)


@pytest.fixture(params=["websocket_by_hand", "flask_route"])
def websocket(request: pytest.FixtureRequest, started: Callable[[str], Transport]) -> Transport:
    return started(request.param)


@pytest.fixture
def tcp(started: Callable[[str], Transport]) -> Transport:
    return started("raw_tcp")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def enter(stack: ExitStack, transport: Transport, name: str) -> Talker:
    """Come in, hear it said, and go at the end."""
    talker = stack.enter_context(closing(transport.open(name)))
    talker.wait_for(f"{name} entered lobby!")
    return talker


def test_a_message_goes_to_everybody(transport: Transport, stack: ExitStack):
    ann, bob = name("ann"), name("bob")
    first, second = enter(stack, transport, ann), enter(stack, transport, bob)
    first.wait_for(f"{bob} entered lobby!")

    second.say("Grüße, 猫")

    assert said(first.hear()) == said(second.hear()) == f"{bob}: Grüße, 猫"


def test_who_leaves_is_told_to_the_others(transport: Transport, stack: ExitStack):
    ann, bob = name("ann"), name("bob")
    first, second = enter(stack, transport, ann), enter(stack, transport, bob)

    second.close()

    first.wait_for(f"{bob} exited lobby...")


def test_a_name_that_is_taken_is_refused_and_cannot_speak(transport: Transport, stack: ExitStack):
    ann = name("ann")
    talker = enter(stack, transport, ann)

    assert "a user of that name is in the channel already" in transport.refuse(ann)

    talker.say("alone")
    assert said(talker.hear()) == f"{ann}: alone"


def test_a_name_is_free_again_when_its_user_has_gone(transport: Transport, stack: ExitStack):
    bob = name("bob")
    other = enter(stack, transport, name("ann"))
    enter(stack, transport, bob).close()
    other.wait_for(f"{bob} exited lobby...")

    enter(stack, transport, bob)


def test_a_message_that_is_too_long_is_not_said(transport: Transport, stack: ExitStack):
    ann, bob = name("ann"), name("bob")
    first, second = enter(stack, transport, ann), enter(stack, transport, bob)
    first.wait_for(f"{bob} entered lobby!")

    second.say("x" * 4097)
    second.close()

    assert said(first.hear()) == f"{bob} exited lobby..."


def test_a_carriage_return_in_a_message_forges_no_line(transport: Transport, stack: ExitStack):
    ann = name("ann")
    talker = enter(stack, transport, ann)

    talker.say("hello\r2006-01-02 - 15:04:05 (+0000) > bob: I am bob\u2028and so am I")

    wanted = f"{ann}: hello\n    2006-01-02 - 15:04:05 (+0000) > bob: I am bob\n    and so am I"
    heard = said(talker.hear())
    while len(heard) < len(wanted):
        heard += f"\n{talker.hear()}"
    assert heard == wanted


@pytest.mark.parametrize("program", PATHS)
def test_at_an_interrupt_everybody_is_hung_up_on(program: str):
    with example(program, "--port", "0") as (server, port), ExitStack() as stack:
        talkers = [enter(stack, Transport(server, port, PATHS[program]), f"user{number}") for number in range(3)]

        server.signal(signal.SIGINT)

        for talker in talkers:
            talker.is_hung_up_on()
        assert server.wait() == 0


# WebSockets


@pytest.mark.parametrize("wrong", NO_NAMES)
def test_a_name_that_could_deceive_is_refused(websocket: Transport, wrong: str):
    status, why = refusal(websocket.address(wrong))

    assert status == 400
    assert "invalid_user" in why


def test_a_taken_name_is_a_conflict(websocket: Transport, stack: ExitStack):
    ann = name("ann")
    enter(stack, websocket, ann)

    assert refusal(websocket.address(ann))[0] == 409


def test_a_foreign_page_is_refused(websocket: Transport):
    status, why = refusal(websocket.address("ann"), origin=FOREIGN)

    assert status == 403
    assert "foreign_origin" in why


def test_a_request_for_no_websocket_is_refused(websocket: Transport):
    answer = ask(websocket.port, "GET", websocket.address("ann").partition(str(websocket.port))[2])

    assert answer.status == 400


def test_a_message_without_end_ends_the_connection(websocket: Transport, stack: ExitStack):
    ann = name("ann")
    talker = WebSocketTalker(websocket.address(ann))
    stack.enter_context(closing(talker))

    talker.say("x" * (64 * 1024 + 1))

    talker.is_hung_up_on()
    assert talker.socket.close_code == 1009


# TCP


@pytest.mark.parametrize("wrong", [" ann", "ann\u202e", "a" * 65, "ann\rbob", ""])
def test_a_line_that_is_no_name_is_refused(tcp: Transport, wrong: str):
    why = tcp.refuse(wrong)

    assert why.startswith("You cannot enter: ")
    assert "name" in why


def test_a_name_that_is_no_utf8_is_refused(tcp: Transport, stack: ExitStack):
    talker = LineTalker(tcp.port)
    stack.enter_context(closing(talker))

    talker.socket.sendall(b"\xff\n")

    assert talker.hear() == "You cannot enter: that is not UTF-8"


def test_a_first_line_without_end_is_hung_up_on(tcp: Transport, stack: ExitStack):
    talker = LineTalker(tcp.port)
    stack.enter_context(closing(talker))

    talker.socket.sendall(b"x" * 10_000)

    talker.is_hung_up_on()


@pytest.mark.parametrize("line", [b"x" * 10_000, b"\xff\n"])
def test_a_line_that_is_too_long_or_no_text_ends_that_connection_alone(tcp: Transport, stack: ExitStack, line: bytes):
    ann, bob = name("ann"), name("bob")
    first, second = enter(stack, tcp, ann), enter(stack, tcp, bob)
    assert isinstance(second, LineTalker)

    second.socket.sendall(line)

    second.is_hung_up_on()
    first.wait_for(f"{bob} exited lobby...")
