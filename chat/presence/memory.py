"""Presence in this process."""

from enum import Enum
from itertools import islice
from operator import attrgetter

from chat.config import DuplicateUser
from chat.errors import UserAlreadyConnected
from chat.event import User
from chat.presence.base import Presence


class _Seat(Enum):
    RESERVED = "reserved"
    LISTED = "listed"
    LEAVING = "leaving"  # still listed, but the name is free


class _Room:
    """The seats of one channel, and who is listed because of them."""

    __slots__ = ("listed", "seats")

    def __init__(self) -> None:
        self.seats: dict[str, dict[str, _Seat]] = {}
        self.listed: dict[str, User] = {}


class MemoryPresence(Presence):
    """Never yields: what the contract lets block is atomic here."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}

    def reserve(self, channel: str, username: str, member: str, policy: DuplicateUser) -> list[str]:
        room = self._rooms.get(channel)
        seats = room.seats.get(username, {}) if room else {}
        holders = [holder for holder, seat in seats.items() if seat is not _Seat.LEAVING]
        if holders and policy == "reject":
            raise UserAlreadyConnected(username, channel)
        evicted = holders if policy == "replace" else []
        for holder in evicted:
            self.abandon(channel, username, holder)
        room = self._rooms.setdefault(channel, _Room())
        room.seats.setdefault(username, {})[member] = _Seat.RESERVED
        return evicted

    def confirm(self, channel: str, user: User, member: str) -> User | None:
        room = self._rooms[channel]
        room.seats[user.username][member] = _Seat.LISTED
        before = room.listed.get(user.username)
        room.listed[user.username] = user
        return before

    def abandon(self, channel: str, username: str, member: str) -> None:
        room = self._rooms.get(channel)
        seat = room.seats.get(username, {}).get(member) if room else None
        if room and seat is _Seat.LISTED:
            room.seats[username][member] = _Seat.LEAVING
        elif seat is _Seat.RESERVED:
            self.release(channel, username, member)

    def release(self, channel: str, username: str, member: str) -> User | None:
        room = self._rooms.get(channel)
        seats = room.seats.get(username, {}) if room else {}
        if room is None or seats.pop(member, None) is None:
            return None
        gone = None
        if all(seat is _Seat.RESERVED for seat in seats.values()):
            gone = room.listed.pop(username, None)
        if not seats:
            del room.seats[username]
        if not room.seats:
            del self._rooms[channel]
        return gone

    def users(self, channel: str, limit: int | None = None) -> list[User]:
        room = self._rooms.get(channel)
        if room is None:
            return []
        if limit is not None and len(room.listed) > limit:
            return list(islice(room.listed.values(), limit))
        return sorted(room.listed.values(), key=attrgetter("username"))

    def count(self, channel: str) -> int:
        room = self._rooms.get(channel)
        return len(room.listed) if room else 0

    def is_listed(self, channel: str, username: str) -> bool:
        room = self._rooms.get(channel)
        return room is not None and username in room.listed
