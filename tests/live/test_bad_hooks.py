"""An application whose hooks raise, block, spawn and call back: each costs its own channel, and nobody else anything."""

import time
from collections.abc import Iterator

import pytest

from tests.live.servers import Server
from tests.live.wires import Faulty, faulty_server

BLOCKED = 5.0  # seconds


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Faulty]]:
    with faulty_server(tmp_path_factory.mktemp("hooks"), CHAT_MESSAGE_RATE="0") as started:
        yield started


@pytest.fixture(scope="module")
def faulty(started: tuple[Server, Faulty]) -> Faulty:
    return started[1]


@pytest.fixture(scope="module")
def blocked(faulty: Faulty) -> float:
    """In the channel `blocked` a hook hangs, since the moment that this is."""
    ann = faulty.join("blocked", "ann")
    ann.say(f"block {BLOCKED}")
    return time.monotonic()


@pytest.mark.usefixtures("blocked")
def test_a_hook_that_raises_costs_the_message_and_nothing_else(started: tuple[Server, Faulty]) -> None:
    server, faulty = started
    ann, bob = faulty.enter("raising", "ann"), faulty.join("raising", "bob")

    id = ann.say("raise")
    refused = ann.hear("error")
    ann.say("and on")

    assert (refused["id"], refused["code"], refused["retry"]) == (id, "hook_failed", False)
    bob.hear("and on")
    assert "raise" not in bob.heard
    assert "as asked" not in refused["message"]
    server.wait_for("encode failed\nTraceback(.*\n)+?RuntimeError: as asked")


@pytest.mark.usefixtures("blocked")
def test_greetings_that_raise_keep_nobody_out_and_nobody_in(started: tuple[Server, Faulty]) -> None:
    server, faulty = started
    bystander = faulty.enter("raising", "bystander")
    bystander.hear("joined")  # itself
    raiser = faulty.enter("raising", "raiser")
    assert bystander.hear("joined")["user"] == {"user": "raiser"}
    raiser.say("hello")
    assert raiser.hear("message")["text"] == "hello"
    raiser.close()

    server.wait_for("on_disconnect failed")
    assert "on_connect failed" in server.log
    assert bystander.hear("left")["user"] == {"user": "raiser"}
    faulty.enter("raising", "raiser")
    assert bystander.hear("joined")["user"] == {"user": "raiser"}


@pytest.mark.usefixtures("blocked")
def test_greenlets_that_a_hook_spawns_may_speak(faulty: Faulty) -> None:
    ann = faulty.join("spawning", "ann")

    ann.say("spawn")

    heard = {ann.hear("spawned") for _ in range(100)}
    assert heard == {f"spawned {number}" for number in range(100)}


@pytest.mark.usefixtures("blocked")
def test_a_hook_may_call_its_own_channel(faulty: Faulty) -> None:
    ann = faulty.join("calling", "ann")

    ann.say("re-enter")
    ann.hear("here are ['ann']")
    ann.hear("psst")
    ann.say("remove")

    assert ann.recv_close().code == 4503


@pytest.mark.usefixtures("blocked")
def test_a_hook_that_says_more_than_a_channel_holds_is_told_so(faulty: Faulty) -> None:
    ann = faulty.join("overflowing", "ann")

    ann.say("overflow")

    assert ann.hear("busy after") == "busy after 10240"
    ann.say("well?")
    ann.hear("well?")
    assert ann.heard.count("more") == 10240


@pytest.mark.usefixtures("blocked")
def test_a_hook_may_close_its_channel_whose_name_is_free_then(faulty: Faulty) -> None:
    ann = faulty.join("closing", "ann")

    ann.say("close")

    assert ann.recv_close().code == 1000
    faulty.join("closing", "ann")


def test_while_a_hook_blocks_no_other_channel_waits(faulty: Faulty, blocked: float) -> None:
    ann, bob = faulty.join("lobby", "ann"), faulty.join("lobby", "bob")
    bystander = faulty.knock("blocked", "bob")
    waits = []
    while (now := time.monotonic()) < blocked + BLOCKED - 0.5 or not waits:
        ann.say("tick")
        bob.hear("tick")
        waits.append(time.monotonic() - now)

    assert sorted(waits)[len(waits) // 2] < 0.02
    assert max(waits) < 1.0
    assert faulty.place.request("GET", "/chat/channels").status == 401
    bystander.hear("bob is here")  # the channel itself goes on when the hook has ended
    assert time.monotonic() - blocked >= BLOCKED
