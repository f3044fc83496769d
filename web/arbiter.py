"""gunicorn's master, as its hooks of ours know it.

gunicorn itself has no types.
"""

from collections.abc import Mapping
from typing import Protocol


class Log(Protocol):
    """gunicorn's."""

    def info(self, msg: str, *args: object) -> None: ...
    def error(self, msg: str, *args: object) -> None: ...


class Config(Protocol):
    """gunicorn's."""

    @property
    def workers(self) -> int: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...


class Arbiter(Protocol):
    """gunicorn's master."""

    cfg: Config
    log: Log
    WORKERS: Mapping[int, object]
