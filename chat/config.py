"""The settings of a `ChatServer`, checked when they are made."""

from dataclasses import dataclass, field, fields
from logging import Logger
from sys import float_info
from types import UnionType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DuplicateUser: TypeAlias = Literal["reject", "replace", "share"]

DUPLICATE_USER: Final = ("reject", "replace", "share")
MAY_BE_ZERO: Final = {"may_be_zero": True}  # metadata of a field in which 0 is no limit


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
    tokens_per_user: int = 200
    """Unspent tokens that one user may have; what the web's rates allow by default in one deadline is 180."""
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
    edit_window: float = field(default=86400.0, metadata=MAY_BE_ZERO)
    """In which an author may change or delete what was said; 0 is no limit."""
    recent_events: int = 1000
    """Events of one channel's log that are kept in memory for those who come back."""
    recent_age: float = 3600.0
    """For how long they are."""
    retention_age: float = field(default=0.0, metadata=MAY_BE_ZERO)
    """For how long the archive keeps an event; 0 is for ever."""
    retention_count: int = field(default=0, metadata=MAY_BE_ZERO)
    """Events of one channel that the archive keeps, the newest; 0 is no limit."""
    duplicate_user: DuplicateUser = "reject"
    """A second connection of a user in a channel: refused, replaces the first, or shares the name with it."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.duplicate_user not in DUPLICATE_USER:
            raise ValueError(f"duplicate_user: one of {', '.join(DUPLICATE_USER)} is wanted, not {self.duplicate_user!r}")
        if self.logger is not None and not isinstance(self.logger, Logger):
            raise ValueError(f"logger: a logging.Logger is wanted, not {self.logger!r}")

    @property
    def at_hand(self) -> tuple[int, float]:
        """How many events of a channel a broker has at hand, and for how many seconds: none that retention would take."""
        recent = min(self.recent_events, self.retention_count or self.recent_events)
        return recent, min(self.recent_age, self.retention_age or self.recent_age)


def check_fields(conf: "DataclassInstance") -> None:
    """Make sure that sizes (int) and seconds or rates (float) are above 0, and that switches are bool.

    0 passes where a field's metadata is MAY_BE_ZERO.  Raises: ValueError naming the field.
    """
    for item in fields(conf):
        value: object = getattr(conf, item.name)
        may_be_zero = item.metadata == MAY_BE_ZERO
        wanted = "of 0 or more" if may_be_zero else "above 0"
        if item.type in (int, "int") and not _is_number(value, int, may_be_zero):
            raise ValueError(f"{item.name}: a whole number {wanted} is wanted, not {value!r}")
        if item.type in (float, "float") and not _is_number(value, int | float, may_be_zero):
            raise ValueError(f"{item.name}: a number {wanted} is wanted, not {value!r}")
        if item.type in (bool, "bool") and not isinstance(value, bool):
            raise ValueError(f"{item.name}: true or false is wanted, not {value!r}")


def _is_number(value: object, kind: type[int] | UnionType, may_be_zero: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(value, kind):
        return False
    return 0 < value <= float_info.max or (value == 0 and may_be_zero)
