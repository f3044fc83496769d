"""The durable log: the contract and its backends."""

from chat.archive.base import Archive, Id, Unread
from chat.archive.memory import MemoryArchive

__all__ = ["Archive", "Id", "MemoryArchive", "Unread"]
