"""The log and the bus between processes: the contract and its backends."""

from chat.broker.base import Broker, Place, Subscriber
from chat.broker.memory import MemoryBroker

__all__ = ["Broker", "MemoryBroker", "Place", "Subscriber"]
