"""Shares a channel's inbox out among those who speak, so that a flood fills only its own part."""

from typing import Final

from chat.member import Member, State

SHARE: Final = 32  # messages of one member in the inbox at most, before that member is paused; fewer where many speak


class Floor:
    """Who has how many messages in an inbox for `room` messages.  Nothing here yields."""

    __slots__ = ("_paused", "_room", "_share", "_speakers")

    def __init__(self, room: int) -> None:
        self._room = room
        self._speakers = 0  # members with a message in the inbox
        self._share = SHARE
        self._paused: list[Member] = []

    def enter(self, member: Member, *, full: bool) -> None:
        """A message of `member` has gone into the inbox.  Pause it when it has its share, or the inbox is `full`."""
        self._speakers += not member.queued
        member.queued += 1
        if full or member.queued >= min(self._share, self._room // self._speakers):
            member.conn.pause()
            self._paused.append(member)

    def leave(self, member: Member) -> None:
        """A message of `member` has come out again."""
        member.queued -= 1
        self._speakers -= not member.queued

    def resume(self) -> None:
        """Let those speak again who have used up half of their share of the room, by how many speak or want to."""
        paused, self._paused = [member for member in self._paused if member.state is State.LIVE], []
        wanting = sum(not member.queued for member in paused)
        self._share = max(1, min(SHARE, self._room // max(1, self._speakers + wanting)))
        for member in paused:
            if 2 * member.queued <= self._share:
                member.conn.resume()
            else:
                self._paused.append(member)
