"""Which channels there are: the contract and its backends."""

from chat.registry.base import ChannelRecord, Registry
from chat.registry.memory import MemoryRegistry
from chat.registry.sql import SqlRegistry

__all__ = ["ChannelRecord", "MemoryRegistry", "Registry", "SqlRegistry"]
