"""What is asked of a Redis in one go is answered in order, whatever is wrong with some of it."""

import gevent
import pytest


@pytest.fixture
def bus(valkey, open_bus):
    return open_bus(valkey.unix_url)


def test_what_cannot_be_said_is_not_asked(bus):
    with pytest.raises(UnicodeEncodeError):
        bus.ask("t", "GET", "\ud800")

    with gevent.Timeout(1.0):
        assert bus.ask("t", "ECHO", "heard").get() == b"heard"
