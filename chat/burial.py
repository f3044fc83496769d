"""The burial of a process that died, by one of the others: its members leave, its part of the archive's work is done."""

from collections.abc import Callable, Sequence
from typing import Protocol

from chat.broker import Broker
from chat.channel import ChatChannel
from chat.errors import ChannelClosed, InvalidChannel
from chat.event import User
from chat.presence import Presence


class Estates(Protocol):
    """What the dead have left behind: a `chat.bus.lease.Lease`, which is there only where redis-py is."""

    def left_by(self, process: str) -> list[str]:
        """The keys of its channels.  Blocks.  Raises: BrokerUnavailable."""

    def buried(self, process: str) -> None:
        """Nothing is left of it.  Blocks.  Raises: BrokerUnavailable."""


class Burial:
    """As one server does it for the processes that fall to it."""

    def __init__(
        self,
        estates: Estates,
        presence: Presence,
        broker: Broker,
        get_channel: Callable[[str], ChatChannel],
        is_closed: Callable[[], bool],
    ) -> None:
        """`get_channel` as `ChatServer` has it; once `is_closed` says so, the server begins nothing any more."""
        self._estates = estates
        self._presence = presence
        self._broker = broker
        self._get_channel = get_channel
        self._is_closed = is_closed

    def bury(self, process: str) -> None:
        """See to all that it has left behind.  Blocks.

        Raises: BrokerUnavailable, DatabaseUnavailable; then, as where the server is closed meanwhile, somebody has to do it
        again.
        """
        for key in self._estates.left_by(process):
            if self._is_closed():
                return
            name, _, log = key.rpartition("/")
            gone = self._presence.forget(key, process)
            if self._broker.forget(log, process) or gone:
                self._see_off(name, log, gone)
        if not self._is_closed():
            self._estates.buried(process)

    def _see_off(self, name: str, log: str, gone: Sequence[User]) -> None:
        """Have that channel loaded, which archives what is not, and say who has left."""
        try:
            channel = self._get_channel(name)
        except (InvalidChannel, ChannelClosed):
            return
        if channel.log == log:
            channel.see_off(gone)
