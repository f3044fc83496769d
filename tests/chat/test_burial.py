"""What a process that is closed in the middle of a burial leaves to the next one; the rest is in test_fleet.py."""

import pytest

from chat.broker import MemoryBroker
from chat.burial import Burial
from chat.errors import DatabaseUnavailable, ServerClosed
from chat.event import User
from chat.presence import MemoryPresence


class Estates:
    def __init__(self) -> None:
        self.buried_ones: list[str] = []

    def left_by(self, process: str) -> list[str]:
        return ["lobby/l1"] if process == "p1" else []

    def buried(self, process: str) -> None:
        self.buried_ones.append(process)


class Mourned(MemoryPresence):
    def forget(self, key: str, process: str) -> list[User]:
        return [User("ann")]


@pytest.fixture
def estates() -> Estates:
    return Estates()


def test_a_process_is_not_buried_by_a_server_that_is_closed_meanwhile(estates):
    is_closed = False

    def get_channel(name: str):
        nonlocal is_closed
        is_closed = True
        raise ServerClosed

    Burial(estates, Mourned(), MemoryBroker(), get_channel, lambda: is_closed).bury("p1")

    assert estates.buried_ones == []


def test_nor_while_the_database_is_away(estates):
    def get_channel(name: str):
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable):
        Burial(estates, Mourned(), MemoryBroker(), get_channel, lambda: False).bury("p1")

    assert estates.buried_ones == []
