"""What a batch of events looks like on a kind of wire.

A channel groups its members by format and encodes each batch once per group, however many members are in it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final

from chat.event import Edited, Event, Joined, Left, Message, Presence, Refusal, Whisper

INDENT: Final = "\n    "  # a line break inside a text must not begin a line that looks like somebody else's


class Format(ABC):
    """How events become bytes; compared by identity, so share one object among connections that look alike."""

    __slots__ = ()

    @abstractmethod
    def encode(self, events: Sequence[Event]) -> bytes:
        """All of `events` as they go over this wire, b"" when it shows none of them.  Never yields.

        The encoding of two batches, one behind the other, is that of both together.
        """

    def encode_for_one(self, events: Sequence[Event]) -> bytes:
        """The same for one reader alone, perhaps very many at once: packing that only pays when shared is left out."""
        return self.encode(events)


def plain_line(date: datetime, sender: str, text: str) -> str:
    """`2006-01-02 - 15:04:05 (+0000) > sender: text`; without `sender: ` for the system."""
    stamp = _stamp(int(date.timestamp()), date.tzinfo)
    if not text.isprintable():
        text = INDENT.join(text.splitlines())
    return f"{stamp} > {sender}: {text}" if sender else f"{stamp} > {text}"


@lru_cache(maxsize=16)
def _stamp(second: int, zone: tzinfo | None) -> str:
    """The date of a line; made once a second, because in a small room it would be a tenth of a message's cost."""
    return datetime.fromtimestamp(second, zone).strftime("%Y-%m-%d - %H:%M:%S (%z)")


def plain_text(event: Event) -> str:
    """What a plain client sees of `event`; "" when it sees nothing."""
    match event:
        case Message() | Whisper():
            return event.text if event.rendered else plain_line(event.date, event.sender, event.text)
        case Edited():
            return event.text if event.rendered else plain_line(event.date, event.sender, f"(edited) {event.text}")
        case Joined() | Left() | Presence():
            if event.rendered or not event.text:
                return event.text
            return plain_line(event.date, "", event.text)
        case Refusal():
            return plain_line(event.date, "", f"Not sent: {event.message}")
        case _:
            return ""


class Lines(Format):
    """Plain text for connections with `send_str`.  Each text ends with U+0000, which no text can hold."""

    __slots__ = ()
    probe: Final = b"\0"

    def encode(self, events: Sequence[Event]) -> bytes:
        return self.join(text for event in events if (text := plain_text(event)))

    def join(self, texts: Iterable[str]) -> bytes:
        """`texts` as `encode` would send them."""
        return b"".join(text.encode() + b"\0" for text in texts)

    def split(self, data: bytes) -> list[str]:
        """What `encode` or `join` has put together."""
        return [text.decode() for text in data.split(b"\0")[:-1]]


LINES: Final = Lines()
