"""Hearing over one connection: which topic hears what, and what becomes of topics when the connection breaks."""

import gevent
import pytest

from chat.bus import Topic
from chat.errors import BrokerUnavailable
from tests.chat.bus.peers import RETURNED, Hearing
from tests.chat.steps import never_yields, wait_until

SOON = 0.3  # seconds, as a deadline
NAME = b"chat:{lobby}:topic"


def subscribe(ear, name=NAME):
    """A topic that hears already."""
    topic = Topic(name, Hearing())
    ear.add(topic)
    topic.hears.get(timeout=5)
    return topic


def events(topic):
    return topic.listener.events


def heard(topic, *payloads):
    wait_until(lambda: len(events(topic)) >= len(payloads), timeout=5)
    return events(topic) == list(payloads)


def test_a_topic_hears_what_is_published_there_and_nothing_else(valkey, make_ear):
    ear = make_ear(valkey.url)
    lobby, attic = subscribe(ear), subscribe(ear, b"attic")

    for name, payload in ((NAME, b"one"), (b"attic", b"\xff\x00\r\n"), (b"cellar", b"two"), (NAME, b"")):
        valkey.ask("PUBLISH", name, payload)

    assert heard(lobby, b"one", b"")
    assert heard(attic, b"\xff\x00\r\n")
    assert len(ear) == 2


def test_to_add_and_to_remove_never_yield(valkey, make_ear):
    ear = make_ear(valkey.url)
    topic = Topic(NAME, Hearing())

    with never_yields():
        ear.add(topic)
        ear.remove(topic)
        ear.remove(topic)

    assert len(ear) == 0


def test_what_is_removed_hears_no_more(valkey, make_ear):
    ear = make_ear(valkey.url)
    topic, other = subscribe(ear), subscribe(ear, b"attic")

    ear.remove(topic)
    valkey.ask("PUBLISH", NAME, "one")
    valkey.ask("PUBLISH", "attic", "two")

    assert heard(other, b"two")
    assert events(topic) == []
    wait_until(lambda: valkey.ask("PUBSUB", "NUMSUB", NAME) == [NAME.decode(), 0])


def test_who_comes_right_after_one_who_leaves_hears(valkey, make_ear):
    ear = make_ear(valkey.url)
    for _ in range(100):
        first = subscribe(ear)
        ear.remove(first)

        second = subscribe(ear)
        valkey.ask("PUBLISH", NAME, "one")

        assert heard(second, b"one")
        assert events(first) == []
        ear.remove(second)


def test_of_two_of_one_name_the_later_one_hears(valkey, make_ear):
    ear = make_ear(valkey.url)
    first, second = subscribe(ear), subscribe(ear)
    ear.remove(first)

    valkey.ask("PUBLISH", NAME, "one")

    assert heard(second, b"one")
    assert events(first) == []


def subscribed(name=NAME):
    return b"subscribe", name, b"1"


def unsubscribed(name=NAME):
    return b"unsubscribe", name, b"0"


def test_the_answer_that_one_waits_for_is_not_that_of_one_before(talker, make_ear):
    ear = make_ear(talker.url)
    topics = [Topic(NAME, Hearing()) for _ in range(3)]
    mark = Topic(b"attic", Hearing())
    ear.add(mark)
    for topic in topics:
        ear.add(topic)
        if topic is not topics[-1]:
            ear.remove(topic)

    for words in (subscribed(b"attic"), subscribed(), unsubscribed(), subscribed(), unsubscribed()):
        talker.say(*words)
    talker.say(b"message", NAME, b"for one before")
    talker.say(b"message", b"attic", b"mark")
    assert heard(mark, b"mark")
    assert not any(topic.hears.ready() for topic in topics)

    talker.say(*subscribed())
    talker.say(b"message", NAME, b"for the last one")
    topics[-1].hears.get(timeout=5)
    assert heard(topics[-1], b"for the last one")
    assert [events(topic) for topic in topics[:-1]] == [[], []]


@pytest.mark.logs_errors
@pytest.mark.parametrize("words", [(b"subscribe", b"attic", b"1"), (b"pong", b""), (b"nonsense",)])
def test_what_nobody_asked_for_makes_it_begin_anew(words, talker, make_ear):
    ear = make_ear(talker.url)
    topic = Topic(NAME, Hearing())
    ear.add(topic)

    talker.say(*words)

    wait_until(lambda: talker.count > 1)
    wait_until(lambda: ear.is_up)
    talker.say(*subscribed())
    topic.hears.get(timeout=5)


@pytest.mark.parametrize("names", [[], [NAME]])
def test_an_ear_to_which_nobody_speaks_stays(names, valkey, make_ear):
    ear = make_ear(valkey.url, deadline=0.1)
    topics = [subscribe(ear, name) for name in names]

    wait_until(lambda: valkey.ask("INFO", "commandstats")["cmdstat_ping"]["calls"] > 4, timeout=5)

    assert [events(topic) for topic in topics] == [[] for _ in topics]  # none has returned, and no error was logged


