"""Messages as they came: lines of JSON, made objects of each time that somebody looks.

What other processes say comes in parcels, between which the processor's caches serve others, so that whatever is done with
one is slow.  Unpacked only when all that waits is written, one behind the other, it costs a fraction; and what is kept for
those who come back, and seldom looked at, takes up half of the memory where messages come in tens.
"""

from collections.abc import Iterator, Sequence
from typing import Final, overload

import msgspec

from chat.event import Message

_messages: Final = msgspec.json.Decoder(Message)


class Packed(Sequence[Message]):
    """`many` messages, a line for each, with the offsets from `first` on."""

    __slots__ = ("_lines", "_many", "first")

    def __init__(self, lines: bytes, first: int, many: int) -> None:
        self._lines = lines
        self._many = many
        self.first = first

    @property
    def last(self) -> int:
        """The offset of the last one."""
        return self.first + self._many - 1

    def __len__(self) -> int:
        return self._many

    def __iter__(self) -> Iterator[Message]:
        messages = _messages.decode_lines(self._lines)
        for offset, message in enumerate(messages, self.first):
            message.offset = offset
        return iter(messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        return list(self)[index]
