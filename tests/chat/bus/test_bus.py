"""All servers as one: who keeps what, and what asks and hears there."""

import gevent
import pytest

from chat.bus import Bus, Script
from chat.errors import BrokerUnavailable
from tests.chat.bus.conftest import LOG
from tests.chat.bus.peers import RETURNED, Hearing
from tests.chat.steps import never_yields, wait_until

TAGS = [f"channel {number}" for number in range(3_000)]
URLS = ["redis://one", "redis://two:7000/1", "unix:///run/three.sock"]
AWKWARD = ["lobby", "a{b}c", "}", "}{", "{}", "50%", "%7D", "größer", "a b"]
NOBODY = "redis://127.0.0.1:1"  # a port that nothing listens at

SAY = Script(
    """redis.call('SET', KEYS[1], ARGV[1])
    return redis.call(ARGV[2], KEYS[2], ARGV[1])"""
)


def places(*urls):
    bus = Bus(" ".join(urls), LOG)
    return [bus.shard(tag).name for tag in TAGS]


def say(bus, tag, words):
    """Keep them, and publish them: in one script, whichever the server is."""
    keys = [bus.key(tag, "kept"), bus.key(tag, "topic")]
    return bus.run(SAY, tag, keys, [words, bus.shard(tag).publish_word]).get(timeout=5)


def heard(hearing, *payloads):
    wait_until(lambda: len(hearing.events) >= len(payloads), timeout=5)
    return hearing.events == list(payloads)


def tag_of(bus, shard):
    """One that is kept there."""
    return next(tag for tag in TAGS if bus.shard(tag) is shard)


def test_three_servers_have_about_the_same_share():
    where = places(*URLS)

    for name in set(where):
        assert where.count(name) == pytest.approx(len(TAGS) / 3, rel=0.2)
    assert len(set(where)) == 3


def test_another_server_takes_only_its_share():
    before, after = places(*URLS), places(*URLS, "redis://four")

    moved = [new for old, new in zip(before, after, strict=True) if old != new]

    assert set(moved) == {"four:6379"}
    assert len(moved) == pytest.approx(len(TAGS) / 4, rel=0.2)


def test_neither_the_order_of_the_urls_nor_their_passwords_matter():
    assert places(*URLS) == places(*reversed(URLS)) == places("redis://:secret@one:6379", *URLS[1:])


def test_different_tags_have_different_keys():
    bus = Bus(NOBODY, LOG)

    assert len({bus.key(tag, "one") for tag in AWKWARD}) == len(AWKWARD)
    assert bus.key("lobby", "log") == b"chat:{lobby}:log"
    assert Bus(NOBODY, LOG, prefix="other").key("lobby", "log") == b"other:{lobby}:log"


def test_a_prefix_cannot_be_taken_for_a_tag():
    with pytest.raises(ValueError, match="prefix"):
        Bus(NOBODY, LOG, prefix="{chat}")


def test_what_is_asked_and_heard_of_several_servers_goes_where_it_belongs(valkey, redis_server, make_bus):
    bus = make_bus(f"{valkey.url},{redis_server.unix_url}")
    for shard, server in zip(bus.shards, (valkey, redis_server), strict=True):
        tag, hearing = tag_of(bus, shard), Hearing()
        bus.subscribe(tag, bus.key(tag, "topic"), hearing)

        assert say(bus, tag, "hello") == 1

        assert heard(hearing, b"hello")
        assert bus.ask(tag, "GET", bus.key(tag, "kept")).get(timeout=5) == b"hello"
        assert server.ask("GET", bus.key(tag, "kept")) == "hello"
    assert bus.is_up


def test_what_never_yields(valkey, make_bus):
    bus = make_bus(valkey.url)
    subscription = bus.subscribe("lobby", b"topic", Hearing())

    with never_yields():
        answers = [bus.ask("lobby", "ECHO", "here"), bus.run(Script("return 1"), "lobby", [], [])]
        bus.unsubscribe("lobby", subscription)
        bus.unsubscribe("lobby", subscription)
        assert bus.is_up

    assert [answer.get(timeout=5) for answer in answers] == [b"here", 1]


