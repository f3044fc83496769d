"""All processes that share a Redis, seen from one of them: its standing, and what concerns them all."""

from collections.abc import Callable
from logging import Logger, getLogger
from typing import Final

import gevent

from chat.bus import Bus, Topic
from chat.bus.backoff import Backoff
from chat.bus.bus import PREFIX
from chat.bus.lease import LEASE, Lease
from chat.errors import BrokerUnavailable

TAG: Final = "everybody"
ENDED: Final = 3600  # seconds for which it is remembered that a login has ended
SECOND_LOOK: Final = 0.25  # seconds: who has just lost its connection to the Redis is not gone

OnSessionEnded = Callable[[str], None]


class Fleet:
    """Give it to a `ChatServer` with backends that use its `bus` and `lease`.  Does nothing before `start`."""

    def __init__(self, urls: str, log: Logger | None = None, *, prefix: str = PREFIX, lease: float = LEASE) -> None:
        """`urls` as in CHAT_REDIS_URL; `prefix` tells several chats in one Redis apart; `lease` in seconds.

        Raises: ValueError for what is no URL.
        """
        self._log = log or getLogger("chat")
        self.bus = Bus(urls, self._log, prefix=prefix)
        self.lease = Lease(self.bus, self._log, lease)
        self._topic = self.bus.key(TAG, "topic")
        self._everybody: Topic | None = None
        self._presence: tuple[str, Topic] | None = None  # with its tag
        self._reading: gevent.Greenlet[[], None] | None = None
        self._on_session_ended: OnSessionEnded = lambda _: None

    @property
    def is_up(self) -> bool:
        """Whether the Redis can be reached, and this process is known to live there."""
        return self.bus.is_up and self.lease.is_valid

    def connect(self) -> None:
        """Connect to the Redis.  Blocks.  Raises: BrokerUnavailable, which says why."""
        self.bus.start()

    def start(self, on_dead: Callable[[str], None], on_lost: Callable[[], None], on_forgotten: Callable[[], None]) -> None:
        """Become one of them; see `Lease.start`.  Blocks.  Raises: BrokerUnavailable."""
        tag = _tag(self.lease.process)
        self._presence = tag, self.bus.subscribe(tag, self.bus.key(tag, "topic"), _Presence())
        self.lease.start(on_dead, lambda: self._lost(on_lost), on_forgotten)
        self._everybody = self.bus.subscribe(TAG, self._topic, _Everybody(self))

    def stop(self) -> None:
        """Leave them.  Blocks; idempotent."""
        if self._everybody is not None:
            self.bus.unsubscribe(TAG, self._everybody)
        if self._reading is not None:
            self._reading.kill()
        self.lease.stop()
        self._be_gone()
        self.bus.close()

    def is_gone(self, process: str) -> bool:
        """Whether nobody of that name is there.  Blocks.  Raises: BrokerUnavailable."""
        if self._is_absent(process):
            gevent.sleep(SECOND_LOOK)
            return self._is_absent(process)
        return False

    def watch_sessions(self, on_ended: OnSessionEnded) -> None:
        """Have that called when a login has ended, wherever.  It never yields, and may be called more than once for one."""
        self._on_session_ended = on_ended

    def end_session(self, session: str) -> None:
        """Tell all that a login has ended.  Blocks.  Raises: BrokerUnavailable; then others may not know."""
        ended = self.bus.key(TAG, "ended")
        now = int(self.bus.do(TAG, "TIME")[0])
        self.bus.do(TAG, "ZADD", ended, now, session)
        self.bus.do(TAG, "ZREMRANGEBYSCORE", ended, "-inf", now - ENDED)
        self.bus.do(TAG, self.bus.shard(TAG).publish_word, self._topic, session)

    def session_ended(self, session: str) -> None:
        """Somebody has told so.  Never yields."""
        self._on_session_ended(session)

    def read_ended(self) -> None:
        """Act on all that was told while we did not hear.  Never yields."""
        if self._reading is not None:
            self._reading.kill(block=False)  # what it is answered may be older
        self._reading = gevent.spawn(self._read_ended)

    def _read_ended(self) -> None:
        backoff = Backoff()
        while True:
            try:
                ended = self.bus.do(TAG, "ZRANGE", self.bus.key(TAG, "ended"), 0, -1)
                break
            except BrokerUnavailable:  # hearing may be possible sooner than asking
                backoff.wait()
        for session in ended:
            self._on_session_ended(session.decode())

    def _lost(self, on_lost: Callable[[], None]) -> None:
        """Whoever asks for the old name finds nobody, for the new one us, as soon as we can be heard.  Never yields."""
        self._be_gone()
        tag = _tag(self.lease.process)
        topic = Topic(self.bus.key(tag, "topic"), _Presence())
        self._presence = tag, topic
        self.bus.shard(tag).add(topic)
        on_lost()

    def _be_gone(self) -> None:
        """Be found by `is_gone` no more.  Never yields; idempotent."""
        if self._presence is not None:
            self.bus.unsubscribe(*self._presence)
            self._presence = None

    def _is_absent(self, process: str) -> bool:
        tag = _tag(process)
        hearers: int = self.bus.do(tag, self.bus.shard(tag).publish_word, self.bus.key(tag, "topic"), b"")
        return hearers == 0


class _Everybody:
    """Hears what concerns all."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def heard(self, payload: bytes) -> None:
        self._fleet.session_ended(payload.decode())

    def returned(self) -> None:
        self._fleet.read_ended()


class _Presence:
    """Is there to be counted."""

    def heard(self, payload: bytes) -> None:
        pass

    def returned(self) -> None:
        pass


def _tag(process: str) -> str:
    return f"process:{process}"
