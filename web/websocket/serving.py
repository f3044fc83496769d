"""What a server process does with the applications in it, when it starts and when it ends.

The applications lie above and register themselves here; the servers (`worker`, `web.serve`) ask here.  Registering is all
that happens before the process serves: no descriptor, greenlet or thread survives a fork.
"""

from collections import Counter
from collections.abc import Set
from dataclasses import fields
from pathlib import Path
from typing import Protocol, TypeVar
from weakref import WeakSet

from web.websocket.limits import HttpLimits

T = TypeVar("T")


class UnfitToServe(ValueError):
    """Something is wrong; the text says what to do.  `may_pass` is whether it may also mend itself."""

    def __init__(self, text: str, *, may_pass: bool = False) -> None:
        super().__init__(text)
        self.may_pass = may_pass


class Service(Protocol):
    """An application with a beginning and an end."""

    @property
    def instance(self) -> Path:
        """Folder that one process at a time may use, or several that share."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes may serve it too, for what they must agree on is in Redis."""

    @property
    def drain_delay(self) -> float:
        """Seconds between `retire` and `drain`."""

    @property
    def http(self) -> HttpLimits:
        """What requests may take, on all routes of the process."""

    @property
    def drain_timeout(self) -> float:
        """Seconds that `drain` may take."""

    def start(self) -> None:
        """Open what it needs.  Blocks.  Raises: UnfitToServe."""

    def retire(self) -> None:
        """Be ready no more, and go on as before.  Never yields; idempotent."""

    def drain(self) -> None:
        """See all sockets off, and finish.  Blocks; idempotent."""

    def hurry(self) -> None:
        """Have `drain`, which is under way or about to be, end within 1.5 seconds.  Never yields."""


_services: WeakSet[Service] = WeakSet()


def register(service: Service) -> None:
    """Have `service` started and drained with its process."""
    _services.add(service)


def deregister(service: Service) -> None:
    """It has ended, and its folder is free for another one.  Idempotent."""
    _services.discard(service)


def services() -> list[Service]:
    """All that were registered and have not ended.  Raises: UnfitToServe when two of them have one folder."""
    found = list(_services)
    for folder, many in Counter(service.instance for service in found).items():
        if many > 1:
            raise UnfitToServe(f"CHAT_INSTANCE: {many} chats use {folder}; give each a folder of its own")
    return found


def limited(handler: type[T], found: Set[HttpLimits]) -> type[T]:
    """`handler` with the limits that were found in `services`.  Raises: UnfitToServe when there are several."""
    if len(found) > 1:
        name = next(item.name for item in fields(HttpLimits) if len({getattr(limits, item.name) for limits in found}) > 1)
        raise UnfitToServe(f"CHAT_{name.upper()}: it holds for the whole process, so set it alike for all chats in it")
    return type(handler.__name__, (handler,), {"limits": limits}) if (limits := next(iter(found), None)) else handler
