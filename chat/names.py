"""Which names and texts are allowed; the one place that decides it."""

from typing import Final
from unicodedata import category, normalize

from chat.errors import BadText, InvalidChannel, InvalidUser, MessageTooBig

MAX_NAME: Final = 64  # characters after NFC
MAX_RAW: Final = 4 * MAX_NAME  # and before: to normalise 60 KB of combining marks takes seconds
# Control, format (bidi tricks), surrogate, private use, unassigned, line and paragraph separators.
FORBIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_username(name: object) -> str:
    """Return `name` in NFC.  Raises: InvalidUser."""
    return _check_user(name, "name")


def check_display_name(name: object) -> str:
    """Return `name` in NFC.  Its characters and length are those of usernames.  Raises: InvalidUser."""
    return _check_user(name, "display name")


def _check_user(name: object, noun: str) -> str:
    if not isinstance(name, str):
        raise InvalidUser(why=f"has no {noun}: a string is wanted, not {type(name).__name__}")
    normal = _normal(name)
    if why := _fault(normal, noun):
        raise InvalidUser(name[:MAX_RAW], why)
    return normal


def check_channel_name(name: object) -> str:
    """Return `name` in NFC.  Raises: InvalidChannel."""
    if not isinstance(name, str):
        raise InvalidChannel(why=f"has no name: a string is wanted, not {type(name).__name__}")
    normal = _normal(name)
    why = _fault(normal) or ("has a / in its name" if "/" in normal else "")
    if why:
        raise InvalidChannel(name[:MAX_RAW], why)
    return normal


def _normal(name: str) -> str:
    """In NFC, unless it is too long anyway."""
    return name if len(name) > MAX_RAW else normalize("NFC", name)


def _fault(name: str, noun: str = "name") -> str:
    if not name:
        return f"has an empty {noun}"
    if len(name) > MAX_NAME:
        return f"has a {noun} of {len(name)} characters, at most {MAX_NAME} are allowed"
    if name != name.strip():
        return f"has white space at the start or end of its {noun}"
    if name.isascii() and name.isprintable():
        return ""  # as most are, and looking at each character takes ten times as long
    for char in name:
        if category(char) in FORBIDDEN:
            return f"has the character U+{ord(char):04X} in its {noun}, which is not allowed"
    return ""


def check_text(text: object, limit: int) -> str:
    """Return `text` unchanged.  Raises: BadText, MessageTooBig (over `limit` bytes of UTF-8)."""
    if not isinstance(text, str) or "\0" in text:
        raise BadText
    if len(text) * 4 > limit:  # only then can it be too long
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise BadText from None
        if size > limit:
            raise MessageTooBig(size, limit)
    elif not text.isascii():
        _check_surrogates(text)
    return text


def _check_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadText from None
