"""The tables of the core, which are in every database that chat uses."""

from pathlib import Path
from typing import Final

from chat.migrations import Schema

CHAT: Final = Schema("chat", Path(__file__).parent)