@pytest.mark.logs_errors
def test_after_a_crash_topics_hear_again_and_are_told(valkey, make_ear):
    ear = make_ear(valkey.url)
    topics = [subscribe(ear, b"topic %d" % number) for number in range(100)]
    valkey.kill()
    wait_until(lambda: not ear.is_up)
    late = Topic(NAME, Hearing())
    ear.add(late)
    ear.remove(topics.pop())

    valkey.start()

    late.hears.get(timeout=5)
    for number in range(100):
        valkey.ask("PUBLISH", f"topic {number}", number)
    assert all(heard(topic, RETURNED, b"%d" % number) for number, topic in enumerate(topics))
    assert events(late) == []  # it has missed nothing


@pytest.mark.logs_errors
def test_a_server_that_hangs_is_noticed_by_who_subscribes(valkey, make_ear):
    ear = make_ear(valkey.url, deadline=SOON)
    topic = subscribe(ear)
    valkey.pause()
    late = Topic(b"attic", Hearing())

    ear.add(late)

    wait_until(lambda: not ear.is_up, timeout=5)
    assert not late.hears.ready()
    valkey.resume()
    late.hears.get(timeout=5)
    assert heard(topic, RETURNED)


@pytest.mark.logs_errors
def test_a_line_that_is_dead_without_a_word_is_noticed_though_nobody_asks(relay, make_ear, valkey):
    ear = make_ear(relay.url, deadline=SOON)
    topic = subscribe(ear)
    relay.lets_through.clear()

    wait_until(lambda: not ear.is_up, timeout=5)

    relay.lets_through.set()
    assert heard(topic, RETURNED)
    valkey.ask("PUBLISH", NAME, "one")
    assert heard(topic, RETURNED, b"one")


class Broken(Hearing):
    def heard(self, payload: bytes) -> None:
        raise ValueError(payload)


@pytest.mark.logs_errors
def test_a_listener_that_fails_harms_nobody_else(valkey, make_ear, caplog):
    ear = make_ear(valkey.url)
    broken = Topic(b"attic", Broken())
    ear.add(broken)
    topic = subscribe(ear)

    valkey.ask("PUBLISH", "attic", "one")
    valkey.ask("PUBLISH", NAME, "two")

    assert heard(topic, b"two")
    assert "could not be taken" in caplog.text


@pytest.mark.logs_errors
def test_a_topic_that_is_forbidden_is_refused_and_the_others_hear_on(own_valkey, make_ear):
    server = own_valkey()
    server.ask("ACL", "SETUSER", "default", "resetchannels", "&chat:*")
    ear = make_ear(server.url)
    topic, forbidden = subscribe(ear), Topic(b"attic", Hearing())

    ear.add(forbidden)

    with pytest.raises(BrokerUnavailable):
        forbidden.hears.get(timeout=5)
    server.ask("PUBLISH", NAME, "one")
    assert heard(topic, b"one")


def publish_much(server, many, payload):
    """In a thread of its own, so that it does not wait for who hears."""

    def publish():
        with server.client() as client, client.pipeline(transaction=False) as pipeline:
            for _ in range(many):
                pipeline.publish(NAME, payload)
            pipeline.execute()

    return gevent.get_hub().threadpool.spawn(publish)


class Slow(Hearing):
    """As a fan-out is."""

    def heard(self, payload: bytes) -> None:
        sum(range(5_000))
        super().heard(payload)


def test_others_have_turns_while_the_flood_never_ends(valkey, make_ear):
    ear = make_ear(valkey.url)
    topic = Topic(NAME, Slow())
    ear.add(topic)
    topic.hears.get(timeout=5)
    publishing = publish_much(valkey, 5_000, b"x" * 100)
    wait_until(lambda: events(topic))
    turns, before = 0, len(events(topic))

    while len(events(topic)) < 5_000:
        gevent.sleep(0.000_001)  # a timer, which the hub looks at only when it looks at its sockets
        turns += 1

    publishing.get()
    assert turns > (5_000 - before) / 300


def test_an_answer_that_waits_behind_a_flood_is_not_late(valkey, make_ear):
    ear = make_ear(valkey.url, deadline=0.1)
    topic = Topic(NAME, Slow())
    ear.add(topic)
    topic.hears.get(timeout=5)
    publish_much(valkey, 5_000, b"x" * 100).get()  # of which half a second is not heard yet

    subscribe(ear, b"attic")

    assert len(events(topic)) == 5_000
    assert RETURNED not in events(topic)


@pytest.mark.logs_errors
def test_who_hears_too_slowly_is_hung_up_on_and_returns(own_valkey, make_ear):
    server = own_valkey(config={"client-output-buffer-limit": "pubsub 100kb 0 0"})
    ear = make_ear(server.url)
    topic = subscribe(ear)

    while "output buffer limits" not in server.log:
        server.ask("PUBLISH", NAME, b"x" * 2**22)  # and meanwhile nobody here reads

    wait_until(lambda: RETURNED in events(topic), timeout=5)
    server.ask("PUBLISH", NAME, "one")
    wait_until(lambda: events(topic)[-1] == b"one", timeout=5)


def test_when_it_is_closed_nothing_is_heard_and_nothing_fails(valkey, make_ear):
    ear = make_ear(valkey.url)
    topic = subscribe(ear)

    ear.close()
    ear.close()
    ear.remove(topic)
    ear.add(topic)

    assert not ear.is_up
    assert valkey.ask("PUBLISH", NAME, "one") == 0
