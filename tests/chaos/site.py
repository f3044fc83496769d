"""What the clients talk to, and what befalls it."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine

from tests.chaos.kept import epochs
from tests.chaos.verdict import Kept
from tests.faults import Faults
from tests.live.mortal import Mortal
from tests.soak.meter import processor

KILLS = 6

Due = tuple[float, str]
"""After so many seconds, what."""


class Site(ABC):
    """A context manager; it serves from its beginning to its end."""

    is_shared = False
    """Whether several processes serve together."""

    def __init__(self) -> None:
        self.kills = 0

    @abstractmethod
    def __enter__(self) -> Self: ...
    @abstractmethod
    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None: ...

    @property
    @abstractmethod
    def url(self) -> str: ...

    @property
    @abstractmethod
    def log(self) -> str:
        """All that its servers have written."""

    def program(self, seconds: float, dice: random.Random) -> Iterator[Due]:
        """All that is to befall it."""
        for number in range(KILLS):
            yield seconds * (number + dice.uniform(0.3, 0.8)) / KILLS, "kill"

    @abstractmethod
    def suffer(self, what: str, dice: random.Random) -> None:
        """Let that befall it.  Blocks."""

    @abstractmethod
    def mend(self) -> None:
        """From now on nothing befalls it."""

    @abstractmethod
    def epochs(self) -> dict[str, str]:
        """The epoch of each channel."""

    def unsettled(self) -> str:
        """What is still to be kept; "" when nothing is."""
        return ""

    @abstractmethod
    def judge(self, kept: Kept, faults: Faults) -> None:
        """Note what is amiss with itself; when it has ended."""

    def figures(self) -> Mapping[str, str]:
        """What has befallen it, in words."""
        return {"kill -9": f"{self.kills} times"}

    @abstractmethod
    def used(self) -> Mapping[str, Sequence[float]]:
        """Seconds of a core, by kind of process."""


class Alone(Site):
    """One server, which is killed with its master and started anew."""

    def __init__(self, instance: Path, database: Engine, *args: str, **env: str) -> None:
        super().__init__()
        self._server = Mortal(instance, *args, **env)
        self._database = database
        self._used = 0.0  # by those that were killed

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._server.__exit__()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def log(self) -> str:
        return "".join(self._server.logs)

    def suffer(self, what: str, dice: random.Random) -> None:
        self._used += processor(self._server.worker)
        self._server.kill()
        self._server.start()
        self.kills += 1

    def mend(self) -> None:
        """Nothing lasts."""

    def epochs(self) -> dict[str, str]:
        return epochs(self._database)

    def judge(self, kept: Kept, faults: Faults) -> None:
        """All that could be amiss is seen by the clients."""

    def used(self) -> Mapping[str, Sequence[float]]:
        return {"server": [self._used + processor(self._server.worker)]}
