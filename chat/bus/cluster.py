"""A Redis Cluster: which node has a slot, and what to do when it has moved."""

from functools import partial
from logging import Logger
from typing import Any, Final, TypeAlias

import gevent
from redis.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as NotConnected

from chat.bus.address import Address
from chat.bus.connecting import ask_once, connect_to, first_of
from chat.bus.ear import Ear, Topic
from chat.bus.link import Link, Question
from chat.bus.shard import Shard

HOPS: Final = 5  # times that a question is sent on
REST: Final = 0.25  # seconds between two looks at who has which slot

Node: TypeAlias = tuple[str, int]


class Cluster(Shard):
    """Two connections to each node: one to ask, and one to hear the topics whose slots it has."""

    publish_word = "SPUBLISH"

    def __init__(self, address: Address, log: Logger) -> None:
        super().__init__(str(address))
        self._address = address
        self._log = log
        self._links: dict[Node, Link] = {}
        self._ears: dict[Node, Ear] = {}
        self._slots: dict[int, Node] = {}
        self._homeless: dict[bytes, Topic] = {}  # topics whose node is not known now
        self._looking: gevent.Greenlet[[], None] | None = None

    @property
    def is_up(self) -> bool:
        return bool(self._links) and all(line.is_up for line in (*self._links.values(), *self._ears.values()))

    def start(self) -> Exception | None:
        try:
            self._take(self._look())
        except RedisError as exc:
            self._look_again()
            return exc
        lines = [*self._links.values(), *self._ears.values()]
        return next((error for line in lines if (error := line.wait_tried())), None)

    def ask(self, question: Question) -> None:
        link = self._links.get(self._slots.get(question.slot, ("", 0)))
        if link is None or not link.is_up:
            self._look_again()
        if link is None:
            question.refuse()
        else:
            link.ask(question)

    def add(self, topic: Topic) -> None:
        ear = self._ears.get(self._slots.get(key_slot(topic.name), ("", 0)))
        if ear is None:
            self._homeless[topic.name] = topic
            self._look_again()
        else:
            ear.add(topic)

    def remove(self, topic: Topic) -> None:
        if self._homeless.get(topic.name) is topic:
            del self._homeless[topic.name]
        for ear in self._ears.values():
            ear.remove(topic)

    def close(self) -> None:
        if self._looking is not None:
            self._looking.kill()
        for line in (*self._links.values(), *self._ears.values()):
            line.close()
        self._links, self._ears, self._slots = {}, {}, {}

    def _sent_on(self, question: Question, error: RedisError) -> bool:
        if isinstance(error, ClusterDownError):
            self._look_again()
        if not isinstance(error, AskError) or question.hops == HOPS:
            return False
        question.hops += 1
        node = error.node_addr
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = node
            self._look_again()
        link = self._link(node)
        if not isinstance(error, MovedError):
            link.ask(Question(("ASKING",)))
        link.ask(question)
        return True

    def _lost(self, topic: Topic, error: RedisError | None) -> None:
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = error.node_addr
            self._ear(error.node_addr).add(topic)
        else:
            self._homeless[topic.name] = topic
            self._look_again()

    def _link(self, node: Node) -> Link:
        if node not in self._links:
            name = f"Redis {node[0]}:{node[1]}"
            self._links[node] = Link(name, partial(connect_to, self._address, *node), self._log, self._sent_on)
            self._links[node].start()
        return self._links[node]

    def _ear(self, node: Node) -> Ear:
        if node not in self._ears:
            name, connect = f"What is published at Redis {node[0]}:{node[1]}", partial(connect_to, self._address, *node)
            self._ears[node] = Ear(name, connect, self._log, sharded=True, on_lost=self._lost)
            self._ears[node].start()
        return self._ears[node]

    def _look_again(self) -> None:
        if self._looking is None or self._looking.ready():
            self._looking = gevent.spawn(self._look_until_found)

    def _look_until_found(self) -> None:
        while True:
            gevent.sleep(REST)  # a move takes a while, and is told by each question
            try:
                self._take(self._look())
            except RedisError as exc:
                self._log.warning("Redis %s: who has which slot cannot be found out: %s", self.name, exc)
            else:
                if not self._homeless:
                    return

    def _look(self) -> dict[int, Node]:
        """Who has which slot, as the first one that answers knows it.  Blocks.  Raises: RedisError."""
        known = dict.fromkeys([*self._links, *self._address.hosts])
        return first_of([partial(self._look_at, node) for node in known])

    def _look_at(self, node: Node) -> dict[int, Node]:
        connection: AbstractConnection = connect_to(self._address, *node)
        try:
            ranges: list[Any] = ask_once(connection, "CLUSTER", "SLOTS")
        finally:
            connection.disconnect()
        slots: dict[int, Node] = {}
        for first, last, master, *_ in ranges:
            host = master[0].decode() or node[0]  # "" where a node does not know its own name
            slots.update(dict.fromkeys(range(first, last + 1), (host, int(master[1]))))
        if not slots:
            raise NotConnected(f"{node[0]}:{node[1]} knows of no slots")
        return slots

    def _take(self, slots: dict[int, Node]) -> None:
        self._slots = slots
        nodes = set(slots.values())
        for node in nodes:
            self._link(node)
        topics = [*self._homeless.values()]
        self._homeless = {}
        for node, ear in list(self._ears.items()):
            if node not in nodes:
                topics += ear.take_all()
        for node in [node for node in self._links if node not in nodes]:
            self._drop(node)
        for node in nodes:
            self._ear(node)
        for topic in topics:
            self.add(topic)

    def _drop(self, node: Node) -> None:
        gevent.spawn(self._links.pop(node).close)
        if node in self._ears:
            gevent.spawn(self._ears.pop(node).close)
