"""One connection to a Redis over which this process hears what is published on its topics."""

from collections import deque
from collections.abc import Callable
from logging import Logger
from time import monotonic
from typing import Any, NamedTuple, Protocol

from gevent.event import AsyncResult
from redis.exceptions import RedisError

from chat.bus.connecting import Connect, pack
from chat.bus.line import Line
from chat.errors import BrokerUnavailable


class Listener(Protocol):
    """Who wants to hear a topic."""

    def heard(self, payload: bytes) -> None:
        """That was published.  Never yields."""

    def returned(self) -> None:
        """It hears again, after a time in which it did not.  Never yields."""


class Topic:
    """One subscription."""

    __slots__ = ("hears", "is_new", "listener", "name")

    def __init__(self, name: bytes, listener: Listener) -> None:
        self.name = name
        self.listener = listener
        self.is_new = True  # it has never heard anything
        self.hears: AsyncResult[None] = AsyncResult()


class _Asked(NamedTuple):
    word: bytes
    name: bytes
    at: float


OnLost = Callable[[Topic, RedisError | None], None]
"""A topic is not to be had here (any more); where it is, the error may tell.  Never yields."""


class Ear(Line):
    """With `sharded`, by the commands for the topics of one node of a cluster."""

    def __init__(
        self, name: str, connect: Connect, log: Logger, *, sharded: bool = False, on_lost: OnLost | None = None
    ) -> None:
        super().__init__(name, connect, log)
        self._on_lost = on_lost
        self._topics: dict[bytes, Topic] = {}
        self._asked: deque[_Asked] = deque()
        self._pinged_at: float | None = None
        kind = b"s" if sharded else b""
        self._subscribe, self._unsubscribe, self._message = kind + b"subscribe", kind + b"unsubscribe", kind + b"message"

    def __len__(self) -> int:
        return len(self._topics)

    def add(self, topic: Topic) -> None:
        """Hear it, as soon as that is possible; `Topic.hears` tells.  Never yields."""
        self._topics[topic.name] = topic
        if self.is_up:
            self._ask(self._subscribe, topic.name)

    def remove(self, topic: Topic) -> None:
        """Hear it no more.  Never yields; idempotent."""
        if self._topics.get(topic.name) is not topic:
            return
        del self._topics[topic.name]
        if self.is_up:
            self._ask(self._unsubscribe, topic.name)

    def take_all(self) -> list[Topic]:
        """Give all topics up.  Never yields."""
        topics, self._topics = list(self._topics.values()), {}
        return topics

    def _ask(self, word: bytes, name: bytes) -> None:
        self._asked.append(_Asked(word, name, monotonic()))
        self._put(pack(word, name))

    def _began(self) -> None:
        for name in self._topics:
            self._ask(self._subscribe, name)

    def _heard(self, answer: Any) -> None:
        kind = answer[0]
        if kind == self._message:
            topic = self._topics.get(answer[1])
            if topic is not None:
                self._try(lambda: topic.listener.heard(answer[2]))
        elif self._asked and self._asked[0][:2] == (kind, answer[1]):
            self._asked.popleft()
            if kind == self._subscribe:
                self._hears(answer[1])
        elif kind == self._unsubscribe:  # unasked: another node has its slot now
            self._hears_no_more(answer[1], None)
        elif kind == b"pong":
            self._pinged_at = None

    def _hears(self, name: bytes) -> None:
        topic = self._topics.get(name)
        if topic is None:
            return
        if not topic.is_new:
            self._try(topic.listener.returned)
        topic.is_new = False
        topic.hears.set(None)

    def _refused(self, error: RedisError) -> None:
        self._hears_no_more(self._asked.popleft().name, error)

    def _hears_no_more(self, name: bytes, error: RedisError | None) -> None:
        topic = self._topics.get(name)
        if topic is None:
            return
        if self._on_lost is not None:
            del self._topics[name]
            self._on_lost(topic, error)
        else:
            self._log.error("%s does not let us hear: %s", self.name, error)
            topic.hears.set_exception(BrokerUnavailable())

    def _ended(self) -> None:
        self._asked.clear()
        self._pinged_at = None

    def _waits_since(self) -> float | None:
        if self._asked:
            return self._asked[0].at
        return self._pinged_at

    def _ask_for_life(self) -> None:
        self._pinged_at = monotonic()
        self._put(pack("PING"))

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            self._log.exception("what was heard could not be taken")
