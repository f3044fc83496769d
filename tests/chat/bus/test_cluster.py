"""A cluster that is well: each question and topic at its node, also while slots move."""

import gevent
import pytest
from redis.crc import key_slot

from chat.bus import Script
from chat.errors import BrokerUnavailable
from chat.testing import chat_greenlets
from tests.chat.bus.peers import RETURNED, Hearing, hang_up
from tests.chat.bus.test_bus import AWKWARD, heard, say
from tests.chat.steps import never_yields, wait_until

PUT = Script("return redis.call('SET', KEYS[1], ARGV[1])")
COUNT = Script("local count = redis.call('INCR', KEYS[1]); redis.call('SPUBLISH', ARGV[1], count); return count")


def slot_of(bus, tag):
    return key_slot(bus.key(tag, "kept"))


def home(cluster, bus, tag):
    return cluster.owner(slot_of(bus, tag))


def another(cluster, bus, tag):
    """A node that is not its home."""
    return next(node for node in cluster.nodes if node is not home(cluster, bus, tag))


def tags(cluster, bus):
    """One for each node."""
    found = {}
    for number in range(100):
        tag = f"channel {number}"
        found.setdefault(home(cluster, bus, tag).port, tag)
    return [found[node.port] for node in cluster.nodes]


def listen(bus, tag):
    hearing = Hearing()
    return bus.subscribe(tag, bus.key(tag, "topic"), hearing), hearing


def beside(work, *args):
    """In a thread, so that everything here goes on."""
    return gevent.get_hub().threadpool.spawn(work, *args)


def test_what_is_asked_and_heard_goes_to_the_node_that_has_the_slot(cluster, make_bus):
    bus = make_bus(cluster.url)

    for tag in tags(cluster, bus):
        _, hearing = listen(bus, tag)
        assert say(bus, tag, tag) == 1
        assert heard(hearing, tag.encode())
        assert home(cluster, bus, tag).ask("GET", bus.key(tag, "kept")) == tag
    assert bus.is_up


def test_one_node_is_enough_to_find_the_others(cluster, make_bus):
    bus = make_bus(f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[1].port}")

    assert [say(bus, tag, "hello") for tag in tags(cluster, bus)] == [0, 0, 0]
    assert bus.is_up


@pytest.mark.parametrize("tag", AWKWARD)
def test_all_keys_of_a_tag_are_in_one_slot(tag, cluster, make_bus):
    bus = make_bus(cluster.url)
    keys = [bus.key(tag, "one"), bus.key(tag, "two")]

    assert key_slot(keys[0]) == key_slot(keys[1])
    assert bus.ask(tag, "MSET", keys[0], 1, keys[1], 2).get(timeout=5) == b"OK"
    assert cluster.owner(key_slot(keys[0])).ask("GET", keys[1]) == "2"


def test_what_never_yields(cluster, make_bus):
    bus = make_bus(cluster.url)
    subscription, _ = listen(bus, "lobby")

    with never_yields():
        answer = bus.run(PUT, "lobby", [bus.key("lobby", "kept")], ["hello"])
        bus.unsubscribe("lobby", subscription)
        bus.unsubscribe("lobby", subscription)

    assert answer.get(timeout=5) == b"OK"


def test_a_slot_that_has_moved_is_found(cluster, make_bus):
    bus = make_bus(cluster.url)
    for tag in tags(cluster, bus):
        say(bus, tag, "before")
        new = another(cluster, bus, tag)
        cluster.move_slot(slot_of(bus, tag), new)

        assert bus.ask(tag, "GET", bus.key(tag, "kept")).get(timeout=5) == b"before"
        assert say(bus, tag, "after") == 0
        assert new.ask("GET", bus.key(tag, "kept")) == "after"


