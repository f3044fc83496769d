"""All Redis servers of this chat: who keeps what, by consistent hashing."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from logging import Logger
from typing import Any, Final

from gevent.event import AsyncResult
from redis.crc import key_slot

from chat.bus.address import Address, Kind, parse
from chat.bus.cluster import Cluster
from chat.bus.connecting import DEADLINE, Word
from chat.bus.ear import Listener, Topic
from chat.bus.link import Question, Script
from chat.bus.server import Server
from chat.bus.shard import Shard
from chat.errors import BrokerUnavailable

PREFIX: Final = "chat"
PLACES: Final = 100_000  # tags of which it is remembered where they are


class Bus:
    """Whatever has the same tag is in the same place, and one script can work on it.

    With several URLs each tag belongs to one of them, and another URL more takes only its share from the others (rendezvous
    hashing: D. Thaler, C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998).  That goes by the URLs
    without their passwords, so all processes must be given the same ones; their order does not matter.
    """

    def __init__(self, urls: str, log: Logger, *, prefix: str = PREFIX, deadline: float = DEADLINE) -> None:
        """`prefix` is what all keys and topics begin with, `deadline` the time for an answer, in seconds.

        Raises: ValueError for what is no URL.
        """
        if "{" in prefix:
            raise ValueError("prefix: an opening brace is where the tag begins")
        self._prefix = prefix
        self._deadline = deadline
        self.shards: tuple[Shard, ...] = tuple(_shard(address, log, deadline) for address in parse(urls))
        self._place = lru_cache(PLACES)(self._find_place)

    @property
    def is_up(self) -> bool:
        """Whether all of it can be reached."""
        return all(shard.is_up for shard in self.shards)

    def start(self) -> None:
        """Connect.  Blocks.  Raises: BrokerUnavailable, which says why; it goes on to try until `close`."""
        errors = {shard.name: shard.start() for shard in self.shards}  # of one after the other, but all are started
        for name, error in errors.items():
            if error is not None:
                raise BrokerUnavailable(f"Redis {name} cannot be reached: {error}") from error

    def close(self) -> None:
        """Hang up.  Blocks; idempotent."""
        for shard in self.shards:
            shard.close()

    def key(self, tag: str, kind: str) -> bytes:
        """The name of a key, or topic, of that kind."""
        return f"{self._prefix}:{{{_escape(tag)}}}:{kind}".encode()

    def shard(self, tag: str) -> Shard:
        """Who keeps what has that tag."""
        return self._place(tag)[0]

    def run(self, script: Script, tag: str, keys: Sequence[Word], args: Sequence[Word]) -> "AsyncResult[Any]":
        """Have a script run on keys of that tag.  Never yields; the result raises BrokerUnavailable.

        What is asked before this was answered may be done first.
        """
        shard, slot = self._place(tag)
        question = Question.of_script(script, keys, args, slot)
        shard.ask(question)
        return question.answer

    def ask(self, tag: str, *words: Word) -> "AsyncResult[Any]":
        """Have a command done on keys of that tag.  Never yields; the result raises BrokerUnavailable."""
        shard, slot = self._place(tag)
        question = Question(words, None, slot)
        shard.ask(question)
        return question.answer

    def call(self, script: Script, tag: str, keys: Sequence[Word], args: Sequence[Word]) -> Any:
        """The result of `run`.  Blocks.  Raises: BrokerUnavailable."""
        return self.run(script, tag, keys, args).get()

    def do(self, tag: str, *words: Word) -> Any:
        """The result of `ask`.  Blocks.  Raises: BrokerUnavailable."""
        return self.ask(tag, *words).get()

    def subscribe(self, tag: str, topic: bytes, listener: Listener) -> Topic:
        """Hear a topic of that tag from now on.  Blocks.  Raises: BrokerUnavailable; then it is not heard.

        Who subscribed to it before, in this process, hears it no more.
        """
        shard = self.shard(tag)
        if not shard.can_hear(topic):
            raise BrokerUnavailable
        subscription = Topic(topic, listener)
        shard.add(subscription)
        try:
            subscription.hears.wait(self._deadline)
            if not subscription.hears.ready():
                raise BrokerUnavailable
            subscription.hears.get()
        except BaseException:
            shard.remove(subscription)
            raise
        return subscription

    def unsubscribe(self, tag: str, subscription: Topic) -> None:
        """Hear it no more.  Never yields; idempotent."""
        self.shard(tag).remove(subscription)

    def _find_place(self, tag: str) -> tuple[Shard, int]:
        shard = max(self.shards, key=lambda shard: _weight(shard.name, tag))
        return shard, key_slot(_escape(tag).encode())


def _escape(tag: str) -> str:
    """A cluster takes the slot of what is before the first closing brace, and of the whole key if nothing is."""
    return tag.replace("%", "%25").replace("}", "%7D")


def _weight(name: str, tag: str) -> bytes:
    return blake2b(tag.encode(), digest_size=8, key=blake2b(name.encode(), digest_size=32).digest()).digest()


def _shard(address: Address, log: Logger, deadline: float) -> Shard:
    kind = Cluster if address.kind is Kind.CLUSTER else Server
    return kind(address, log, deadline=deadline)
