"""The bots, on the demo server."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.pinger import parse
from tests.examples.clients import PATIENCE, said
from tests.examples.conftest import Demo, Enter
from tests.examples.programs import command
from tests.live.servers import Server, running


@contextmanager
def bots(demo: Demo, *arguments: str) -> Iterator[Server]:
    with running(command("pinger", "--url", demo.url, *arguments)) as program:
        yield program
        assert "Traceback" not in program.log, program.log


def test_a_bot_makes_its_channel_and_leaves_when_it_has_said_enough(demo: Demo):
    with bots(demo, "--max=0.2", "--messages=3", "a new room", "ping") as program:
        assert program.wait(PATIENCE) == 0

    assert "[ping] " in program.log
    assert demo.token("a new room", "ann")


def test_a_bot_enters_talks_and_leaves(demo: Demo, channel: str, enter: Enter):
    ann = enter(channel, "ann")

    with bots(demo, "--min=0", "--max=0.05", "--messages=2", channel, "ping") as program:
        heard = [said(ann.hear()) for _ in range(4)]
        assert program.wait(PATIENCE) == 0

    assert heard[0] == f"ping entered {channel}!"
    assert all(text.startswith("ping: ping waited 0.0") for text in heard[1:3])
    assert heard[3] == f"ping exited {channel}..."


def test_a_bot_prints_what_it_hears_so_that_a_terminal_cannot_be_misled(demo: Demo, channel: str, enter: Enter):
    ann = enter(channel, "ann")

    with bots(demo, "--min=60", "--max=60", channel, "ping") as program:
        ann.wait_for(f"ping entered {channel}!")
        ann.say("hello \x1b[2J")
        program.wait_for(r"\[ping\] '.* > ann: hello \\x1b\[2J'", PATIENCE)


def test_a_bot_leaves_at_an_interrupt_wherever_it_waits(demo: Demo, channel: str, enter: Enter):
    ann = enter(channel, "ann")

    with bots(demo, "--min=60", "--max=60", channel, "ping") as program:
        ann.wait_for(f"ping entered {channel}!")
        program.signal(signal.SIGINT)
        ann.wait_for(f"ping exited {channel}...")
        assert program.wait(PATIENCE) == 0


def test_several_bots_have_names_of_their_own(demo: Demo, channel: str, enter: Enter):
    ann = enter(channel, "ann")

    with bots(demo, "--count=3", "--min=60", "--max=60", channel, "ping"):
        heard = {said(ann.hear()) for _ in range(3)}

    assert heard == {f"ping-{number} entered {channel}!" for number in (1, 2, 3)}


def test_a_bot_whose_name_is_taken_says_so(demo: Demo, channel: str, enter: Enter):
    enter(channel, "ping")

    with bots(demo, channel, "ping") as program:
        assert program.wait(PATIENCE) == 1

    assert "a user of that name is in the channel already" in program.log


def test_a_bot_with_a_name_that_nobody_can_have_says_so(demo: Demo, channel: str):
    with bots(demo, channel, "pi\nng") as program:
        assert program.wait(PATIENCE) == 1

    assert "which is not allowed" in program.log


def test_a_bot_without_a_server_says_so():
    with running(command("pinger", "--url", "http://127.0.0.1:1", "lobby", "ping")) as program:
        assert program.wait(PATIENCE) == 1

    assert "refused" in program.log
    assert "Traceback" not in program.log


def test_pauses_are_those_of_the_original_unless_told_otherwise():
    options = parse(["lobby", "ping"])

    assert (options.min, options.max) == (0.125, 16.0)
    assert (options.count, options.messages) == (1, None)


@pytest.mark.parametrize("arguments", [["lobby"], ["lobby", "ping", "--min=2", "--max=1"], ["lobby", "ping", "--min=-1"]])
def test_wrong_arguments_are_complained_about(capsys, arguments: list[str]):
    with pytest.raises(SystemExit):
        parse(arguments)

    assert "error:" in capsys.readouterr().err
