"""Which channels there are: the contract and its backends.

`SqlRegistry` is in `chat.registry.sql`, apart, so that whoever keeps channels in memory need not load SQLAlchemy.
"""

from chat.registry.base import ChannelRecord, Fate, Registry, key_of
from chat.registry.memory import MemoryRegistry

__all__ = ["ChannelRecord", "Fate", "MemoryRegistry", "Registry", "key_of"]
