"""What travels through a Redis: some events of one log, as a header and a line of JSON for each.

The header says the epoch, the offset of the first logged event (or of the next one, where none of these is logged), how
many of them are logged, and which process has published them.  Whoever takes a parcel numbers them: so the server need not
look into the lines.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from chat.event import LOGGED, Published
from chat.orders import Order
from chat.packed import Packed

_encoder: Final = msgspec.json.Encoder()
_events: Final = msgspec.json.Decoder(Published)
_order: Final = msgspec.json.Decoder(Order)

ORDER: Final = b"!"  # what stands before an order, in place of a header
MESSAGE: Final = b'{"type":"message",'  # what the line of a message begins with; in a text the quotes are escaped


class Parcel(NamedTuple):
    """Some events, not unpacked yet."""

    epoch: str
    first: int
    """The offset of the first logged one."""
    logged: int
    """How many of them are logged."""
    lines: bytes
    process: str = ""
    """Who has published it, as far as is known."""

    @classmethod
    def of_entry(cls, epoch: str, entry: tuple[bytes, Sequence[bytes]]) -> "Parcel":
        """An entry of the stream: its id, and the offset of the first event with the lines of all."""
        first, last = int(entry[1][0]), int(entry[0].partition(b"-")[0])
        return cls(epoch, first, last - first + 1, entry[1][1])

    @property
    def last(self) -> int:
        """The offset of the last event of the log, once this is heard."""
        return self.first + self.logged - 1

    def messages(self) -> Packed | None:
        """All of them, not unpacked yet, where all are messages; None where some are something else."""
        is_talk = self.logged == self.lines.count(b"\n") == self.lines.count(MESSAGE)
        return Packed(self.lines, self.first, self.logged) if is_talk else None

    def events(self) -> list[Published]:
        """All of them, those that are logged with their offsets."""
        events = _events.decode_lines(self.lines)
        offset = self.first
        for event in events:
            if isinstance(event, LOGGED):
                event.offset = offset
                offset += 1
        return events


def read(payload: bytes) -> Parcel:
    """Read the header.  Raises: ValueError."""
    header, _, lines = payload.partition(b"\n")
    epoch, first, count, process = header.decode().split(" ", 3)
    return Parcel(epoch, int(first), int(count), lines, process)


def lines_of(events: Sequence[Published]) -> bytes:
    """One line for each, without offsets."""
    return _encoder.encode_lines(events)


def packed(order: Order) -> bytes:
    """An order as it is published."""
    return ORDER + _encoder.encode(order)


def unpacked(payload: bytes) -> Order:
    """The order.  Raises: msgspec.DecodeError."""
    order: Order = _order.decode(payload[len(ORDER) :])
    return order
