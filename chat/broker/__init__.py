"""The log and the bus between processes: the contract and its backends."""

from chat.broker.base import Broker, OnEvents
from chat.broker.memory import MemoryBroker

__all__ = ["Broker", "MemoryBroker", "OnEvents"]
