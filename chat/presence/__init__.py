"""Whose name it is, and who is in a channel: the contract and its backends."""

from chat.presence.base import Presence
from chat.presence.memory import MemoryPresence

__all__ = ["MemoryPresence", "Presence"]
