"""The way to the Redis or Valkey servers that several processes share."""

from chat.bus.address import parse
from chat.bus.bus import Bus
from chat.bus.connecting import Word
from chat.bus.ear import Listener, Topic
from chat.bus.link import Script

__all__ = ["Bus", "Listener", "Script", "Topic", "Word", "parse"]