@pytest.mark.logs_errors
def test_when_one_server_is_away_the_others_are_there_all_the_same(valkey, make_bus):
    bus = make_bus(f"{NOBODY} {valkey.url}", starts=False)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert caught.value.why.startswith("Redis 127.0.0.1:1 cannot be reached: ")
    assert "refused" in caught.value.why
    assert not bus.is_up
    there, away = tag_of(bus, bus.shards[1]), tag_of(bus, bus.shards[0])
    assert bus.ask(there, "ECHO", "here").get(timeout=5) == b"here"
    bus.subscribe(there, b"topic", Hearing())
    refusal = bus.ask(away, "ECHO", "here")
    assert isinstance(refusal.exception, BrokerUnavailable)
    with never_yields(), pytest.raises(BrokerUnavailable):
        bus.subscribe(away, b"topic", Hearing())


@pytest.mark.logs_errors
def test_one_that_was_away_at_the_start_is_used_as_soon_as_it_is_there(valkey, make_bus):
    valkey.stop()
    bus = make_bus(valkey.url, starts=False)
    with pytest.raises(BrokerUnavailable):
        bus.start()

    valkey.start()

    wait_until(lambda: bus.is_up, timeout=5)
    assert say(bus, "lobby", "hello") == 0


@pytest.mark.logs_errors
def test_a_server_that_hangs_at_the_start_is_not_waited_for_for_long(valkey, make_bus):
    valkey.pause()
    bus = make_bus(valkey.url, starts=False, deadline=0.2)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert caught.value.why.endswith("no answer within 0.2 s")
    valkey.resume()
    wait_until(lambda: bus.is_up, timeout=5)


@pytest.mark.logs_errors
def test_who_subscribes_where_nobody_answers_is_refused_and_hears_nothing_later(valkey, make_bus):
    bus = make_bus(valkey.url, deadline=0.2)
    valkey.pause()
    hearing = Hearing()

    with pytest.raises(BrokerUnavailable):
        bus.subscribe("lobby", b"topic", hearing)

    valkey.resume()
    wait_until(lambda: bus.is_up, timeout=5)
    wait_until(lambda: valkey.ask("PUBSUB", "CHANNELS") == [])
    assert hearing.events == []


def test_who_gives_up_while_it_subscribes_hears_nothing_later(valkey, make_bus):
    bus = make_bus(valkey.url)
    valkey.pause()
    hearing = Hearing()

    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.1) as own:
        bus.subscribe("lobby", b"topic", hearing)

    assert caught.value is own
    valkey.resume()
    wait_until(lambda: bus.ask("lobby", "PUBSUB", "CHANNELS").get(timeout=5) == [])
    assert hearing.events == []


@pytest.mark.logs_errors
def test_what_is_heard_survives_a_crash(valkey, make_bus):
    bus, hearing = make_bus(valkey.url), Hearing()
    bus.subscribe("lobby", bus.key("lobby", "topic"), hearing)
    valkey.kill()
    wait_until(lambda: not bus.is_up)

    valkey.start()

    assert heard(hearing, RETURNED)
    wait_until(lambda: bus.is_up, timeout=5)
    say(bus, "lobby", "hello")
    assert heard(hearing, RETURNED, b"hello")


@pytest.mark.logs_errors
def test_who_writes_to_what_is_no_master_any_more_hears_elsewhere_too(own_valkey, make_bus):
    server, master = own_valkey(), own_valkey()
    bus, hearing = make_bus(server.url), Hearing()
    bus.subscribe("lobby", b"topic", hearing)
    server.ask("REPLICAOF", "127.0.0.1", master.port)

    with pytest.raises(BrokerUnavailable):
        bus.ask("lobby", "SET", "key", "value").get(timeout=5)

    assert heard(hearing, RETURNED)


def test_when_it_is_closed_everything_is_refused(valkey, make_bus):
    bus = make_bus(valkey.url)
    waiting = bus.ask("lobby", "ECHO", "here")
    subscription = bus.subscribe("lobby", b"topic", Hearing())

    bus.close()
    bus.close()
    bus.unsubscribe("lobby", subscription)

    assert waiting.ready()
    assert not bus.is_up
    assert isinstance(bus.ask("lobby", "ECHO", "here").exception, BrokerUnavailable)
    with pytest.raises(BrokerUnavailable):
        bus.subscribe("lobby", b"topic", Hearing())


def test_what_was_never_started_can_be_closed(make_bus):
    bus = make_bus(f"{NOBODY} redis+cluster://127.0.0.1:2", starts=False)

    bus.close()

    assert all(isinstance(bus.ask(tag, "PING").exception, BrokerUnavailable) for tag in TAGS[:10])
