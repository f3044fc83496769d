"""A Redis Cluster: which node has a slot, and what to do when it has moved."""

from collections.abc import Callable
from functools import partial
from logging import Logger
from random import random
from typing import Any, Final, TypeAlias

import gevent
from redis.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as NotConnected

from chat.bus.address import Address
from chat.bus.backoff import Backoff
from chat.bus.connecting import DEADLINE, ask_once, connect_to, first_of
from chat.bus.ear import Ear, Topic
from chat.bus.line import Line
from chat.bus.link import Link, Question
from chat.bus.shard import Shard

HOPS: Final = 5  # times that a question, or a topic, is sent on at once
UNKNOWN: Final = ("", "?")  # hosts of a node that is where we ask, or whose name is not known

Node: TypeAlias = tuple[str, int]


class Cluster(Shard):
    """Two connections to each node: one to ask, and one to hear the topics whose slots it has."""

    publish_word = "SPUBLISH"

    def __init__(self, address: Address, log: Logger, *, deadline: float = DEADLINE) -> None:
        super().__init__(str(address))
        self._address = address
        self._log = log
        self._deadline = deadline
        self._is_open = False
        self._links: dict[Node, Link] = {}
        self._ears: dict[Node, Ear] = {}
        self._slots: dict[int, Node] = {}
        self._homeless: dict[bytes, Topic] = {}  # topics whose node is not known now
        self._old: list[Line] = []  # to nodes that have no slots any more, about to be closed
        self._looking: gevent.Greenlet[[], None] | None = None
        self._backoff = Backoff()

    @property
    def is_up(self) -> bool:
        return bool(self._links) and all(line.is_up for line in self._lines())

    def start(self) -> Exception | None:
        self._is_open = True
        try:
            self._take(self._look())
        except RedisError as exc:
            self._look_again()
            return exc
        return next((error for line in self._lines() if (error := line.wait_tried())), None)

    def ask(self, question: Question) -> None:
        link = self._links.get(self._node(question.slot))
        if link is None or not link.is_up:
            self._look_again()
        if link is None:
            question.refuse()
        else:
            link.ask(question)

    def can_hear(self, topic: bytes) -> bool:
        ear = self._ears.get(self._node(key_slot(topic)))
        return ear is not None and ear.is_up

    def add(self, topic: Topic) -> None:
        self._homeless.pop(topic.name, None)
        ear = self._ears.get(self._node(key_slot(topic.name)))
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
        self._is_open = False
        if self._looking is not None:
            self._looking.kill()
        for line in (*self._lines(), *self._old):
            line.close()
        self._links, self._ears, self._slots = {}, {}, {}

    def _lines(self) -> list[Line]:
        return [*self._links.values(), *self._ears.values()]

    def _node(self, slot: int) -> Node:
        return self._slots.get(slot, ("", 0))

    def _sent_on(self, asked: Node, question: Question, error: RedisError) -> bool:
        if isinstance(error, ClusterDownError | MovedError):
            self._look_again()
        if not isinstance(error, AskError) or question.hops == HOPS or not self._is_open:
            return False
        question.hops += 1
        node = _told(error, asked)
        link = self._link(node)
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = node
        else:
            link.ask(Question(("ASKING",)))
        link.ask(question)
        return True

    def _lost(self, asked: Node, topic: Topic, error: RedisError | None) -> None:
        self._homeless[topic.name] = topic
        if isinstance(error, MovedError) and topic.hops < HOPS and self._is_open:
            topic.hops += 1
            self._slots[error.slot_id] = node = _told(error, asked)
            self._ear(node)
            self.add(topic)
        else:
            topic.hops = 0
            self._look_again()

    def _link(self, node: Node) -> Link:
        if node not in self._links:
            name, on_refused = f"Redis {node[0]}:{node[1]}", partial(self._sent_on, node)
            self._links[node] = Link(name, self._way(node), self._log, on_refused, deadline=self._deadline)
            self._links[node].start()
        return self._links[node]

    def _ear(self, node: Node) -> Ear:
        if node not in self._ears:
            name, on_lost = f"What is published at Redis {node[0]}:{node[1]}", partial(self._lost, node)
            self._ears[node] = Ear(name, self._way(node), self._log, sharded=True, on_lost=on_lost, deadline=self._deadline)
            self._ears[node].start()
        return self._ears[node]

    def _way(self, node: Node) -> Callable[[], AbstractConnection]:
        return partial(self._connect, node)

    def _connect(self, node: Node) -> AbstractConnection:
        try:
            return connect_to(self._address, *node, deadline=self._deadline)
        except RedisError:
            self._look_again()  # its replica may have its slots now, which nobody else would tell to who only hears
            raise

    def _look_again(self) -> None:
        if self._is_open and (self._looking is None or self._looking.ready()):
            self._looking = gevent.spawn(self._look_until_found)

    def _look_until_found(self) -> None:
        is_told = False
        while True:
            self._backoff.wait()  # a move takes a while, and is told by each question
            try:
                self._take(self._look())
            except RedisError as exc:
                if not is_told:
                    self._log.error("Redis %s: who has which slot cannot be found out: %s", self.name, exc)
                is_told = True
            else:
                if not self._homeless:
                    return

    def _look(self) -> dict[int, Node]:
        """Who has which slot, as the first one that answers knows it.  Blocks.  Raises: RedisError.

        Those are asked first who can be reached, in any order: one that is cut off from the others knows the past.
        """
        up = {node for node, link in self._links.items() if link.is_up}
        known = dict.fromkeys([*self._links, *self._address.hosts])
        ranked = sorted(known, key=lambda node: (node not in up, random()))  # noqa: S311
        return first_of([partial(self._look_at, node) for node in ranked])

    def _look_at(self, node: Node) -> dict[int, Node]:
        connection: AbstractConnection = connect_to(self._address, *node, deadline=self._deadline)
        try:
            ranges: list[Any] = ask_once(connection, "CLUSTER", "SLOTS", deadline=self._deadline)
        finally:
            connection.disconnect()
        slots: dict[int, Node] = {}
        for first, last, (host, port, *_), *_ in ranges:
            there = (host or b"").decode()
            slots.update(dict.fromkeys(range(first, last + 1), (node[0] if there in UNKNOWN else there, int(port))))
        if not slots:
            raise NotConnected(f"{node[0]}:{node[1]} knows of no slots")
        return slots

    def _take(self, slots: dict[int, Node]) -> None:
        """Have the lines that go with these slots, and every topic at its ear.  Blocks, for the ends of old lines."""
        if not self._is_open:
            return
        self._slots = slots
        nodes = set(slots.values())
        for node in nodes:
            self._link(node)
            self._ear(node)
        ears = [self._ears.pop(node) for node in self._ears.keys() - nodes]
        links = [self._links.pop(node) for node in self._links.keys() - nodes]
        topics = [*self._homeless.values(), *(topic for ear in ears for topic in ear.take_all())]
        self._homeless = {}
        for topic in topics:
            self.add(topic)
        self._old += [*links, *ears]
        for line in self._old:
            line.close()
        self._old.clear()


def _told(error: AskError, asked: Node) -> Node:
    """Where the error says, which was the answer of the node that was asked."""
    return (asked[0] if error.host in UNKNOWN else error.host), error.port
