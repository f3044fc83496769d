"""What is asked of a Redis in one go is answered in order, whatever is wrong with some of it."""

import gevent
import pytest

from chat.bus import Script

SET = Script("return redis.call('SET', KEYS[1], ARGV[1])")


@pytest.fixture
def bus(valkey, open_bus):
    return open_bus(valkey.unix_url)


def test_a_script_that_the_server_does_not_know_is_done_in_its_turn(bus):
    key = bus.key("t", "k")

    answers = [bus.ask("t", "SET", key, "1"), bus.run(SET, "t", [key], ["2"]), bus.ask("t", "GET", key)]

    assert [answer.get() for answer in answers] == [b"OK", b"OK", b"2"]


def test_a_script_that_the_server_has_forgotten_is_told_again(valkey, bus):
    key = bus.key("t", "k")
    bus.run(SET, "t", [key], ["1"]).get()
    valkey.ask("SCRIPT", "FLUSH")

    assert [bus.run(SET, "t", [key], [str(number)]).get() for number in range(3)] == [b"OK"] * 3


def test_what_cannot_be_said_is_not_asked(bus):
    with pytest.raises(UnicodeEncodeError):
        bus.ask("t", "GET", "\ud800")

    with gevent.Timeout(1.0):
        assert bus.ask("t", "ECHO", "heard").get() == b"heard"
