"""The settings of a `ChatServer`, checked when they are made."""

from dataclasses import dataclass, fields
from logging import Logger
from sys import float_info
from typing import Final, Literal, TypeAlias

DuplicateUser: TypeAlias = Literal["reject", "replace", "share"]

DUPLICATE_USER: Final = ("reject", "replace", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConf:
    """Settings of one server.  Times are seconds, sizes are bytes.  A wrong value raises ValueError naming its field."""

    read_buf: int = 8192
    """Read from one socket in one turn.  8 KiB of tiny frames take about 5 ms to parse; no other socket waits longer."""
    write_buf: int = 1 << 20
    """Queued for one slow socket before it is dropped."""
    inbox: int = 1024
    """Messages waiting in one channel before its senders are paused, or made to wait."""
    token_deadline: float = 30.0
    """Between the issue of a token and its use."""
    token_cleanup_delay: float = 300.0
    """Between two sweeps that free the memory of tokens nobody used."""
    channel_idle_timeout: float = 300.0
    """Without activity: then members are probed, and a channel without members ends or is unloaded."""
    channel_cleanup_delay: float = 1800.0
    """For how long an ended channel is remembered, to tell IdleChannel from InvalidChannel."""
    controller: object | None = None
    """Object with any of `encode`, `on_connect`, `on_disconnect`; found by these names."""
    logger: Logger | None = None
    """Where hooks that fail are reported; None is the logger `chat`."""
    debug_log: bool = False
    """Also log joins and leaves, at level DEBUG."""
    max_message: int = 4096
    """Longest text, in bytes of UTF-8."""
    duplicate_user: DuplicateUser = "reject"
    """A second connection of a user in a channel: refused, replaces the first, or shares the name with it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if field.type in (int, "int"):
                self._check_size(field.name, value)
            elif field.type in (float, "float"):
                self._check_seconds(field.name, value)
            elif field.type in (bool, "bool") and not isinstance(value, bool):
                raise ValueError(f"{field.name}: true or false is wanted, not {value!r}")
        if self.duplicate_user not in DUPLICATE_USER:
            raise ValueError(f"duplicate_user: one of {', '.join(DUPLICATE_USER)} is wanted, not {self.duplicate_user!r}")
        if self.logger is not None and not isinstance(self.logger, Logger):
            raise ValueError(f"logger: a logging.Logger is wanted, not {self.logger!r}")

    def _check_size(self, name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: a whole number above 0 is wanted, not {value!r}")

    def _check_seconds(self, name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= float_info.max:
            raise ValueError(f"{name}: seconds above 0 are wanted, not {value!r}")
