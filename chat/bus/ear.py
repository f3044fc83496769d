"""One connection to a Redis over which this process hears what is published on its topics."""

from collections import deque
from collections.abc import Callable
from logging import Logger
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from gevent.event import AsyncResult
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as NotConnected

from chat.bus.connecting import DEADLINE, Connect, pack
from chat.bus.line import Line
from chat.errors import BrokerUnavailable

ELSEWHERE: Final = (AskError, ClusterDownError, TryAgainError)  # at another node, or here later


class Listener(Protocol):
    """Who wants to hear a topic."""

    def heard(self, payload: bytes) -> None:
        """That was published.  Never yields."""

    def returned(self) -> None:
        """It hears again, after a time in which it did not.  Never yields."""


class Topic:
    """One subscription."""

    __slots__ = ("hears", "hops", "is_new", "listener", "name")

    def __init__(self, name: bytes, listener: Listener) -> None:
        self.name = name
        self.listener = listener
        self.is_new = True  # it has never heard anything
        self.hops = 0  # how often a cluster has sent us on
        self.hears: AsyncResult[None] = AsyncResult()


class _Asked(NamedTuple):
    word: bytes
    topic: Topic | None
    """None for a PING."""
    at: float

    @property
    def name(self) -> bytes:
        return b"" if self.topic is None else self.topic.name


OnLost = Callable[[Topic, RedisError | None], None]
"""A topic is not to be had here (any more); where it is, the error may tell.  Never yields."""


class Ear(Line):
    """With `sharded`, by the commands for the topics of one node of a cluster."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        log: Logger,
        *,
        sharded: bool = False,
        on_lost: OnLost | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        super().__init__(name, connect, log, deadline=deadline)
        self._on_lost = on_lost
        self._topics: dict[bytes, Topic] = {}
        self._asked: deque[_Asked] = deque()
        kind = b"s" if sharded else b""
        self._subscribe, self._unsubscribe, self._message = kind + b"subscribe", kind + b"unsubscribe", kind + b"message"

    def __len__(self) -> int:
        return len(self._topics)

    def add(self, topic: Topic) -> None:
        """Hear it, as soon as that is possible, instead of another one of that name; `Topic.hears` tells.  Never yields."""
        self._topics[topic.name] = topic
        if self.is_up:
            self._ask(self._subscribe, topic)

    def remove(self, topic: Topic) -> None:
        """Hear it no more.  Never yields; idempotent."""
        if self._topics.get(topic.name) is not topic:
            return
        del self._topics[topic.name]
        if self.is_up:
            self._ask(self._unsubscribe, topic)

    def take_all(self) -> list[Topic]:
        """Give all topics up.  Never yields."""
        topics, self._topics = list(self._topics.values()), {}
        return topics

    def _ask(self, word: bytes, topic: Topic) -> None:
        self._asked.append(_Asked(word, topic, monotonic()))
        self._put(pack(word, topic.name))

    def _began(self) -> None:
        for topic in self._topics.values():
            self._ask(self._subscribe, topic)

    def _heard(self, answer: Any) -> None:
        kind, name = (b"pong", b"") if answer == b"PONG" else answer[:2]  # as it is while there is no topic
        topic = self._topics.get(name)
        if kind == self._message:
            if topic is not None and not topic.is_new:  # or it is meant for one of that name before it
                self._try(topic.listener.heard, answer[2])
        elif self._asked and (kind, name) == (self._asked[0].word, self._asked[0].name):
            word, asked, _ = self._asked.popleft()
            if word == self._subscribe and topic is not None and topic is asked:
                self._hears(topic)
        elif kind != self._unsubscribe:
            raise NotConnected(f"nobody asked for {kind!r}")
        elif topic is not None:  # another node has its slot now
            self._lose(topic, None)

    def _hears(self, topic: Topic) -> None:
        if not topic.is_new:
            self._try(topic.listener.returned)
        topic.is_new = False
        topic.hears.set(None)

    def _refused(self, error: RedisError) -> None:
        slot = key_slot(self._asked[0].name) if self._asked else None
        if isinstance(error, MovedError) and error.slot_id != slot:
            return  # of an unsubscribe to which the node, unasked, had said before what was taken for the answer
        if not self._asked:
            raise error
        word, topic, _ = self._asked.popleft()
        if topic is not None and word == self._subscribe and self._topics.get(topic.name) is topic:
            self._lose(topic, error)

    def _lose(self, topic: Topic, error: RedisError | None) -> None:
        if self._on_lost is not None and (error is None or isinstance(error, ELSEWHERE)):
            del self._topics[topic.name]
            self._on_lost(topic, error)
        else:
            self._log.error("%s does not let us hear: %s", self.name, error)
            topic.hears.set_exception(BrokerUnavailable())

    def _ended(self) -> None:
        self._asked.clear()

    def _waits_since(self) -> float | None:
        """What is heard meanwhile counts: the answer is behind it, and all topics would miss what is."""
        return max(self._asked[0].at, self._heard_at) if self._asked else None

    def _ask_for_life(self) -> None:
        self._asked.append(_Asked(b"pong", None, monotonic()))
        self._put(pack("PING"))

    def _try(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except Exception:
            self._log.exception("what was heard could not be taken")
