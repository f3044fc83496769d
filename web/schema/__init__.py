"""The tables of the standalone site; an application with users of its own never gets them."""

from pathlib import Path
from typing import Final

from chat.migrations import Schema

ACCOUNTS: Final = Schema("accounts", Path(__file__).parent)
