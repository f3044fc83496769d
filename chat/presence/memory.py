"""Presence in this process."""

from collections.abc import Sequence
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
    """The seats of one channel, whose they are, and who is listed because of them.

    A dict for each user would be easier to read, and take more than the rest of an idle connection's presence.  Users have
    few connections, so tuples do (CHAT_CONNECTIONS_PER_USER).
    """

    __slots__ = ("holders", "listed", "seats")

    def __init__(self) -> None:
        self.seats: dict[str, _Seat] = {}  # by member
        self.holders: dict[str, tuple[str, ...]] = {}  # members by username
        self.listed: dict[str, User] = {}


class MemoryPresence(Presence):
    """Never yields: what the contract lets block is atomic here."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}

    def reserve(self, channel: str, username: str, member: str, policy: DuplicateUser) -> list[str]:
        room = self._rooms.get(channel, _Room())
        holders = [holder for holder in room.holders.get(username, ()) if room.seats[holder] is not _Seat.LEAVING]
        if holders and policy == "reject":
            raise UserAlreadyConnected(username, channel)
        evicted = holders if policy == "replace" else []
        for holder in evicted:
            self.abandon(channel, username, holder)
        room = self._rooms.setdefault(channel, room)
        room.seats[member] = _Seat.RESERVED
        room.holders[username] = (*room.holders.get(username, ()), member)
        return evicted

    def confirm(self, channel: str, user: User, member: str) -> User | None:
        room = self._rooms[channel]
        if member not in room.seats:
            raise KeyError(member)
        room.seats[member] = _Seat.LISTED
        before = room.listed.get(user.username)
        room.listed[user.username] = user
        return before

    def abandon(self, channel: str, username: str, member: str) -> None:
        room = self._rooms.get(channel)
        seat = room.seats.get(member) if room else None
        if room and seat is _Seat.LISTED:
            room.seats[member] = _Seat.LEAVING
        elif seat is _Seat.RESERVED:
            self.release(channel, username, member)

    def release(self, channel: str, username: str, member: str) -> User | None:
        room = self._rooms.get(channel)
        if room is None or member not in room.holders.get(username, ()):
            return None
        del room.seats[member]
        others = tuple(holder for holder in room.holders.pop(username) if holder != member)
        if others:
            room.holders[username] = others
        gone = None
        if all(room.seats[other] is _Seat.RESERVED for other in others):
            gone = room.listed.pop(username, None)
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

    def counts(self, channels: Sequence[str]) -> list[int]:
        return [self.count(channel) for channel in channels]

    def is_listed(self, channel: str, username: str) -> bool:
        room = self._rooms.get(channel)
        return room is not None and username in room.listed

    def restore(self, channel: str, users: Sequence[tuple[User, str]]) -> list[User]:
        if not users:
            return []
        room = self._rooms.setdefault(channel, _Room())
        for user, member in users:
            if member not in room.seats:
                room.holders[user.username] = (*room.holders.get(user.username, ()), member)
            if room.seats.get(member, _Seat.RESERVED) is _Seat.RESERVED:
                room.seats[member] = _Seat.LISTED
        names = {user.username: user for user, _ in users}  # the newest connection tells
        lost = [user for username, user in names.items() if username not in room.listed]
        room.listed = names | room.listed
        return lost
