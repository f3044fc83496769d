"""What one process has all do that have a channel: orders, which go the way of what is said, and are not heard."""

from typing import TypeAlias

from msgspec import Struct


class DropUser(Struct, gc=False, frozen=True, tag="drop_user"):
    """End all connections of a user."""

    username: str
    code: int
    reason: str


class DropMembers(Struct, gc=False, frozen=True, tag="drop_members"):
    """End those connections."""

    members: tuple[str, ...]
    """Their ids."""
    code: int
    reason: str


class Greet(Struct, gc=False, frozen=True, tag="greet"):
    """Tell the members who is here: they may not have heard who came, or who left."""


class End(Struct, gc=False, frozen=True, tag="end"):
    """The channel was closed."""


Order: TypeAlias = DropUser | DropMembers | Greet | End
