"""One Redis server, wherever it is at the moment: at its address, or where the sentinels say."""

from functools import partial
from logging import Logger

from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as NotConnected

from chat.bus.address import Address, Kind
from chat.bus.connecting import ask_once, connect_to, first_of
from chat.bus.ear import Ear, Topic
from chat.bus.link import Link, Question
from chat.bus.shard import Shard


class Server(Shard):
    """Asks over one connection, and hears over another one."""

    publish_word = "PUBLISH"

    def __init__(self, address: Address, log: Logger) -> None:
        super().__init__(str(address))
        self._link = Link(f"Redis {address}", partial(_connect, address), log)
        self._ear = Ear(f"What is published at Redis {address}", partial(_connect, address), log)

    @property
    def is_up(self) -> bool:
        return self._link.is_up and self._ear.is_up

    def start(self) -> Exception | None:
        self._link.start()
        self._ear.start()
        return self._link.wait_tried() or self._ear.wait_tried()

    def ask(self, question: Question) -> None:
        self._link.ask(question)

    def add(self, topic: Topic) -> None:
        self._ear.add(topic)

    def remove(self, topic: Topic) -> None:
        self._ear.remove(topic)

    def close(self) -> None:
        self._link.close()
        self._ear.close()


def _connect(address: Address) -> AbstractConnection:
    if address.kind is Kind.SENTINEL:
        return first_of([partial(_connect_to_master, address, host, port) for host, port in address.hosts])
    return connect_to(address, *(address.hosts[0] if address.hosts else ()))


def _connect_to_master(address: Address, host: str, port: int) -> AbstractConnection:
    """Where this sentinel says; a sentinel has users and TLS of its own, and ours have no password."""
    sentinel = connect_to(Address(Kind.ONE, ((host, port),), {}, address.is_secure), host, port)
    try:
        found = ask_once(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    finally:
        sentinel.disconnect()
    if not found:
        raise NotConnected(f"the sentinel {host}:{port} knows no {address.service!r}")
    master = connect_to(address, found[0].decode(), int(found[1]))
    role = ask_once(master, "ROLE")[0]
    if role != b"master":
        master.disconnect()
        raise NotConnected(f"{found[0].decode()}:{int(found[1])} is no master (yet)")
    return master
