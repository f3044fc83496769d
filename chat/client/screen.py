"""How a chat looks in a terminal: lines, with what others have written made safe."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TextIO
from unicodedata import category
from zlib import crc32

from chat.client.channel import Event
from chat.client.position import Lost
from chat.event import Deleted, Edited, Joined, Left, Message, Past, Presence, Whisper
from chat.format import INDENT

UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # what could move the cursor, colour, or turn the direction round
JOINERS: Final = "\u200c\u200d"  # of letters in Persian and Hindi, and of emoji; they do no harm
REPLACEMENT: Final = "\ufffd"
COLOURS: Final = (31, 32, 33, 34, 35, 36)
DIM: Final = 2
UP_AND_ERASE: Final = "\x1b[1A\x1b[2K"


def safe(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char in JOINERS or category(char) not in UNSAFE else REPLACEMENT for char in text)


def safe_lines(text: str) -> str:
    """The same for what may have several lines; none of them can look like somebody else's."""
    return text if text.isprintable() else INDENT.join(safe(line.replace("\t", " ")) for line in text.splitlines())


class Screen:
    """Where it is written.  Raises OSError, in all methods, when nobody reads it any more."""

    def __init__(self, out: TextIO, *, colours: bool = False, can_erase: bool = False) -> None:
        self._out = out
        self._colours = colours
        self._can_erase = can_erase
        self.me = ""
        """Whose own screen it is."""

    def show(self, event: Event) -> None:
        """An event, unless it is nothing to look at."""
        match event:
            case Message(sender, text, date):
                self._said(date, sender, text)
            case Edited(_, sender, text, date):
                self._said(date, sender, f"(edited) {text}")
            case Deleted(_, sender, date):
                self._line(f"{clock(date)} {self._name(sender)} has deleted a message")
            case Whisper(sender, to, text, date):
                self._line(f"{clock(date)} {self._name(sender)} -> {self._name(to)}: {safe_lines(text)}")
            case Joined(user) if user.username != self.me:
                self.notice(f"{user.username} is here")
            case Left(username):
                self.notice(f"{username} has gone")
            case Presence(joined, left):
                self.notice(f"{len(joined)} have come, {len(left)} have gone")
            case Lost():
                self.notice("some messages may be missing here; /history shows the last ones")

    def show_past(self, events: Sequence[Past]) -> None:
        """A page of history."""
        for past in events:
            if past.deleted:
                self._line(f"{clock(past.date)} {self._name(past.sender)} had said what is deleted now")
            else:
                self._said(past.date, past.sender, f"(edited) {past.text}" if past.edited else past.text)

    def notice(self, text: str) -> None:
        """Something from us, quietly."""
        self._line(self._paint(f"-- {safe(text)}", DIM))

    def erase_typed(self) -> None:
        """Take what was typed off the screen: it comes again with its time, once it was said."""
        if self._can_erase:
            self._out.write(UP_AND_ERASE)

    def _said(self, date: datetime, sender: str, text: str) -> None:
        who = f"{self._name(sender)}: " if sender else ""
        self._line(f"{clock(date)} {who}{safe_lines(text)}")

    def _name(self, name: str) -> str:
        return self._paint(safe(name), COLOURS[crc32(name.encode(errors="replace")) % len(COLOURS)])

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


def clock(date: datetime) -> str:
    """The time of day here: 12:00."""
    return date.astimezone().strftime("%H:%M")
