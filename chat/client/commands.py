"""What somebody types: something to say, or a command."""

import re
from typing import Final, NamedTuple

HELP: Final = """\
/w NAME TEXT      whisper; a name with spaces goes in quotation marks
/edit TEXT        replace the last thing that you said here
/delete           take it back
/names            who is here
/history [COUNT]  the last messages
/quit             leave
//TEXT            say something that begins with a slash"""

_COMMAND: Final = re.compile(r"/(\w+)(?:\s+(.*))?", re.DOTALL)
_WHISPER: Final = re.compile(r'(?:"([^"]+)"|(\S+))\s+(.*)', re.DOTALL)


class Say(NamedTuple):
    """To everybody, or `to` one."""

    text: str
    to: str | None = None


class Command(NamedTuple):
    """`name` is edit, delete, names, history, quit or help."""

    name: str
    text: str = ""


class Mistake(NamedTuple):
    """`why` is a sentence for whoever typed it."""

    why: str


def parse(line: str) -> Say | Command | Mistake | None:
    """What a line means; None where it is empty."""
    if not line.strip():
        return None
    if line.startswith("//"):
        return Say(line[1:])
    if not line.startswith("/"):
        return Say(line)
    found = _COMMAND.fullmatch(line.strip())
    name, text = (found[1].lower(), found[2] or "") if found else ("", "")
    match name:
        case "w":
            whisper = _WHISPER.fullmatch(text)
            return Say(whisper[3], whisper[1] or whisper[2]) if whisper else Mistake("/w wants a name and a text")
        case "edit":
            return Command(name, text) if text else Mistake("/edit wants the new text")
        case "history":
            is_count = text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 200
            return Command(name, text) if is_count or not text else Mistake("/history wants a number from 1 to 200")
        case "delete" | "names" | "quit" | "help":
            return Command(name)
    return Mistake(f"there is no {line.split()[0]}; /help tells what there is")
