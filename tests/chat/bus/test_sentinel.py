"""A master that sentinels know, and its replica, which takes over."""

import pytest

from chat.errors import BrokerUnavailable
from tests.chat.bus.peers import RETURNED, Hearing
from tests.chat.bus.test_bus import heard, say
from tests.chat.steps import wait_until

PATIENCE = 15.0  # seconds: a master is suspected after half of one, and then there is an election


def writes(bus):
    try:
        return bus.ask("lobby", "SET", bus.key("lobby", "written"), 1).get(timeout=5) == b"OK"
    except BrokerUnavailable:
        return False


def listen(bus):
    hearing = Hearing()
    bus.subscribe("lobby", bus.key("lobby", "topic"), hearing)
    return hearing


def test_what_is_asked_and_heard_is_the_masters(sentinel, make_bus):
    bus = make_bus(sentinel.url)
    hearing = listen(bus)

    assert say(bus, "lobby", "hello") == 1

    assert heard(hearing, b"hello")
    assert sentinel.master.ask("GET", bus.key("lobby", "kept")) == "hello"


def test_a_sentinel_that_is_away_does_not_matter_when_there_is_another_one(sentinel, make_bus):
    bus = make_bus(sentinel.url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1"))

    assert writes(bus)


@pytest.mark.logs_errors
def test_a_name_that_no_sentinel_knows_is_told(sentinel, make_bus):
    bus = make_bus(sentinel.url.replace("/chat", "/shat"), starts=False)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert caught.value.why.endswith(f"the sentinel 127.0.0.1:{sentinel.sentinel.port} knows no 'shat'")


@pytest.mark.logs_errors
def test_when_another_one_becomes_the_master_it_is_asked_and_heard(sentinel, make_bus):
    bus = make_bus(sentinel.url)
    hearing = listen(bus)

    sentinel.failover()

    wait_until(lambda: hearing.events[:1] == [RETURNED], PATIENCE)
    wait_until(lambda: writes(bus) and bus.is_up, PATIENCE)
    before = list(hearing.events)
    assert say(bus, "lobby", "hello") == 1
    assert heard(hearing, *before, b"hello")
    assert sentinel.master.ask("GET", bus.key("lobby", "kept")) == "hello"


@pytest.mark.logs_errors
def test_when_the_master_dies_the_other_one_is_asked_and_heard(sentinel, make_bus):
    bus = make_bus(sentinel.url)
    hearing, old = listen(bus), sentinel.master

    old.kill()

    wait_until(lambda: hearing.events == [RETURNED], PATIENCE)
    assert sentinel.master is not old
    wait_until(lambda: writes(bus), PATIENCE)
    assert say(bus, "lobby", "hello") == 1
    assert heard(hearing, RETURNED, b"hello")


@pytest.mark.logs_errors
def test_what_the_sentinel_takes_for_the_master_must_be_one(sentinel, make_bus):
    old, replica = sentinel.master, sentinel.replica
    sentinel.sentinel.pause()  # or it would set that right at once
    old.ask("REPLICAOF", "127.0.0.1", replica.port)
    sentinel.sentinel.resume()
    bus = make_bus(sentinel.url, starts=False)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert caught.value.why.endswith("is no master (yet)")
    old.ask("REPLICAOF", "NO", "ONE")
    wait_until(lambda: writes(bus), PATIENCE)
