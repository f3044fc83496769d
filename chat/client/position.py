"""How far somebody has heard a channel."""

from typing import NamedTuple


class Position(NamedTuple):
    """The last event heard: its log, and its offset there."""

    epoch: str
    offset: int


class Lost(NamedTuple):
    """What followed the position before cannot be had any more, event by event: go on from `position`, and load what is to
    be shown by `history`."""

    position: Position
