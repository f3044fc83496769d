"""A subscriber of a broker, and things to say to it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from chat.broker import Broker, Place
from chat.errors import ChatError
from chat.event import Message, Published
from chat.orders import Order
from chat.registry import ChannelRecord, Fate
from tests.chat.steps import never_yields

DATE = datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
LOBBY = ChannelRecord("lobby", "e1", "l1", fate=Fate.NEW)


class Heard:
    """Records what a subscriber is told, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[list[Published]] = []
        self.processes: list[str] = []
        self.places: list[Place] = []
        self.orders: list[Order] = []

    def heard(self, events: Sequence[Published], process: str = "") -> None:
        self.batches.append(list(events))
        self.processes.append(process)

    def moved(self, place: Place) -> None:
        self.places.append(place)

    def told(self, order: Order) -> None:
        self.orders.append(order)

    @property
    def events(self) -> list[Published]:
        return [event for batch in self.batches for event in batch]

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events]


class Alive:
    """The standing of a process that nobody takes for dead: a `chat.bus.lease.Standing`."""

    is_valid = True

    def __init__(self, process: str) -> None:
        self.process = process

    def note(self, channel: str) -> None:
        pass

    def strike(self, channel: str) -> None:
        pass


def publish_somehow(broker: Broker, events: Sequence[Published]) -> Sequence[int | ChatError]:
    """At once if that can be, as a channel does it."""
    with never_yields():
        fates = broker.publish_at_once(LOBBY.key, events)
    return broker.publish(LOBBY.key, events) if fates is None else fates


def say(*texts: str) -> list[Message]:
    return [Message("ada", text, DATE) for text in texts]
