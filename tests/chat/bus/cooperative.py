"""Over TLS, where gevent has replaced the sockets.  `test_cooperative.py` runs this in a process that has."""

from urllib.parse import quote

import pytest
from gevent import socket

from chat.bus import Script
from chat.errors import BrokerUnavailable
from tests.chat.bus.peers import RETURNED, Hearing, full_door
from tests.chat.steps import never_yields, wait_until

WORD = "s3cr3t/@#?, "
SOON = 0.5  # seconds, as a deadline


@pytest.fixture
def server(own_valkey):
    return own_valkey(program="redis", tls=True, password=WORD)


@pytest.fixture
def url(server):
    return f"{server.url}?ssl_ca_certs={quote(str(server.authority))}"


def works(bus):
    try:
        return bus.ask("lobby", "ECHO", "here").get(timeout=5) == b"here"
    except BrokerUnavailable:
        return False


def listen(bus):
    hearing = Hearing()
    bus.subscribe("lobby", b"topic", hearing)
    return hearing


def test_it_is_cooperative():
    assert socket.socket is __import__("socket").socket


def test_it_is_asked_and_heard(url, server, make_bus):
    bus = make_bus(url)
    hearing = listen(bus)

    answers = [bus.ask("lobby", "ECHO", number) for number in range(10_000)]
    server.ask("PUBLISH", "topic", "hello")

    assert [int(answer.get(timeout=10)) for answer in answers] == list(range(10_000))
    wait_until(lambda: hearing.events == [b"hello"])


def test_what_is_huge_goes_both_ways_at_once(url, make_bus):
    bus = make_bus(url)

    answers = [bus.ask("lobby", "ECHO", bytes([number]) * 2**22) for number in range(8)]

    assert [answer.get(timeout=10)[:1] for answer in answers] == [bytes([number]) for number in range(8)]
    assert bus.run(Script("return string.rep('x', 33554432)"), "lobby", [], []).get(timeout=10) == b"x" * 2**25


@pytest.mark.logs_errors
def test_a_certificate_that_nobody_vouches_for_is_refused(server, make_bus, caplog):
    bus = make_bus(server.url, starts=False)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.why
    assert quote(WORD, safe="") not in caplog.text + caught.value.why
    assert WORD not in caplog.text + caught.value.why


@pytest.mark.logs_errors
def test_a_wrong_password_is_refused_and_not_told(url, make_bus, caplog):
    bus = make_bus(url.replace("s3cr3t", "wr0ng"), starts=False)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert "invalid username-password pair" in caught.value.why
    assert "wr0ng" not in caplog.text + caught.value.why


@pytest.mark.logs_errors
def test_a_server_that_hangs_is_given_up_and_found_again(url, server, make_bus):
    bus = make_bus(url, deadline=SOON)
    hearing = listen(bus)
    server.pause()

    small = bus.ask("lobby", "ECHO", "here")
    huge = [bus.ask("lobby", "ECHO", b"x" * 2**22) for _ in range(4)]  # so that it is being written when it is given up

    for answer in (small, *huge):
        with pytest.raises(BrokerUnavailable):
            answer.get(timeout=5)
    wait_until(lambda: not bus.shards[0].can_hear(b"topic"), timeout=5)  # though the ear waited for nothing
    server.resume()
    wait_until(lambda: works(bus), timeout=5)
    wait_until(lambda: hearing.events == [RETURNED], timeout=5)


@pytest.mark.logs_errors
def test_after_a_crash_it_is_asked_and_heard_again(url, server, make_bus):
    bus = make_bus(url)
    hearing = listen(bus)
    server.kill()
    wait_until(lambda: not bus.is_up)

    server.start()

    wait_until(lambda: works(bus), timeout=5)
    wait_until(lambda: hearing.events == [RETURNED], timeout=5)


@pytest.mark.logs_errors
def test_a_handshake_that_takes_too_long_is_given_up(url, server, make_bus):
    server.pause()
    bus = make_bus(url, starts=False, deadline=SOON)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert caught.value.why.endswith("no answer within 0.5 s")
    server.resume()
    wait_until(lambda: works(bus), timeout=5)


@pytest.mark.logs_errors
def test_a_full_door_is_given_up(make_bus):
    with full_door() as url:
        bus = make_bus(url.replace("redis:", "rediss:"), starts=False, deadline=SOON)

        with pytest.raises(BrokerUnavailable):
            bus.start()


@pytest.mark.logs_errors
def test_to_hang_up_never_yields(url, make_bus):
    bus = make_bus(url)
    [shard] = bus.shards
    answer = bus.ask("lobby", "ECHO", "here")

    with never_yields():
        shard._link.hang_up()

    with pytest.raises(BrokerUnavailable):
        answer.get(timeout=5)
    wait_until(lambda: works(bus), timeout=5)