def test_a_topic_whose_slot_has_moved_hears_there_though_nobody_asks(cluster, make_bus):
    bus = make_bus(cluster.url)
    _, hearing = listen(bus, "lobby")
    cluster.move_slot(slot_of(bus, "lobby"), another(cluster, bus, "lobby"))

    assert heard(hearing, RETURNED)

    home(cluster, bus, "lobby").ask("SPUBLISH", bus.key("lobby", "topic"), "hello")
    assert heard(hearing, RETURNED, b"hello")


def test_who_subscribes_where_the_slot_was_hears_where_it_is(cluster, make_bus):
    bus = make_bus(cluster.url)
    cluster.move_slot(slot_of(bus, "lobby"), another(cluster, bus, "lobby"))

    _, hearing = listen(bus, "lobby")

    assert say(bus, "lobby", "hello") == 1
    assert heard(hearing, b"hello")


def test_who_leaves_and_comes_back_while_the_slot_moves_hears_and_so_do_others(cluster, make_bus):
    bus = make_bus(cluster.url)
    node = home(cluster, bus, "lobby")
    neighbour = next(f"n{number}" for number in range(100) if home(cluster, bus, f"n{number}") is node)
    first, before = listen(bus, "lobby")
    _, other = listen(bus, neighbour)
    cluster.move_slot(slot_of(bus, "lobby"), another(cluster, bus, "lobby"))  # of which nobody here has heard yet

    bus.unsubscribe("lobby", first)
    _, after = listen(bus, "lobby")

    assert say(bus, "lobby", "hello") == 1
    assert heard(after, b"hello")
    assert before.events == []
    assert say(bus, neighbour, "hi") == 1
    assert heard(other, b"hi")


def test_who_leaves_where_the_slot_was_harms_nobody(cluster, make_bus):
    bus = make_bus(cluster.url)
    node = home(cluster, bus, "lobby")
    neighbour = next(f"n{number}" for number in range(100) if home(cluster, bus, f"n{number}") is node)
    first, _ = listen(bus, "lobby")
    cluster.move_slot(slot_of(bus, "lobby"), another(cluster, bus, "lobby"))

    bus.unsubscribe("lobby", first)
    _, other = listen(bus, neighbour)

    assert say(bus, neighbour, "hi") == 1
    assert heard(other, b"hi")
    assert say(bus, "lobby", "hello") == 0


def test_while_a_slot_moves_each_key_is_found_where_it_is(cluster, make_bus):
    bus = make_bus(cluster.url)
    old, new = [bus.key("lobby", f"old {number}") for number in range(2)], bus.key("lobby", "new")
    bus.ask("lobby", "MSET", old[0], 0, old[1], 1).get(timeout=5)
    cluster.begin_move(slot_of(bus, "lobby"), another(cluster, bus, "lobby"))

    assert bus.run(PUT, "lobby", [old[0]], ["here"]).get(timeout=5) == b"OK"
    assert bus.run(PUT, "lobby", [new], ["there"]).get(timeout=5) == b"OK"  # by ASK, and the script is not known there
    assert another(cluster, bus, "lobby").ask("CLUSTER", "COUNTKEYSINSLOT", slot_of(bus, "lobby")) == 1
    cluster.move_keys(slot_of(bus, "lobby"))
    assert bus.ask("lobby", "MGET", *old, new).get(timeout=5) == [b"here", b"1", b"there"]

    cluster.finish_move(slot_of(bus, "lobby"))
    assert bus.ask("lobby", "MGET", *old, new).get(timeout=5) == [b"here", b"1", b"there"]


@pytest.mark.logs_errors
def test_keys_of_which_some_have_moved_are_not_to_be_had_until_all_have(cluster, make_bus):
    bus = make_bus(cluster.url)
    one, two = bus.key("lobby", "one"), bus.key("lobby", "two")
    bus.ask("lobby", "MSET", one, 1, two, 2).get(timeout=5)
    source, to = home(cluster, bus, "lobby"), another(cluster, bus, "lobby")
    cluster.begin_move(slot_of(bus, "lobby"), to)
    source.ask("MIGRATE", "127.0.0.1", to.port, one, 0, 5000)

    with pytest.raises(BrokerUnavailable):
        bus.ask("lobby", "MGET", one, two).get(timeout=5)

    cluster.finish_move(slot_of(bus, "lobby"))
    assert bus.ask("lobby", "MGET", one, two).get(timeout=5) == [b"1", b"2"]


