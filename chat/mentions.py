"""Whom a text mentions: `@name`, or `@"a name with spaces"`.

A name is compared by its NFKC casefold, so `@Ann` is ann.  That a user of that name exists is not asked here.
"""

import re
from typing import Final
from unicodedata import category, normalize

from chat.names import MAX_RAW

MOST: Final = 20  # names that one text can mention; the rest is ignored
MENTION: Final = re.compile(r'(?<!\w)@(?:"([^"\n]+)"|(\S+))')  # not in ann@example.org


def mentioned(text: str) -> frozenset[str]:
    """Return who is mentioned in `text`, folded: the first MOST of them."""
    if "@" not in text:  # as most of them
        return frozenset()
    found: dict[str, None] = {}
    for match in MENTION.finditer(text):
        name = match[1] or _without_punctuation(match[2])
        if 0 < len(name) <= MAX_RAW:
            found[folded(name)] = None
            if len(found) == MOST:
                break
    return frozenset(found)


def folded(username: str) -> str:
    """What names are compared by: NFKC casefold."""
    return normalize("NFKC", normalize("NFKC", username).casefold())


def _without_punctuation(name: str) -> str:
    """A sentence goes on behind a name: `@ann,` and `(@ann)` mention ann."""
    end = len(name)
    while end and category(name[end - 1])[0] == "P":
        end -= 1
    return name[:end]
