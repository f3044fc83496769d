"""Single-use connection tokens: the contract and its backends."""

from chat.tokens.base import Grant, Tokens
from chat.tokens.memory import MemoryTokens

__all__ = ["Grant", "MemoryTokens", "Tokens"]
