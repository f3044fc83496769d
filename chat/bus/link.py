"""One connection to a Redis over which everybody in this process asks.

The answers come in the order of the questions.  So one connection serves all greenlets that wait, and the busier it is the
more goes together.
"""

from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha1
from logging import Logger
from time import monotonic
from typing import Any, Final

from gevent.event import AsyncResult
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import NoScriptError, RedisError

from chat.bus.connecting import DEADLINE, Connect, Word, pack
from chat.bus.line import Line
from chat.errors import BrokerUnavailable

MOST: Final = 10_000  # questions that wait for an answer; more are refused
REMINDER: Final = 10.0  # seconds between two lines in the log that tell the same
# What an error begins with that says nothing about the question, and will be over.
PASSING: Final = frozenset(
    {
        *("ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF"),
        *("MOVED", "NOPERM", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"),
    }
)


class Script:
    """Lua that runs in the server, all or nothing."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()


class Question:
    """One command, and who waits for what comes of it."""

    __slots__ = ("answer", "asked_at", "hops", "script", "slot", "words")

    def __init__(self, words: tuple[Word, ...], script: Script | None = None, slot: int = 0) -> None:
        """`slot` says which node of a cluster is to be asked."""
        self.words = words
        self.script = script
        self.slot = slot
        self.hops = 0  # how often a cluster has sent us on
        self.asked_at = 0.0
        self.answer: AsyncResult[Any] = AsyncResult()

    @classmethod
    def of_script(cls, script: Script, keys: Sequence[Word], args: Sequence[Word], slot: int = 0) -> "Question":
        """Run `script`."""
        return cls(("EVALSHA", script.sha, len(keys), *keys, *args), script, slot)

    def refuse(self) -> None:
        """Nothing came of it, or nobody knows."""
        self.answer.set_exception(BrokerUnavailable())


OnRefused = Callable[[Question, RedisError], bool]
"""See to a question that was refused; False: nothing can be done."""


class Link(Line):
    """Answers raise BrokerUnavailable when the Redis cannot be reached, or cannot do it now; then it may be done or not."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        log: Logger,
        on_refused: OnRefused = lambda _question, _error: False,
        *,
        deadline: float = DEADLINE,
    ) -> None:
        super().__init__(name, connect, log, deadline=deadline)
        self._on_refused = on_refused
        self._waiting: deque[Question] = deque()
        self._told: set[str] = set()  # the scripts that it has heard over this connection
        self._complained: dict[str, float] = {}  # of what, and when

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, question: Question) -> None:
        """Have it answered.  Never yields.  Raises: TypeError, UnicodeEncodeError for what cannot be said."""
        words, script = question.words, question.script
        if script is not None and script.sha not in self._told:
            # Not only once it is missed: what is asked next would be done before this.
            words = ("EVAL", script.source, *words[2:])
        request = pack(*words)
        if not self.is_up or len(self._waiting) >= MOST:
            question.refuse()
            return
        if script is not None:
            self._told.add(script.sha)
        question.asked_at = monotonic()
        self._waiting.append(question)
        self._put(request)

    def _began(self) -> None:
        self._told.clear()

    def _heard(self, answer: Any) -> None:
        if not self._waiting:
            raise NotConnected("it answers what nobody asked")
        self._waiting.popleft().answer.set(answer)

    def _refused(self, error: RedisError) -> None:
        if not self._waiting:
            raise error
        question = self._waiting.popleft()
        if isinstance(error, NoScriptError) and question.script is not None:
            self._told.discard(question.script.sha)
            self.ask(question)
        elif self._on_refused(question, error):
            pass
        elif (code := _code(error)) in PASSING:
            self._complain(code, error)
            question.refuse()
            if code == "READONLY":  # it was the master once
                self.hang_up()
        else:
            question.answer.set_exception(error)

    def _complain(self, code: str, error: RedisError) -> None:
        now = monotonic()
        if now - self._complained.get(code, -REMINDER) >= REMINDER:
            self._complained[code] = now
            self._log.error("%s cannot do what it is asked: %s %s", self.name, code, str(error).removeprefix(code).strip())

    def _ended(self) -> None:
        left, self._waiting = self._waiting, deque()
        for question in left:
            question.refuse()

    def _waits_since(self) -> float | None:
        return self._waiting[0].asked_at if self._waiting else None

    def _ask_for_life(self) -> None:
        self.ask(Question(("PING",)))


def _code(error: RedisError) -> str:
    return error.status_code or str(error).partition(" ")[0]  # redis-py has cut it off where it knows it
