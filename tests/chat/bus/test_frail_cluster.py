"""A cluster whose nodes fail: of three masters the first has a replica; what the others had is away with them."""

from collections.abc import Iterator
from time import monotonic

import pytest

from chat.bus import Script
from chat.errors import BrokerUnavailable
from tests.chat.bus.peers import RETURNED, Hearing
from tests.chat.bus.test_bus import heard, say
from tests.chat.bus.test_cluster import home, listen, slot_of, tags
from tests.chat.steps import never_yields, wait_until
from tests.valkey import Cluster, RedisServer, free_port

PATIENCE = 15.0  # seconds: a node is suspected after one, and it takes some more until all agree
ONE = Script("return 1")


class Frail:
    """Its slots can be had as long as their master, or its replica, is there."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        config = {"cluster-enabled": "yes", "cluster-announce-ip": "127.0.0.1", "cluster-node-timeout": 1000}
        self.replica = RedisServer(config=config | {"cluster-port": free_port()})

    @property
    def servers(self) -> list[RedisServer]:
        return [*self.cluster.nodes, self.replica]

    def start(self) -> None:
        self.cluster.start()
        self.replica.start()
        self.set("repl-diskless-sync-delay", "0")
        first = self.cluster.nodes[0]
        _, port = first.ask("CONFIG", "GET", "cluster-port")
        self.replica.ask("CLUSTER", "MEET", "127.0.0.1", first.port, port)
        wait_until(lambda: all("cluster_known_nodes:4" in node.ask("CLUSTER", "INFO") for node in self.servers), PATIENCE)
        self.replica.ask("CLUSTER", "REPLICATE", first.ask("CLUSTER", "MYID"))
        wait_until(self.is_whole, PATIENCE)
        self.set("cluster-require-full-coverage", "no")

    def is_whole(self) -> bool:
        """Whether each slot has a node that answers, and the first share has another one in reserve."""
        roles = [node.ask("ROLE") for node in (self.cluster.nodes[0], self.replica)]
        return all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.servers) and any(
            role[3:4] == ["connected"] for role in roles
        )

    def set(self, name: str, value: str) -> None:
        for node in self.servers:
            node.ask("CONFIG", "SET", name, value)

    def remove(self) -> None:
        for node in self.servers:
            node.remove()


@pytest.fixture(scope="module")
def running() -> Iterator[Frail]:
    frail = Frail()
    try:
        frail.start()
        yield frail
    finally:
        frail.remove()


@pytest.fixture
def frail(running) -> Frail:
    """Whole again, whatever the test before has done to it."""
    for node in running.servers:
        node.bring_back()
    wait_until(running.is_whole, PATIENCE)
    return running


def works(bus, tag):
    try:
        return bus.run(ONE, tag, [bus.key(tag, "kept")], []).get(timeout=5) == 1
    except BrokerUnavailable:
        return False


@pytest.mark.parametrize("kind", ["unknown-endpoint", "hostname"])
def test_nodes_that_do_not_say_where_they_are_are_where_others_are(kind, frail, make_bus):
    frail.set("cluster-preferred-endpoint-type", kind)  # the hosts are null then, or ?: there are no hostnames
    bus = make_bus(frail.cluster.url)
    tag = tags(frail.cluster, bus)[1]
    (_, hearing), slot = listen(bus, tag), slot_of(bus, tag)
    _, there, another = frail.cluster.nodes

    frail.cluster.move_slot(slot, another)
    assert works(bus, tag)  # by MOVED
    assert heard(hearing, RETURNED)
    frail.cluster.move_slot(slot, there)

    wait_until(lambda: hearing.events == [RETURNED, RETURNED], timeout=5)
    assert say(bus, tag, "hello") == 1
    assert heard(hearing, RETURNED, RETURNED, b"hello")
    frail.set("cluster-preferred-endpoint-type", "ip")


def count_sent_on(nodes):
    return sum(node.ask("INFO", "errorstats").get("errorstat_MOVED", {"count": 0})["count"] for node in nodes)


@pytest.mark.logs_errors
def test_between_two_nodes_of_which_each_says_the_other_nobody_runs_in_a_circle(frail, make_bus):
    bus = make_bus(frail.cluster.url)
    tag = tags(frail.cluster, bus)[2]
    (_, hearing), slot = listen(bus, tag), slot_of(bus, tag)
    _, other, owner = frail.cluster.nodes
    for node in (other, owner):
        node.ask("CONFIG", "RESETSTAT")
    owner.ask("CLUSTER", "SETSLOT", slot, "NODE", other.ask("CLUSTER", "MYID"))

    wait_until(lambda: count_sent_on((other, owner)) > 10, timeout=5)
    answer = bus.ask(tag, "GET", bus.key(tag, "kept"))
    with pytest.raises(BrokerUnavailable):
        answer.get(timeout=5)
    begun, before = monotonic(), count_sent_on((other, owner))
    wait_until(lambda: count_sent_on((other, owner)) > before + 10, timeout=10)
    assert monotonic() - begun > 0.1  # where a circle takes a hundredth of that

    owner.ask("CLUSTER", "SETSLOT", slot, "NODE", owner.ask("CLUSTER", "MYID"))
    assert heard(hearing, RETURNED)
    assert say(bus, tag, "hello") == 1
    assert heard(hearing, RETURNED, b"hello")


@pytest.mark.logs_errors
def test_when_a_node_dies_the_others_go_on_and_it_is_used_again_when_it_is_back(frail, make_bus):
    bus = make_bus(frail.cluster.url)
    there, gone, elsewhere = tags(frail.cluster, bus)
    (_, hearing), (_, missing) = listen(bus, there), listen(bus, gone)
    home(frail.cluster, bus, gone).kill()
    wait_until(lambda: not works(bus, gone), PATIENCE)

    refusal = bus.ask(gone, "GET", bus.key(gone, "kept"))
    assert refusal.ready()
    with never_yields(), pytest.raises(BrokerUnavailable):
        bus.subscribe(gone, bus.key(gone, "topic"), Hearing())
    assert not bus.is_up
    assert say(bus, there, "hello") == 1
    assert heard(hearing, b"hello")
    _, late = listen(bus, elsewhere)
    assert say(bus, elsewhere, "hi") == 1
    assert heard(late, b"hi")

    frail.cluster.nodes[1].start()
    assert heard(missing, RETURNED)
    wait_until(lambda: works(bus, gone), PATIENCE)
    assert say(bus, gone, "hello") == 1
    assert heard(missing, RETURNED, b"hello")
    wait_until(lambda: bus.is_up, PATIENCE)


@pytest.mark.logs_errors
def test_who_only_hears_is_taken_along_to_the_replica(frail, make_bus):
    bus = make_bus(frail.cluster.url)
    tag = tags(frail.cluster, bus)[0]
    _, hearing = listen(bus, tag)
    home(frail.cluster, bus, tag).kill()

    wait_until(lambda: hearing.events == [RETURNED], PATIENCE)

    assert frail.replica.ask("ROLE")[0] == "master"
    frail.replica.ask("SPUBLISH", bus.key(tag, "topic"), "hello")
    assert heard(hearing, RETURNED, b"hello")
    wait_until(lambda: works(bus, tag), PATIENCE)
    wait_until(lambda: bus.is_up, PATIENCE)
