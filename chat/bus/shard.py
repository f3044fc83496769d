"""One place where data can be kept: what servers and clusters have in common."""

from abc import ABC, abstractmethod

from chat.bus.ear import Topic
from chat.bus.link import Question


class Shard(ABC):
    """Keeps all that has the same tag in one place, so that a script can work on it."""

    @property
    @abstractmethod
    def publish_word(self) -> str:
        """How a script publishes: PUBLISH or SPUBLISH."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def is_up(self) -> bool:
        """Whether it can be asked and heard."""

    @abstractmethod
    def start(self) -> Exception | None:
        """Connect, and go on to try; return what went wrong at the first attempt.  Blocks."""

    @abstractmethod
    def ask(self, question: Question) -> None:
        """Have it answered.  Never yields."""

    @abstractmethod
    def can_hear(self, topic: bytes) -> bool:
        """Whether the way to a topic is open.  Never yields."""

    @abstractmethod
    def add(self, topic: Topic) -> None:
        """Hear it, as soon as that is possible.  Never yields."""

    @abstractmethod
    def remove(self, topic: Topic) -> None:
        """Hear it no more.  Never yields; idempotent."""

    @abstractmethod
    def close(self) -> None:
        """Hang up.  Blocks; idempotent."""