def test_while_messages_flow_a_slot_moves_there_and_back(cluster, make_bus):
    bus = make_bus(cluster.url)
    _, hearing = listen(bus, "lobby")
    key, topic = bus.key("lobby", "count"), bus.key("lobby", "topic")
    sent, enough = [], []

    def send():
        while not enough:
            sent.append(bus.run(COUNT, "lobby", [key], [topic]).get(timeout=5))

    sending = gevent.spawn(send)
    slot, first, second = slot_of(bus, "lobby"), home(cluster, bus, "lobby"), another(cluster, bus, "lobby")
    for node in (second, first):
        for work, args in ((cluster.begin_move, (slot, node)), (cluster.finish_move, (slot,))):
            count = len(sent)
            wait_until(lambda: len(sent) > count + 20, timeout=5)  # noqa: B023
            beside(work, *args).get()
        wait_until(lambda: hearing.events[-1:] == [b"%d" % sent[-1]] and RETURNED in hearing.events, timeout=5)
    wait_until(lambda: hearing.events.count(RETURNED) == 2, timeout=5)
    count = len(sent)
    wait_until(lambda: len(sent) > count + 20, timeout=5)
    enough.append(True)
    sending.get(timeout=5)

    assert sent == list(range(1, len(sent) + 1))
    wait_until(lambda: hearing.events[-1:] == [b"%d" % len(sent)])
    for before, after in zip(hearing.events, hearing.events[1:], strict=False):
        assert RETURNED in (before, after) or int(after) == int(before) + 1  # what was missed was told


def test_a_closed_bus_does_not_come_to_life_again(cluster, make_bus):
    bus = make_bus(cluster.url)
    subscription, _ = listen(bus, "lobby")
    bus.close()

    answers = [bus.ask(tag, "PING") for tag in AWKWARD]
    bus.shard("lobby").add(subscription)

    assert all(isinstance(answer.exception, BrokerUnavailable) for answer in answers)
    assert not bus.is_up
    assert chat_greenlets() == []


@pytest.mark.logs_errors
def test_a_cluster_that_nobody_knows_is_not_looked_for_in_a_circle(open_door, make_bus, caplog):
    door = open_door(hang_up)
    bus = make_bus(door.url.replace("redis:", "redis+cluster:"), starts=False)
    with pytest.raises(BrokerUnavailable):
        bus.start()

    for _ in range(20):
        assert isinstance(bus.ask("lobby", "PING").exception, BrokerUnavailable)
    wait_until(lambda: len(door.came_at) >= 5, timeout=10)

    pauses = [after - before for before, after in zip(door.came_at, door.came_at[1:], strict=False)]
    assert all(pause > shortest for pause, shortest in zip(pauses, (0.024, 0.049, 0.099, 0.199), strict=False))
    assert len(caplog.records) == 1


@pytest.mark.logs_errors
def test_what_is_no_cluster_says_so(valkey, make_bus):
    bus = make_bus(valkey.url.replace("redis:", "redis+cluster:"), starts=False)

    with pytest.raises(BrokerUnavailable) as caught:
        bus.start()

    assert "cluster support disabled" in caught.value.why


@pytest.mark.logs_errors
def test_a_single_server_that_is_a_node_says_where_it_is_not(cluster, make_bus, caplog):
    bus = make_bus(cluster.nodes[0].url)
    tag = next(f"n{number}" for number in range(100) if home(cluster, bus, f"n{number}") is not cluster.nodes[0])

    with pytest.raises(BrokerUnavailable):
        bus.ask(tag, "GET", bus.key(tag, "kept")).get(timeout=5)

    assert "cannot do what it is asked: MOVED" in caplog.text
