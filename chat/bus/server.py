"""One Redis server, wherever it is at the moment: at its address, or where the sentinels say."""

from functools import partial
from logging import Logger

from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ReadOnlyError, RedisError

from chat.bus.address import Address, Kind
from chat.bus.connecting import DEADLINE, ask_once, connect_to, first_of
from chat.bus.ear import Ear, Topic
from chat.bus.link import Link, Question
from chat.bus.shard import Shard


class Server(Shard):
    """Asks over one connection, and hears over another one."""

    publish_word = "PUBLISH"

    def __init__(self, address: Address, log: Logger, *, deadline: float = DEADLINE) -> None:
        super().__init__(str(address))
        connect = partial(_connect, address, deadline)
        self._link = Link(f"Redis {address}", connect, log, self._note, deadline=deadline)
        self._ear = Ear(f"What is published at Redis {address}", connect, log, deadline=deadline)

    @property
    def is_up(self) -> bool:
        return self._link.is_up and self._ear.is_up

    def start(self) -> Exception | None:
        self._link.start()
        self._ear.start()
        return self._link.wait_tried() or self._ear.wait_tried()

    def ask(self, question: Question) -> None:
        self._link.ask(question)

    def can_hear(self, topic: bytes) -> bool:  # noqa: ARG002 — each one
        return self._ear.is_up

    def add(self, topic: Topic) -> None:
        self._ear.add(topic)

    def remove(self, topic: Topic) -> None:
        self._ear.remove(topic)

    def close(self) -> None:
        self._link.close()
        self._ear.close()

    def _note(self, _question: Question, error: RedisError) -> bool:
        if isinstance(error, ReadOnlyError):  # what is published now is published elsewhere
            self._ear.hang_up()
        return False


def _connect(address: Address, deadline: float) -> AbstractConnection:
    if address.kind is Kind.SENTINEL:
        return first_of([partial(_connect_to_master, address, *host, deadline) for host in address.hosts])
    return connect_to(address, *(address.hosts[0] if address.hosts else ()), deadline=deadline)


def _connect_to_master(address: Address, host: str, port: int, deadline: float) -> AbstractConnection:
    """Where this sentinel says; a sentinel has users of its own, and ours have no password."""
    sentinel = connect_to(address.of_sentinel(), host, port, deadline=deadline)
    try:
        found = ask_once(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service, deadline=deadline)
    finally:
        sentinel.disconnect()
    if not found:
        raise NotConnected(f"the sentinel {host}:{port} knows no {address.service!r}")
    master = connect_to(address, found[0].decode(), int(found[1]), deadline=deadline)
    role = ask_once(master, "ROLE", deadline=deadline)[0]
    if role != b"master":
        master.disconnect()
        raise NotConnected(f"{found[0].decode()}:{int(found[1])} is no master (yet)")
    return master
